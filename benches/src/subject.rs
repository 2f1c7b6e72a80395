//! What a benchmark repeats on a rank.

use cobre_comm_trait::CommError;

use crate::lane::Action;

/// Why a case could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A collective failed.
    #[error(transparent)]
    Collective(#[from] CommError),
    /// The kernel did not tell the time.
    #[error("cannot read a clock or the resource usage: {0}")]
    Clock(#[from] nix::Error),
}

/// What is repeated, on one rank.
pub(crate) trait Subject {
    /// One turn, rewriting and calling as the action says.
    fn turn(&mut self, action: Action) -> Result<(), CommError>;
    /// As many turns as there are ranks, in which every result is checked; whether they are right here.
    fn verify(&mut self, seed: u64) -> Result<bool, RunError>;
    /// Whether the last turn of a dirty loop left the right result behind.
    fn holds_last(&self) -> bool;
}
