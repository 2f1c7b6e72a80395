//! The last events of a rank: a ring that its owner writes and anybody may read.

use crate::sync::primitive::{AtomicU64, Ordering, fence};

/// The words of an event.
pub(crate) const WORDS: usize = 4;

/// One event (of `N` words, which the model checker has fewer of).
#[derive(Debug)]
#[repr(C, align(32))]
pub(crate) struct Place<const N: usize = WORDS>([AtomicU64; N]);

/// What the words of an event are; see [`crate::recording`] for their meaning.
pub(crate) type Words<const N: usize = WORDS> = [u64; N];

/// Appends an event to the ring `places`, of which `written` have been written so far.
pub(crate) fn push<const N: usize>(places: &[Place<N>], written: &AtomicU64, words: Words<N>) {
    let number = written.load(Ordering::Relaxed);
    // No rank has a ring of no places and pushes: `%` would divide by zero.
    let place = &places[number as usize % places.len()];
    // Matches the fence in `last`: who read a word of this event sees `written` before it.
    fence(Ordering::Release);
    for (word, value) in place.0.iter().zip(words) {
        word.store(value, Ordering::Relaxed);
    }
    // Release matches the Acquire in `last`.
    // Wrapping, here and in `last`: anything may have written over the number.
    written.store(number.wrapping_add(1), Ordering::Release);
}

/// The events that the ring holds, oldest first, and how many have been overwritten.
pub(crate) fn last<const N: usize>(
    places: &[Place<N>],
    written: &AtomicU64,
) -> (Vec<Words<N>>, u64) {
    let len = places.len() as u64;
    // Acquire matches the Release in `push`.
    let end = written.load(Ordering::Acquire);
    let start = end.saturating_sub(len);
    let events = (start..end).map(|number| {
        let place = &places[(number % len) as usize];
        core::array::from_fn(|word| place.0[word].load(Ordering::Relaxed))
    });
    let mut events: Vec<Words<N>> = events.collect();
    // Matches the fence in `push`.
    fence(Ordering::Acquire);
    // Event `now` may be half written already, in the place of the one a ring before it.
    let valid = written
        .load(Ordering::Relaxed)
        .saturating_add(1)
        .saturating_sub(len);
    let torn = valid.saturating_sub(start).min(events.len() as u64);
    events.drain(..torn as usize);
    (events, start + torn)
}

#[cfg(any(loom, test))]
impl<const N: usize> Place<N> {
    pub(crate) fn new() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Place, Words, last, push};
    use crate::sync::primitive::{AtomicU64, Ordering};

    fn ring(len: usize) -> (Vec<Place>, AtomicU64) {
        let places = (0..len).map(|_| Place::new()).collect();
        (places, AtomicU64::new(0))
    }

    #[test]
    fn any_number_of_events_can_be_read_and_added_to() {
        let (places, written) = ring(4);
        for number in [1, u64::MAX - 1, u64::MAX] {
            written.store(number, Ordering::Relaxed);
            assert!(last(&places, &written).0.len() <= 4);
            push(&places, &written, [0; 4]);
            assert!(last(&places, &written).0.len() <= 4);
        }
    }

    #[test]
    fn the_last_events_are_kept_and_the_others_counted() {
        let (places, written) = ring(4);
        assert_eq!(last(&places, &written), (vec![], 0));
        for number in 0..3 {
            push(&places, &written, [number; 4]);
        }
        assert_eq!(last(&places, &written), (vec![[0; 4], [1; 4], [2; 4]], 0));
        for number in 3..10 {
            push(&places, &written, [number; 4]);
        }
        // The oldest is in the place of the next, which might be half written.
        assert_eq!(last(&places, &written), (vec![[7; 4], [8; 4], [9; 4]], 7));
    }

    #[test]
    fn no_event_read_beside_the_writer_is_torn() {
        let (places, written) = ring(8);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..200_000 {
                    push(&places, &written, [number; 4]);
                }
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let (events, gone): (Vec<Words>, u64) = last(&places, &written);
                for (event, number) in events.iter().zip(gone..) {
                    assert_eq!(*event, [number; 4]);
                }
            }
        });
    }
}
