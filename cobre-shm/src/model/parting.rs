//! Ranks that leave at the same moment.

use loom::{sync::Arc, thread};

use super::Heap;
use crate::sync::{
    cell::{LEFT, Members},
    parting::Called,
    wait,
};

/// Each is seen whole, and at least one is seen at all.
#[test]
fn of_two_that_leave_together_one_sees_the_other() {
    fn leave(heap: &Heap, rank: usize) -> bool {
        let called = |rank: usize| Called {
            calls: 7 + rank as u64,
            signature: 70 + rank as u64,
        };
        let cell = heap.cell(rank);
        called(rank).show(&cell.presence);
        wait::mark_gone(cell, LEFT);
        let theirs = Called::shown(&heap.cell(1 - rank).presence);
        assert!(theirs.is_none_or(|theirs| theirs == called(1 - rank)));
        theirs.is_some()
    }
    loom::model(|| {
        let heap = Heap::new(2);
        let other = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || leave(&heap, 1))
        };
        let one = leave(&heap, 0);
        assert!(other.join().unwrap() || one, "neither sees the other");
    });
}
