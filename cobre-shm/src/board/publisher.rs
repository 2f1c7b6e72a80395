//! A member's hand on its own record.

use core::{fmt, time::Duration};
#[cfg(feature = "boards")]
use std::sync::TryLockError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    record::{Progress, Record, RecordLatch, State, Text},
    service::ServiceTimes,
};
use crate::sys::{callback::Callback, clock, process, usage};

/// The time constant of the smoothed queue.
const SMOOTHING: Duration = Duration::from_secs(10);

/// What of a record is published.
type Keep = Box<dyn Fn(&mut Record) + Send + Sync>;

/// Where a record lies; keeps its memory.
pub(crate) trait Home: fmt::Debug + Send + Sync {
    /// The record's latch, which this process alone writes.
    fn latch(&self) -> &RecordLatch;
}

/// Writes this member's record. Every method publishes at once, never waits for a reader, and stamps
/// the record with the time.
///
/// Clones write the same record, from any thread. In a forked child, which is not the member, and once
/// the member of a standing board has left, every method does nothing.
///
/// # Panics
/// Every method panics when called from inside the function given to [`update`](Self::update); change the
/// record it receives instead.
#[derive(Clone, Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    home: Box<dyn Home>,
    /// Takes away what the board does not want; `None` if it wants everything.
    keep: Option<Keep>,
    current: Mutex<Current>,
    /// What [`Publisher::update`] runs.
    update: Callback,
    /// The process generation that is the member; a forked child's differs.
    generation: u32,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shared = f.debug_struct("Shared");
        shared.field("home", &self.home).finish_non_exhaustive()
    }
}

/// The record as this process knows it, and what its averages are made from.
#[derive(Debug, Default)]
struct Current {
    record: Record,
    services: ServiceTimes,
    /// The member has left: the record may be another's by now.
    #[cfg(feature = "boards")]
    left: bool,
}

impl Publisher {
    pub(crate) fn new(home: impl Home + 'static) -> Self {
        Self::with(home, None)
    }

    /// A publisher of what `keep` lets through.
    #[cfg(feature = "boards")]
    pub(crate) fn publishing(
        home: impl Home + 'static,
        keep: impl Fn(&mut Record) + Send + Sync + 'static,
    ) -> Self {
        Self::with(home, Some(Box::new(keep)))
    }

    fn with(home: impl Home + 'static, keep: Option<Keep>) -> Self {
        Self {
            shared: Arc::new(Shared {
                home: Box::new(home),
                keep,
                current: Mutex::default(),
                update: Callback::default(),
                generation: process::generation(),
            }),
        }
    }

    /// Says what this member is doing. In a job: what it is doing between collectives.
    pub fn state(&self, state: State) {
        self.publish(|current| current.record.load.state = state);
    }

    /// Says how many requests wait.
    pub fn queue(&self, depth: u64) {
        self.publish(|current| current.record.load.queue = depth);
    }

    /// Counts `items` more done.
    pub fn items(&self, items: u64) {
        self.publish(|current| current.record.load.items += items);
    }

    /// Counts one more item done, which took `service`; policies that estimate use it.
    pub fn served(&self, service: Duration) {
        self.publish(|current| {
            let load = &mut current.record.load;
            load.items += 1;
            current.services.add(service);
            load.mean_service_ns = current.services.mean_ns();
            load.p90_service_ns = current.services.quantile_ns(0.9);
        });
    }

    /// Says how far the work is: `done` of `total` units, 0 if the total is not known. Where ranks share
    /// work, one may state the total of all and the others 0: `cobre-launch --progress` adds up.
    pub fn progress(&self, done: u64, total: u64) {
        self.publish(|current| current.record.progress = Some(Progress { done, total }));
    }

    /// Says something else, up to [`TEXT_BYTES`](super::TEXT_BYTES); what does not fit is cut.
    pub fn text(&self, text: &str) {
        self.publish(|current| current.record.text = Text::new(text));
    }

    /// Changes several things at once: readers see all of them or none.
    pub fn update(&self, change: impl FnOnce(&mut Record)) {
        self.publish(|current| self.shared.update.run(|| change(&mut current.record)));
    }

    /// Reads this process' memory and CPU time, and says them. The refresher does it by itself.
    pub fn refresh(&self) {
        let usage = usage::of_this_process();
        self.publish(|current| {
            let record = &mut current.record;
            (record.resident, record.peak) = (usage.resident, usage.peak);
            record.cpu = usage.cpu;
        });
    }

    /// Whether a thread, which may be this one, is just saying something.
    #[cfg(feature = "boards")]
    pub(crate) fn is_in_use(&self) -> bool {
        let current = self.shared.current.try_lock();
        matches!(current, Err(TryLockError::WouldBlock))
    }

    /// Says that the member takes no work any more, as the last thing that this and every clone of it
    /// says. Returns whether it was said: not again, and not in a forked child.
    #[cfg(feature = "boards")]
    pub(crate) fn farewell(&self) -> bool {
        if self.shared.generation != process::generation() {
            return false;
        }
        let mut current = self.lock();
        if current.left {
            return false;
        }
        self.change(&mut current, |current| {
            current.record.load.state = State::Shutdown;
        });
        current.left = true;
        true
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        assert!(
            !self.shared.update.is_here(),
            "the function that `update` runs must change the record that it is given"
        );
        let current = self.shared.current.lock();
        // Poisoned by a panic inside `update`: the record is still one.
        current.unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn publish(&self, change: impl FnOnce(&mut Current)) {
        if self.shared.generation != process::generation() {
            return;
        }
        let mut current = self.lock();
        #[cfg(feature = "boards")]
        if current.left {
            return;
        }
        self.change(&mut current, change);
    }

    #[inline]
    fn change(&self, current: &mut Current, change: impl FnOnce(&mut Current)) {
        let before = current.record.load;
        change(current);
        if let Some(keep) = &self.shared.keep {
            keep(&mut current.record);
        }
        let load = &mut current.record.load;
        load.updated_ns = clock::now();
        // What was the queue until now, weighed by how long it was; a low-pass of first order.
        let passed = load.updated_ns.saturating_sub(before.updated_ns) as f64;
        if before.updated_ns > 0 {
            let weight = passed / (passed + SMOOTHING.as_nanos() as f64);
            load.smoothed_queue += (before.queue as f64 - load.smoothed_queue) * weight;
        }
        current.record.publish(self.shared.home.latch());
    }
}

#[cfg(test)]
mod tests {
    use super::{Home, Publisher};
    use crate::board::record::{Progress, Record, RecordLatch, State};
    use core::time::Duration;
    use std::sync::Arc;

    #[derive(Debug)]
    struct Heap(Arc<RecordLatch>);

    impl Home for Heap {
        fn latch(&self) -> &RecordLatch {
            &self.0
        }
    }

    #[test]
    fn what_is_said_is_read() {
        let latch = Arc::new(RecordLatch::new());
        let publisher = Publisher::new(Heap(Arc::clone(&latch)));
        let read = || Record::read(&latch).unwrap();
        publisher.state(State::Busy);
        publisher.queue(4);
        publisher.items(2);
        publisher.served(Duration::from_micros(3));
        publisher.progress(5, 9);
        publisher.text("on stage 3");
        publisher.refresh();
        let record = read();
        assert_eq!(record.load.state, State::Busy);
        assert_eq!((record.load.queue, record.load.items), (4, 3));
        assert_eq!(record.load.mean_service_ns, 3000);
        assert_eq!(record.progress, Some(Progress { done: 5, total: 9 }));
        assert_eq!(record.text.as_str(), "on stage 3");
        assert!(record.resident > 0 && record.load.updated_ns > 0);
        publisher.update(|record| record.load.queue = 6);
        assert_eq!(read().load.queue, 6);
    }

    #[test]
    fn an_update_that_calls_the_publisher_is_refused_instead_of_waiting_for_itself() {
        let latch = Arc::new(RecordLatch::new());
        let publisher = Publisher::new(Heap(Arc::clone(&latch)));
        let nested = publisher.clone();
        let refused = std::thread::spawn(move || nested.update(|_| nested.queue(2))).join();
        let said = refused.unwrap_err();
        let said = said.downcast_ref::<&str>().unwrap();
        assert!(
            said.contains("must change the record that it is given"),
            "{said}"
        );
        publisher.queue(3);
        assert_eq!(Record::read(&latch).unwrap().load.queue, 3);
    }

    #[test]
    fn a_panic_in_an_update_does_not_silence_the_member() {
        let latch = Arc::new(RecordLatch::new());
        let publisher = Publisher::new(Heap(Arc::clone(&latch)));
        let panics = publisher.clone();
        let join = std::thread::spawn(move || panics.update(|_| panic!("expected")));
        assert!(join.join().is_err());
        publisher.queue(1);
        assert_eq!(Record::read(&latch).unwrap().load.queue, 1);
    }
}
