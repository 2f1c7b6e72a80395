//! The status board's latch: no torn record, no record older than one that was announced.

use loom::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::sync::latch::Latch;

/// Whatever a reader gets is one update, whole, while the writer rewrites the copy it began with.
#[test]
fn a_record_is_never_torn() {
    loom::model(|| {
        let latch = Arc::new(Latch::<2, 2>::new());
        let writer = Arc::clone(&latch);
        let writer = thread::spawn(move || {
            for update in 1..=3 {
                writer.publish(&[update, update]);
            }
        });
        if let Some([one, other]) = latch.read() {
            assert_eq!(one, other, "torn");
        }
        writer.join().unwrap();
        assert_eq!(latch.read(), Some([3, 3]));
    });
}

/// With more copies than two a reader ends although the writer publishes meanwhile; still whole.
#[test]
fn a_record_is_never_torn_with_a_copy_to_spare() {
    let mut bounded = loom::model::Builder::new();
    bounded.preemption_bound = Some(3);
    bounded.check(|| {
        let latch = Arc::new(Latch::<2, 3>::new());
        let writer = Arc::clone(&latch);
        let writer = thread::spawn(move || {
            for update in 1..=4 {
                writer.publish(&[update, update]);
            }
        });
        if let Some([one, other]) = latch.read() {
            assert_eq!(one, other, "torn");
        }
        writer.join().unwrap();
    });
}

/// Who was told of an update, by whatever means, reads it or a later one.
#[test]
fn an_announced_record_is_read() {
    loom::model(|| {
        let latch = Arc::new(Latch::<2, 2>::new());
        let told = Arc::new(AtomicU64::new(0));
        let (writer, tell) = (Arc::clone(&latch), Arc::clone(&told));
        let writer = thread::spawn(move || {
            writer.publish(&[1, 1]);
            writer.publish(&[2, 2]);
            tell.store(2, Ordering::Release);
        });
        let least = told.load(Ordering::Acquire);
        if let Some([update, _]) = latch.read() {
            assert!(update >= least, "{update} after {least}");
        }
        writer.join().unwrap();
    });
}

/// A writer that dies in the middle of an update leaves the last whole one, and its successor goes on.
#[test]
fn a_dead_writer_blocks_nobody() {
    loom::model(|| {
        let latch = Arc::new(Latch::<2, 2>::new());
        let writer = Arc::clone(&latch);
        let writer = thread::spawn(move || {
            writer.publish(&[1, 1]);
            writer.die_after(1, 9);
            writer.publish(&[2, 2]);
        });
        let read = latch.read();
        assert!(
            matches!(read, None | Some([0, 0] | [1, 1] | [2, 2])),
            "{read:?}"
        );
        writer.join().unwrap();
        assert_eq!(latch.read(), Some([2, 2]));
    });
}
