//! Rounds: publish and await, and when a slot may be written again.
//!
//! # Protocol
//!
//! A communicator's collectives are made of numbered *rounds*, the same on every rank. In round n a
//! rank publishes at most one payload, in its slot (and its staging buffer) of parity n mod 2, and
//! reads the payloads of the peers it needs. A payload is either *for everyone* (an exchange: barrier,
//! allreduce, allgatherv; the root of a broadcast) or a mere *arrival* (the others in a broadcast).
//!
//! 1. *Open.* Before round n touches the slot of its parity, nobody may still be reading what the
//!    slot held last, say of round m <= n - 2. A peer has finished reading round m when it has
//!    published any later round, so the rank waits until every peer has published m + 1 (it
//!    publishes every round, in order). Usually that is known already: who has seen everybody's
//!    round k knows that everybody has finished k - 1. So a sequence of exchanges never waits here;
//!    a root that broadcasts over and over waits for its readers, one round behind. And ranks that
//!    take turns as roots wait for the slowest before they are [`MAX_LEAD`] rounds ahead of it.
//! 2. *Publish.* Payload and signature first, then the stamp (round number and some bits of the
//!    signature), with Release.
//! 3. *Await.* Read a peer's round number with Acquire until it is n, then compare its signature
//!    with mine, then read the payload.
//!
//! The round number in the slot is exactly n, not later: a peer whose payload I need may write round
//! n + 2 only after I published n + 1, and I am still in n. If it is later, the peer did not know
//! that I need it: we disagree about the call.
//!
//! *Signatures.* Each rank folds every call's signature into a running one. Two ranks that ever
//! called differently have different running signatures for good, so a disagreement that no rank
//! noticed at once is found at the next wait, before its payload is read. Two ranks that both
//! believe to be the root of a broadcast read nobody's payload; they find out when they open the
//! next round, because 16 bits of the running signature ride with the round's number, so that a
//! mere arrival can be compared too.

#[cfg(not(loom))]
use core::time::Duration;

use cobre_comm_trait::Operation;

use crate::{
    point,
    sync::{
        cell::{INLINE_BYTES, Members, round_of, stamp},
        failure::{self, Failure, Kind},
        patience::Patience,
        primitive::{Ordering, fence},
        spread,
        wait::{self, Known, Stopped, Wait},
    },
    sys::park,
};

/// How many rounds a rank may be ahead of what it knows everybody to have finished.
pub(crate) const MAX_LEAD: u64 = 12;

/// Rounds between two looks of a rank that never waits at the processor it runs on.
const ROUNDS_PER_LOOK: u64 = 16;

/// Stamps that a rank remembers; a power of two. A peer whose arrival it awaits is not further behind.
const REMEMBERED: usize = 16;
const _: () = assert!(MAX_LEAD as usize + 1 < REMEMBERED);

/// What one rank remembers of its communicator's rounds.
#[derive(Debug)]
pub(crate) struct RoundState {
    /// The last round published.
    round: u64,
    /// The stamps of the last rounds published.
    published: [u64; REMEMBERED],
    /// The running signature of all calls so far.
    signature: u64,
    /// Per parity, the last round whose payload others had to read.
    needed: [u64; 2],
    /// Everybody is known to have finished reading this round and all before.
    proven: u64,
    /// How long to wait awake; not at all by default.
    patience: Patience,
}

impl RoundState {
    #[cfg(not(loom))]
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience,
            ..Self::default()
        }
    }

    /// From now on a wait for a peer fails the job after so long; `None`: never.
    #[cfg(not(loom))]
    pub(crate) fn limit_waits(&mut self, limit: Option<Duration>) {
        self.patience.limit = limit;
    }

    /// The running signature of all calls so far.
    #[cfg(not(loom))]
    pub(crate) fn signature(&self) -> u64 {
        self.signature
    }

    /// What the memory must show.
    fn known(&self) -> Known {
        let mut own = [0; 2];
        for round in self.round - 1..=self.round {
            own[parity(round)] = self.published[round as usize % REMEMBERED];
        }
        Known {
            own,
            by_all: self.proven + 1,
        }
    }
}

impl Default for RoundState {
    /// Forming counts as round 1, an exchange: who publishes round 3 has waited for everybody's
    /// round 2, as it does ever after.
    fn default() -> Self {
        Self {
            round: 1,
            published: [0; REMEMBERED],
            signature: 0,
            needed: [0, 1],
            proven: 0,
            patience: Patience::default(),
        }
    }
}

/// Whom a publication concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Every peer reads the payload (or at least the signature).
    Everyone,
    /// Nobody needs to read it: the rank says that it has arrived.
    Nobody,
}

/// Told of the waits that last, in a job that is recorded.
pub(crate) trait WaitWatch: core::fmt::Debug {
    /// The rank begins to wait for `peer` to publish `round`; `is_last` tells whether all others have.
    fn begins(&self, peer: usize, round: u64, is_last: &dyn Fn() -> bool);
    /// It has waited for `peer` to publish `round`, in vain or not.
    fn ended(&self, peer: usize, round: u64);
}

/// One rank's way through the rounds of one collective.
#[derive(Debug)]
pub(crate) struct Rounds<'a, M> {
    members: &'a M,
    rank: usize,
    operation: Operation,
    state: &'a mut RoundState,
    watch: Option<&'a dyn WaitWatch>,
}

impl<'a, M: Members> Rounds<'a, M> {
    /// Begins the call whose signature is `call`.
    pub(crate) fn begin(
        members: &'a M,
        rank: usize,
        operation: Operation,
        call: u64,
        state: &'a mut RoundState,
    ) -> Self {
        state.signature = mix(state.signature ^ call);
        Self {
            members,
            rank,
            operation,
            state,
            watch: None,
        }
    }

    /// Tells `watch` of the waits from now on; returns the next round.
    pub(crate) fn watched_by(&mut self, watch: &'a dyn WaitWatch) -> u64 {
        self.watch = Some(watch);
        self.state.round + 1
    }

    pub(crate) fn members(&self) -> &'a M {
        self.members
    }

    pub(crate) fn rank(&self) -> usize {
        self.rank
    }

    pub(crate) fn size(&self) -> usize {
        self.members.size()
    }

    /// The running signature, this call included: the same on ranks that agree, and different for
    /// every call.
    pub(crate) fn signature(&self) -> u64 {
        self.state.signature
    }

    /// The other ranks, beginning after this one, so that not all ranks read the same one at once.
    pub(crate) fn peers(&self) -> impl Iterator<Item = usize> + use<M> {
        let (rank, size) = (self.rank, self.members.size());
        (rank + 1..size).chain(0..rank)
    }

    /// Opens the next round: when this returns, nobody reads this rank's slot and staging buffer of
    /// the round's parity any more. Returns the round.
    #[inline]
    pub(crate) fn open(&mut self) -> Result<u64, Stopped> {
        let round = self.state.round + 1;
        let needed = self.state.needed[parity(round)];
        if needed > self.state.proven {
            self.prove(needed)?;
        }
        if round > self.state.proven + MAX_LEAD {
            // Half of it, so that a sequence of broadcasts waits here now and then only.
            self.prove(round - MAX_LEAD / 2)?;
        }
        Ok(round)
    }

    /// Returns when everybody has finished reading `round` and all before.
    #[cold]
    fn prove(&mut self, round: u64) -> Result<(), Stopped> {
        for peer in self.peers() {
            self.await_arrival(peer, round + 1, true)?;
            if !self.agrees_so_far(peer, round + 1) {
                return Err(self.disagree(peer));
            }
        }
        self.state.proven = round;
        Ok(())
    }

    /// Whether what `peer` shows in the slot of `round`, which has arrived, is what this rank showed
    /// in the same round. Number and signature are one word, so it does not matter that the peer may
    /// go on meanwhile; if it is ahead of this rank, it is compared another time, or compares.
    fn agrees_so_far(&self, peer: usize, round: u64) -> bool {
        let slot = self.members.cell(peer).slot(round);
        // Relaxed: the word alone counts.
        let theirs = slot.stamp.load(Ordering::Relaxed);
        let number = round_of(theirs);
        number > self.state.round || theirs == self.state.published[number as usize % REMEMBERED]
    }

    /// Publishes the opened `round`. `fill` writes the inline payload.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        round: u64,
        audience: Audience,
        fill: impl FnOnce(InlinePayload<'_>),
    ) {
        let cell = self.members.cell(self.rank);
        let slot = cell.slot(round);
        if round.is_multiple_of(ROUNDS_PER_LOOK) && self.state.patience.is_considerate() {
            spread::tell_processor(cell);
        }
        point::reached("publish");
        slot.signature
            .store(self.state.signature, Ordering::Relaxed);
        slot.payload
            .write(|bytes| fill(InlinePayload { bytes, _slot: slot }));
        // Release matches the Acquire in `wait::has_arrived`: signature and payload (here and in
        // staging) are visible to a rank that sees the round; so is that this rank has finished reading
        // all earlier rounds.
        let stamp = stamp(round, self.state.signature);
        slot.stamp.store(stamp, Ordering::Release);
        point::reached("ring");
        // Release matches the Acquire in `wait::sleep_until`: who sees the bell sees the round.
        let word = round as u32 & BELL_MASK;
        cell.bell.word.store(word, Ordering::Release);
        // Matches the sleeper's fence: either it sees the round, or this sees it announced.
        fence(Ordering::SeqCst);
        if cell.sleepers.count.load(Ordering::Relaxed) > 0 {
            park::wake_all(&cell.bell.word);
        }
        if audience == Audience::Everyone {
            self.state.needed[parity(round)] = round;
        }
        self.state.published[round as usize % REMEMBERED] = stamp;
        self.state.round = round;
        point::reached("published");
    }

    /// Waits for `peer`'s publication of `round` and checks that it is of the same call.
    #[inline]
    pub(crate) fn await_peer(&self, peer: usize, round: u64) -> Result<(), Stopped> {
        // Who shows something to everyone exchanges, or is a root and awaits nobody's payload.
        let exchanges = self.state.needed[parity(round)] == round;
        self.await_arrival(peer, round, exchanges)?;
        point::reached("awaited");
        let slot = self.members.cell(peer).slot(round);
        // Relaxed: ordered by the Acquire that saw the round.
        let signature = slot.signature.load(Ordering::Relaxed);
        let seen = slot.stamp.load(Ordering::Relaxed);
        if signature == self.state.signature && seen == stamp(round, signature) {
            return Ok(());
        }
        Err(self.disagree(peer))
    }

    /// Waits for every peer, running `read` for each as soon as its publication is there.
    #[inline]
    pub(crate) fn await_everyone(
        &mut self,
        round: u64,
        mut read: impl FnMut(usize),
    ) -> Result<(), Stopped> {
        for peer in self.peers() {
            self.await_peer(peer, round)?;
            read(peer);
        }
        self.finish(round);
        Ok(())
    }

    /// Notes that every peer's publication of `round` has been awaited.
    #[inline]
    pub(crate) fn finish(&mut self, round: u64) {
        // All have published `round`, so all have finished reading the one before.
        self.state.proven = round - 1;
    }

    /// Runs `f` on the inline payload of `peer`, whose publication of `round` has been awaited (or
    /// of this rank itself).
    #[inline]
    pub(crate) fn read_inline<R>(
        &self,
        peer: usize,
        round: u64,
        f: impl FnOnce(*const u8) -> R,
    ) -> R {
        self.members.cell(peer).slot(round).payload.read(f)
    }

    #[inline]
    fn await_arrival(&self, peer: usize, round: u64, for_all: bool) -> Result<(), Stopped> {
        let wait = Wait {
            rank: self.rank,
            operation: self.operation,
            peer,
            round,
            for_all,
        };
        if wait::is_over(self.members, wait) {
            return Ok(());
        }
        self.await_absent(wait)
    }

    /// Waits for a peer that was not there.
    #[cold]
    fn await_absent(&self, wait: Wait) -> Result<(), Stopped> {
        let (patience, known) = (&self.state.patience, || self.state.known());
        let Some(watch) = self.watch else {
            return wait::for_round(self.members, patience, wait, known);
        };
        let has_come = |peer| wait::has_arrived(self.members.cell(peer), wait.round);
        let is_last = || self.peers().all(|peer| peer == wait.peer || has_come(peer));
        watch.begins(wait.peer, wait.round, &is_last);
        let end = wait::for_round(self.members, patience, wait, known);
        watch.ended(wait.peer, wait.round);
        end
    }

    /// Fails the job because `peer`'s publication is not what this rank's would be. Which calls
    /// differ stands in the call logs; if none does, the memory is corrupt.
    #[cold]
    fn disagree(&self, peer: usize) -> Stopped {
        let (low, high) = (self.rank.min(peer), self.rank.max(peer));
        // A u16 holds every rank: `layout` limits the size.
        let failure = Failure::new(low, Some(self.operation), Kind::Mismatch(high as u16));
        failure::raise(self.members, failure);
        Stopped
    }
}

/// The round's bits in a doorbell word; rings by others count above them.
const BELL_MASK: u32 = 0x00ff_ffff;

fn parity(round: u64) -> usize {
    usize::from(round % 2 == 1)
}

/// Spreads every bit over the word (the finaliser of splitmix64, Steele et al. 2014).
pub(crate) fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// The payload bytes of the slot being published.
#[derive(Debug)]
pub(crate) struct InlinePayload<'a> {
    bytes: *mut u8,
    _slot: &'a crate::sync::cell::Slot,
}

impl InlinePayload<'_> {
    /// Copies `data` to the front of the payload.
    ///
    /// # Panics
    /// If it is longer than [`INLINE_BYTES`].
    #[inline]
    pub(crate) fn put(self, data: &[u8]) {
        #![allow(unsafe_code)]
        assert!(data.len() <= INLINE_BYTES);
        // SAFETY: the slot has INLINE_BYTES bytes, checked above; this rank alone writes them, and
        // `open` has waited until nobody reads them.
        unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), self.bytes, data.len()) };
    }
}
