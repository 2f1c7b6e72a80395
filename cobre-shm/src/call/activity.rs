//! What a rank is doing just now, as anybody who maps the job can see.

use core::time::Duration;

pub(crate) use cobre_comm_trait::Activity;

use crate::{
    memory::control::Control,
    sync::{cell::Members, primitive::Ordering},
    sys::clock,
};

/// An activity as it fits three words: the call is known by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glimpse {
    phase: Phase,
    /// The last call, 0 before the first.
    call: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Computing,
    Calling,
    Waiting { peer: usize, time: Duration },
    Stopped,
}

impl Glimpse {
    /// The call; the phase (0 computing, 1 calling, otherwise the peer waited for plus two); the
    /// nanoseconds waited, or 1 for a rank that does not wait and is stopped.
    pub(crate) fn encode(self) -> [u64; 3] {
        let (phase, nanos) = match self.phase {
            Phase::Computing => (0, 0),
            Phase::Calling => (1, 0),
            Phase::Stopped => (0, 1),
            Phase::Waiting { peer, time } => (peer as u64 + 2, time.as_nanos() as u64),
        };
        [self.call, phase, nanos]
    }

    pub(crate) fn decode([call, phase, nanos]: [u64; 3]) -> Self {
        let phase = match phase {
            0 if nanos == 1 => Phase::Stopped,
            0 => Phase::Computing,
            1 => Phase::Calling,
            peer => Phase::Waiting {
                peer: (peer - 2) as usize,
                time: Duration::from_nanos(nanos),
            },
        };
        Self { phase, call }
    }

    /// The same of a rank whose process is stopped. Of one that waits it says more for whom.
    pub(crate) fn stopped(self) -> Self {
        match self.phase {
            Phase::Computing | Phase::Calling => Self {
                phase: Phase::Stopped,
                ..self
            },
            _ => self,
        }
    }
}

/// What `rank` is doing.
pub(crate) fn of(control: &Control, rank: usize) -> Activity {
    tell(control, rank, glimpse(control, rank))
}

/// A look at what `rank` is doing.
pub(crate) fn glimpse(control: &Control, rank: usize) -> Glimpse {
    let block = control.block(rank);
    let (call, ended) = block.calls.last();
    let waiting = &block.cell.waiting;
    // Acquire matches the Release in `wait::for_round`.
    let peer = waiting.peer.load(Ordering::Acquire) as usize;
    let phase = match peer.checked_sub(1) {
        _ if ended => Phase::Computing,
        Some(peer) if peer < control.size() => {
            let since = waiting.since.load(Ordering::Relaxed);
            let time = Duration::from_nanos(clock::now().saturating_sub(since));
            Phase::Waiting { peer, time }
        }
        _ => Phase::Calling,
    };
    Glimpse { phase, call }
}

/// What was seen, with the call as its rank has logged it.
pub(crate) fn tell(control: &Control, rank: usize, glimpse: Glimpse) -> Activity {
    if glimpse.call == 0 {
        return match glimpse.phase {
            Phase::Stopped => Activity::Stopped { last: None },
            _ => Activity::Starting,
        };
    }
    let block = control.block(rank);
    let call = block.calls.describe(rank, glimpse.call, &block.sites);
    match glimpse.phase {
        Phase::Stopped => Activity::Stopped { last: call },
        Phase::Computing => Activity::Computing { last: call },
        Phase::Calling => Activity::Calling { call },
        Phase::Waiting { peer, time } => Activity::Waiting { call, peer, time },
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Glimpse, Phase};

    #[test]
    fn a_glimpse_survives_its_words() {
        let time = Duration::from_millis(1500);
        let phases = [
            Phase::Computing,
            Phase::Calling,
            Phase::Stopped,
            Phase::Waiting { peer: 0, time },
            Phase::Waiting { peer: 1023, time },
        ];
        for phase in phases {
            let glimpse = Glimpse { phase, call: 7 };
            assert_eq!(Glimpse::decode(glimpse.encode()), glimpse);
        }
    }
}
