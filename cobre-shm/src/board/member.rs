//! One member as others see it.

use core::time::Duration;

use super::record::{Record, State};
use crate::call::activity::Activity;

/// One member of a job or a standing board, as it was when it was read.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Member {
    /// Its rank, or its place in the board's configuration.
    pub index: usize,
    /// Its name: that of the configuration, or `rank N`.
    pub name: String,
    /// Its process, once there has been one.
    pub pid: Option<u32>,
    /// Whether the kernel says that its process lives.
    pub alive: bool,
    /// How much of the work it shall get, relative to the others; 1 in a job.
    pub weight: f64,
    /// Its priority class; 0 in a job.
    pub class: u32,
    /// What it is doing; in a job the collectives count before what it said.
    pub state: State,
    /// What it said last; `None` if it published so fast that no attempt to read succeeded.
    pub record: Option<Record>,
    /// In a job: which collective it is in, since when it waits and for whom.
    pub activity: Option<Activity>,
}

impl Member {
    /// How old the record is at `now` (nanoseconds of the monotonic clock: [`super::now`]); `None` if
    /// there is none.
    #[must_use]
    pub fn age(&self, now: u64) -> Option<Duration> {
        self.record.as_ref()?.load.age(now)
    }
}
