//! One error for the whole driver: which step failed, and what the library said.

use std::error::Error;

/// A step of the run that failed, with the library's own error behind it.
#[derive(Debug, thiserror::Error)]
#[error("failed {step}: {source}")]
pub(crate) struct Failure {
    step: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure this driver found itself.
    pub(crate) fn new(step: &'static str, reason: impl Into<String>) -> Self {
        Self {
            step,
            source: reason.into().into(),
        }
    }
}

/// Names the step in which a library error happened.
///
/// The solver's crates have one error type each; the driver only ever prints
/// them and ends the job, so the step is all it adds.
pub(crate) trait During<T> {
    /// Turns the error into a [`Failure`] of `step`.
    fn during(self, step: &'static str) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> During<T> for Result<T, E> {
    fn during(self, step: &'static str) -> Result<T, Failure> {
        self.map_err(|source| Failure {
            step,
            source: source.into(),
        })
    }
}
