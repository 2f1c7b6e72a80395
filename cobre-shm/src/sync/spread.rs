//! Spreading ranks over the processors that they may use, without keeping them there.
//!
//! The kernel places processes well as long as those that wait sleep. A rank that waits briefly does
//! not: it spins, or yields. To the kernel it looks busy, and its memory hot, so two ranks that share a
//! processor while another is idle, or three while another has one, stay together for tenths of a
//! second. The ranks know better who runs where, and correct it themselves: whenever a rank has often
//! been in the way of a peer that it waits for.

use core::{cell::Cell, time::Duration};
use std::time::Instant;

use crate::sync::{
    cell::{Members, RankCell},
    primitive::{Ordering, move_to, this_processor, usable_processors, yield_now},
};

/// A rank that has so often given its processor to a peer looks whether it had better leave it.
const FIRST_LOOK: u32 = 128;
/// After each look the next one is twice as far away, up to this: about a tenth of a second in which
/// ranks do nothing but take turns. So a rank that the kernel keeps putting back does not insist.
const LAST_LOOK: u32 = 1 << 16;
/// How far away the next look is when the processor turned out to be somebody else's: one or two seconds.
const NEXT_TRY: u32 = 1 << 20;

/// How often a rank that has just moved offers its new processor to others.
const OFFERS: u32 = 16;
/// A rank of the job gives a processor back sooner than this, a process that computes does not.
const A_TURN: Duration = Duration::from_micros(300);

/// How often a rank has given its processor to a peer.
#[derive(Debug)]
pub(crate) struct Crowding {
    until_look: Cell<u32>,
    interval: Cell<u32>,
}

impl Default for Crowding {
    fn default() -> Self {
        Self {
            until_look: Cell::new(FIRST_LOOK),
            interval: Cell::new(FIRST_LOOK),
        }
    }
}

impl Crowding {
    /// `rank` is in the way of a peer that it waits for, once more. Now and then it looks whether
    /// another of its processors has fewer ranks, and goes there.
    pub(crate) fn felt(&self, members: &impl Members, rank: usize) {
        self.count(|| take_seat(members, rank, is_taken));
    }

    /// Counts one more, and has it `look` now and then. That returns whether to go on as before, and not
    /// to leave the ranks alone for long.
    fn count(&self, look: impl FnOnce() -> bool) {
        let left = self.until_look.get();
        if left > 0 {
            self.until_look.set(left - 1);
            return;
        }
        self.postpone();
        if !look() {
            self.until_look.set(NEXT_TRY);
        }
    }

    fn postpone(&self) {
        let interval = LAST_LOOK.min(self.interval.get() * 2);
        self.interval.set(interval);
        self.until_look.set(interval);
    }
}

/// Moves `rank`, the caller, to where it is if the ranks are spread evenly. Only ranks that are too many
/// on a processor move, and each decides alike who they are. `false` if somebody else computes there,
/// as `is_taken` finds that has it go there: then the rank is back where it was.
fn take_seat(
    members: &impl Members,
    rank: usize,
    is_taken: impl FnOnce(&dyn Fn()) -> bool,
) -> bool {
    let here = this_processor();
    let usable = usable_processors();
    if here == 0 || usable.len() < 2 {
        return true;
    }
    let cells = (0..members.size()).map(|peer| members.cell(peer));
    // Relaxed: a hint.
    let told = cells.map(|cell| cell.presence.processor.load(Ordering::Relaxed));
    let Some(seat) = seat(rank, told, &usable).filter(|&seat| seat != here) else {
        return true;
    };
    let go = |processor| {
        move_to(processor);
        tell_processor(members.cell(rank));
    };
    let is_taken = is_taken(&|| go(seat));
    if is_taken {
        go(here);
    }
    !is_taken
}

/// Whether somebody else computes where `go` leads. Only the kernel knows what runs there besides ranks. It
/// shows it to a rank that has to wait for its place, or that offers it.
fn is_taken(go: &dyn Fn()) -> bool {
    let takes_a_turn = |step: &dyn Fn()| {
        let begin = Instant::now();
        step();
        begin.elapsed() > A_TURN
    };
    takes_a_turn(go) || (0..OFFERS).any(|_| takes_a_turn(&|| yield_now()))
}

/// Tells the peers on which processor the owner of `cell`, the caller, runs; returns it.
#[inline]
pub(crate) fn tell_processor(cell: &RankCell) -> u32 {
    let here = this_processor();
    let told = &cell.presence.processor;
    // Stored only when it changes, so that all may keep the line. Relaxed: a hint.
    if told.load(Ordering::Relaxed) != here {
        told.store(here, Ordering::Relaxed);
    }
    here
}

/// Where `rank` is when the ranks, which are on the processors `told`, are spread evenly over the
/// `usable` ones. (Processors plus one; 0 is unknown.) From the processor that has most ranks the
/// highest goes to the next one that has fewest, as long as that makes a difference. `None` if the
/// rank is on none of them.
fn seat(rank: usize, told: impl Iterator<Item = u32>, usable: &[u32]) -> Option<u32> {
    let mut ranks_on = vec![Vec::new(); usable.len()];
    let mut seat = None;
    for (peer, processor) in told.enumerate() {
        if let Ok(index) = usable.binary_search(&processor) {
            ranks_on[index].push(peer);
            if peer == rank {
                seat = Some(index);
            }
        }
    }
    let seat = seat?;
    loop {
        let count = |index: usize| ranks_on[index].len();
        // The lowest of those that have most.
        let most = (0..usable.len()).rev().max_by_key(|&index| count(index))?;
        let after = (1..usable.len()).map(|step| (most + step) % usable.len());
        let least = after.min_by_key(|&index| count(index))?;
        if count(most) < count(least) + 2 {
            return Some(usable[seat]);
        }
        let moved = ranks_on[most].pop()?;
        if moved == rank {
            return Some(usable[least]);
        }
        ranks_on[least].push(moved);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::{Cell, Crowding, FIRST_LOOK, NEXT_TRY, seat, take_seat, tell_processor};
    use crate::{
        memory::{control::Control, layout::Geometry, segment::Segment},
        sync::{cell::Members, primitive::Ordering},
        sys::affinity,
    };

    /// Where all ranks are after each has taken its seat, one after the other or all at once.
    fn spread(told: &[u32], usable: &[u32]) -> Vec<u32> {
        let seats = |told: &[u32]| -> Vec<u32> {
            let ranks = 0..told.len();
            ranks
                .map(|rank| seat(rank, told.iter().copied(), usable).unwrap_or(told[rank]))
                .collect()
        };
        let at_once = seats(told);
        let mut in_turn = told.to_vec();
        for rank in (0..told.len()).rev() {
            in_turn[rank] = seats(&in_turn)[rank];
        }
        assert_eq!(at_once, in_turn);
        assert_eq!(seats(&at_once), at_once, "they stay");
        at_once
    }

    #[test]
    fn ranks_that_are_too_many_on_a_processor_leave_it() {
        assert_eq!(spread(&[1, 1], &[1, 2]), [1, 2]);
        assert_eq!(spread(&[1, 1, 1, 2], &[1, 2]), [1, 1, 2, 2]);
        assert_eq!(spread(&[2; 4], &[1, 2]), [2, 2, 1, 1]);
        assert_eq!(spread(&[3, 3, 3], &[1, 2, 3, 4]), [3, 1, 4]);
        assert_eq!(spread(&[1; 5], &[1, 2]), [1, 1, 1, 2, 2]);
    }

    #[test]
    fn ranks_that_are_spread_stay() {
        assert_eq!(spread(&[2, 1], &[1, 2]), [2, 1]);
        assert_eq!(spread(&[1, 1, 2], &[1, 2]), [1, 1, 2]);
        assert_eq!(spread(&[1, 1, 1], &[1]), [1, 1, 1]);
    }

    /// Has rank 1 take its seat where rank 0 is too, and expects that it tells to be where that leaves it:
    /// back there if the other processor `is_taken`.
    #[allow(clippy::print_stderr, reason = "says that it was skipped")]
    fn leaves_unless_taken(is_taken: bool) {
        let usable = affinity::usable();
        let [first, _, ..] = usable[..] else {
            eprintln!("SKIPPED: only one processor may be used");
            return;
        };
        let geometry = Geometry::with_staging(2, 0);
        let segment = Segment::private(geometry.total_bytes()).unwrap();
        let control = Control::new(segment, geometry, None);
        let told = |rank: usize| {
            let presence = &control.cell(rank).presence;
            presence.processor.load(Ordering::Relaxed)
        };
        // On a busy machine the kernel may move the caller on at any moment.
        let goes_where_it_should = |_| {
            affinity::move_to(first, |_| false);
            let together = [0, 1].map(|rank| tell_processor(control.cell(rank)));
            if together != [first + 1; 2] {
                return false;
            }
            let been = Cell::new(None);
            let found_room = take_seat(&control, 1, |go| {
                go();
                been.set(Some(told(1)));
                is_taken
            });
            let Some(been) = been.get() else {
                assert!(found_room, "it has not looked");
                return false;
            };
            assert_eq!((told(0), found_room), (first + 1, !is_taken));
            been != first + 1 && (told(1) == first + 1) == is_taken
        };
        assert!((0..1000).any(goes_where_it_should), "it never does");
    }

    #[test]
    fn a_rank_that_finds_another_on_its_processor_goes_to_a_free_one() {
        leaves_unless_taken(false);
    }

    #[test]
    fn a_rank_that_finds_the_other_processor_busy_comes_back() {
        leaves_unless_taken(true);
    }

    #[test]
    fn a_rank_that_is_often_in_the_way_looks_where_it_had_better_be() {
        for found_room in [true, false] {
            let (crowding, looks) = (Crowding::default(), Cell::new(0));
            let felt = || {
                crowding.count(|| {
                    looks.set(looks.get() + 1);
                    found_room
                });
            };
            (0..FIRST_LOOK).for_each(|_| felt());
            assert_eq!(looks.get(), 0);
            felt();
            assert_eq!(looks.get(), 1);
            let next = if found_room { 2 * FIRST_LOOK } else { NEXT_TRY };
            assert_eq!(crowding.until_look.get(), next);
        }
    }

    #[test]
    fn a_rank_that_stays_in_the_way_looks_less_and_less_often() {
        let crowding = Crowding::default();
        for looks in 1..20 {
            crowding.postpone();
            let expected = (FIRST_LOOK << looks).min(super::LAST_LOOK);
            assert_eq!(crowding.until_look.get(), expected);
        }
    }

    #[test]
    fn ranks_elsewhere_and_unknown_ones_do_not_count() {
        // Rank 1 may run where this rank may not; nobody knows where rank 2 runs.
        assert_eq!(spread(&[1, 9, 0, 1], &[1, 2]), [1, 9, 0, 2]);
        assert_eq!(seat(0, [0, 1].into_iter(), &[1, 2]), None);
        assert_eq!(seat(0, [5].into_iter(), &[]), None);
    }
}
