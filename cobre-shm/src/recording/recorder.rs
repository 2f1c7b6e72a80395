//! Writing a rank's record.

use core::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cobre_comm_trait::Operation;

use super::{memory::Record, timeline::Spent};
use crate::{
    call::{core::Site, log::Signature, sites::SiteIndex},
    memory::control::Control,
    sync::{
        failure::operation_code,
        primitive::{AtomicU64, Ordering},
        ring,
        round::WaitWatch,
    },
    sys::clock,
};

/// Kinds of events, bits 0..8 of their second word. Then operation (8..16), thread (16..32) and
/// subject (32..64): the row of a call, the peer of a wait, the name of a span.
pub(super) const CALL_BEGINS: u64 = 1;
pub(super) const CALL_ENDS: u64 = 2;
pub(super) const WAIT_BEGINS: u64 = 3;
pub(super) const WAIT_ENDS: u64 = 4;
pub(super) const SPAN_BEGINS: u64 = 5;
pub(super) const SPAN_ENDS: u64 = 6;

/// The writer of a rank's record; all its communicators and threads share it.
#[derive(Debug)]
pub(crate) struct Recorder {
    control: Arc<Control>,
    rank: usize,
    /// The process generation that joined; a forked child shares the memory but is not the rank.
    #[cfg(feature = "tracing")]
    generation: u32,
    began: u64,
    /// The communicators that the rank is in.
    communicators: AtomicU64,
    /// Held for each change of the record, so that it has one writer at a time.
    indexes: Mutex<Indexes>,
}

#[derive(Debug)]
struct Indexes {
    sites: SiteIndex,
    #[cfg(feature = "tracing")]
    spans: SiteIndex,
}

impl Recorder {
    /// The recorder of `rank`, if its job is recorded.
    pub(crate) fn new(control: &Arc<Control>, rank: usize) -> Option<Arc<Self>> {
        let record = control.record(rank)?;
        let began = clock::now();
        record.fixed.began.store(began, Ordering::Relaxed);
        Some(Arc::new(Self {
            control: Arc::clone(control),
            rank,
            #[cfg(feature = "tracing")]
            generation: crate::sys::process::generation(),
            began,
            communicators: AtomicU64::new(1),
            indexes: Mutex::new(Indexes {
                sites: SiteIndex::new(),
                #[cfg(feature = "tracing")]
                spans: SiteIndex::new(),
            }),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Indexes> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self) -> Record<'_> {
        // There is one: `new` found it.
        #[expect(
            clippy::expect_used,
            reason = "the geometry of a mapping never changes"
        )]
        self.control.record(self.rank).expect("a recorded job")
    }

    /// Appends an event; the caller holds the lock.
    fn event(&self, record: Record<'_>, time: u64, what: u64, bytes: u64, number: u64) {
        if !record.events.is_empty() {
            let what = what | thread_number() << 16;
            let words = [time, what, bytes, number];
            ring::push(record.events, &record.fixed.written, words);
        }
    }

    /// Notes that call `number` of a communicator begins.
    pub(crate) fn begin(&self, number: u64, signature: &Signature, site: Site) -> Tally<'_> {
        let record = self.record();
        let mut indexes = self.lock();
        let row = indexes.sites.number(site, &record.fixed.sites);
        let bytes = signature.contribution(self.rank);
        let operation = signature.operation;
        let began = clock::now();
        let what = CALL_BEGINS | operation_code(operation) << 8 | u64::from(row) << 32;
        self.event(record, began, what, bytes, number);
        drop(indexes);
        Tally {
            recorder: self,
            row: row as usize,
            number,
            operation,
            bytes,
            began,
            first_round: Cell::new(0),
            waits_since: Cell::new(0),
            waited: Cell::new(0),
            in_round: Cell::default(),
            waited_in_first: Cell::new(false),
        }
    }

    /// Notes that the rank enters (`SPAN_BEGINS`) or leaves (`SPAN_ENDS`) the span that is known by
    /// the address `key` and called `name`.
    #[cfg(feature = "tracing")]
    pub(super) fn span(&self, kind: u64, key: usize, name: &str) {
        if self.generation != crate::sys::process::generation() {
            return;
        }
        let record = self.record();
        let mut indexes = self.lock();
        let spans = &record.fixed.spans;
        let subject = indexes.spans.number_of(key, spans, || (name, 0));
        let what = kind | u64::from(subject) << 32;
        self.event(record, clock::now(), what, 0, 0);
    }

    /// Notes that the rank is in one more communicator.
    pub(crate) fn join(&self) {
        self.communicators.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the rank leaves a communicator; with the last one it leaves its job.
    pub(crate) fn leave(&self) {
        // Relaxed: a count, which hands nothing over.
        if self.communicators.fetch_sub(1, Ordering::Relaxed) == 1 {
            let ended = &self.record().fixed.ended;
            ended.store(clock::now(), Ordering::Relaxed);
        }
    }
}

/// What is known of a call that goes on.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    recorder: &'a Recorder,
    row: usize,
    number: u64,
    operation: Operation,
    bytes: u64,
    began: u64,
    /// The first round of the call; waits for earlier ones are for readers, not for arrivals.
    first_round: Cell<u64>,
    waits_since: Cell<u64>,
    waited: Cell<u64>,
    in_round: Cell<InRound>,
    waited_in_first: Cell<bool>,
}

/// The waits of one round, which are booked together: on whoever came last. A rank awaits its peers
/// one after another, so the last one that it has to wait for is the last one to come.
#[derive(Clone, Copy, Debug, Default)]
struct InRound {
    round: u64,
    /// The peer waited for last.
    last: usize,
    time: u64,
    /// When the wait began all others were there: this rank came as the one before the last.
    alone: bool,
}

impl Tally<'_> {
    /// Says which round the call begins with.
    pub(crate) fn begins_with(&self, round: u64) {
        self.first_round.set(round);
    }

    /// Books the waits of the round that is over. The caller holds the lock.
    fn book(&self, record: Record<'_>) {
        let InRound {
            round,
            last,
            time,
            alone,
        } = self.in_round.take();
        if time > 0 {
            add(&record.waits(self.row)[last], time);
        }
        if alone && round == self.first_round.get() {
            add(&record.late(self.row)[last], time);
        }
    }

    /// Notes that the call has ended, well or not.
    pub(crate) fn end(self) {
        let Self { recorder, .. } = self;
        let record = recorder.record();
        let now = clock::now();
        let time = now.saturating_sub(self.began);
        let row = &record.fixed.rows[self.row];
        let _lock = recorder.lock();
        self.book(record);
        let code = operation_code(self.operation);
        row.operation.store(code as u32, Ordering::Relaxed);
        add(&row.calls, 1);
        add(&row.bytes, self.bytes);
        add(&row.time, time);
        add(&row.waiting, self.waited.get());
        let longest = row.longest.load(Ordering::Relaxed).max(time);
        row.longest.store(longest, Ordering::Relaxed);
        row.times.add(time);
        if self.operation != Operation::Broadcast && !self.waited_in_first.get() {
            add(&row.came_last, 1);
        }
        let since = |time: u64| time.saturating_sub(recorder.began);
        let timeline = &record.fixed.timeline;
        timeline.add(Spent::Calling, since(self.began), since(now));
        record.fixed.seen.store(now, Ordering::Relaxed);
        let what = CALL_ENDS | code << 8 | (self.row as u64) << 32;
        recorder.event(record, now, what, self.bytes, self.number);
    }
}

impl WaitWatch for Tally<'_> {
    fn begins(&self, peer: usize, round: u64, is_last: &dyn Fn() -> bool) {
        let now = clock::now();
        self.waits_since.set(now);
        let record = self.recorder.record();
        let is_new = self.in_round.get().round != round;
        if is_new || !record.events.is_empty() {
            let _lock = self.recorder.lock();
            if is_new {
                self.book(record);
                self.in_round.set(InRound {
                    round,
                    alone: is_last(),
                    ..InRound::default()
                });
            }
            let what = WAIT_BEGINS | (peer as u64) << 32;
            self.recorder.event(record, now, what, 0, self.number);
        }
    }

    fn ended(&self, peer: usize, round: u64) {
        let (since, now) = (self.waits_since.get(), clock::now());
        let time = now.saturating_sub(since);
        self.waited.set(self.waited.get() + time);
        if round == self.first_round.get() {
            self.waited_in_first.set(true);
        }
        let in_round = self.in_round.get();
        self.in_round.set(InRound {
            last: peer,
            time: in_round.time + time,
            ..in_round
        });
        let record = self.recorder.record();
        let _lock = self.recorder.lock();
        let began = self.recorder.began;
        let (since, until) = (since.saturating_sub(began), now.saturating_sub(began));
        record.fixed.timeline.add(Spent::Waiting, since, until);
        let what = WAIT_ENDS | (peer as u64) << 32;
        self.recorder.event(record, now, what, 0, self.number);
    }
}

/// Relaxed: a single writer, and readers to whom one more or less does not matter.
fn add(sum: &AtomicU64, more: u64) {
    let sum_now = sum.load(Ordering::Relaxed);
    sum.store(sum_now.wrapping_add(more), Ordering::Relaxed);
}

/// The number of this thread among those of the process that recorded something, in 16 bits.
fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed) & 0xffff;
    }
    // A thread that is about to end has no such variable any more.
    NUMBER.try_with(|&number| number).unwrap_or(0xffff)
}
