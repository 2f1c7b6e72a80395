//! How long a rank keeps its core while it waits.

use core::time::Duration;

use crate::sync::spread::Crowding;

/// How a rank waits for a peer that has not come yet. Each rank may have its own.
///
/// Whatever it is, a rank that has waited long sleeps until it is woken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitPolicy {
    /// Yield at once to a peer that was last on this processor, otherwise spin for a moment; yield for
    /// half a millisecond; then sleep.
    #[default]
    Auto,
    /// Spin for about a tenth of a second before sleeping: for ranks that have a core each, and
    /// peers that are never late.
    Spin,
    /// Yield for half a millisecond before sleeping.
    Yield,
    /// Sleep at once: for ranks that must leave the cores to others.
    Sleep,
}

/// How long a waiter spins and yields before it sleeps; by default it sleeps at once. Each rank has
/// its own; no peer sees it.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// How often to look while keeping the core, each time.
    pub(super) spins: u32,
    /// Keep the core only if nobody who is late may be waiting for it.
    pub(super) considerate: bool,
    /// How often that was so.
    pub(super) crowding: Crowding,
    /// How long to go on looking while offering the core to others.
    pub(super) yielding: Duration,
    /// How long to sleep before giving up; `None`: for ever.
    pub(crate) limit: Option<Duration>,
}

/// Spins of one whose peer has a core to itself: about as long as a wake-up takes (a pause is 10 to
/// 60 ns on current processors).
const SPINS: u32 = 500;
/// Spins of one whose peer may have to wait for its turn: about as long as a change of turns takes.
const SPINS_IN_TURN: u32 = 100;
/// Spins of one who was told to: about a tenth of a second.
const SPINS_WHEN_TOLD: u32 = 1 << 22;
const YIELDING: Duration = Duration::from_micros(500);

impl Patience {
    /// What the policy asks of a rank, in a job that has fewer cores than ranks or not.
    pub(crate) fn for_job(policy: WaitPolicy, shares_cores: bool) -> Self {
        let (spins, yielding) = match policy {
            WaitPolicy::Auto if shares_cores => (SPINS_IN_TURN, YIELDING),
            WaitPolicy::Auto => (SPINS, YIELDING),
            WaitPolicy::Yield => (0, YIELDING),
            WaitPolicy::Spin => (SPINS_WHEN_TOLD, Duration::ZERO),
            WaitPolicy::Sleep => (0, Duration::ZERO),
        };
        Self {
            spins,
            considerate: policy == WaitPolicy::Auto,
            crowding: Crowding::default(),
            yielding,
            limit: None,
        }
    }

    /// Whether peers should know on which processor this rank runs.
    #[inline]
    pub(crate) fn is_considerate(&self) -> bool {
        self.considerate
    }
}
