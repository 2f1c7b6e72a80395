//! Barrier: one exchange without payload.

use super::JobRounds;
use crate::sync::{round::Audience, wait::Stopped};

/// Returns when every rank has arrived.
pub(crate) fn barrier(rounds: &mut JobRounds<'_>) -> Result<(), Stopped> {
    let round = rounds.open()?;
    rounds.publish(round, Audience::Everyone, |_| {});
    rounds.await_everyone(round, |_| {})
}
