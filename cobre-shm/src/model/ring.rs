//! The ring of events: what is read beside the writer is whole, and in order.

use loom::{
    sync::{Arc, atomic::AtomicU64},
    thread,
};

use crate::sync::ring::{Place, last, push};

/// Whatever a reader gets are events of the writer's, whole and one after the other, although the writer
/// goes round the ring meanwhile.
#[test]
fn an_event_is_never_torn() {
    let mut bounded = loom::model::Builder::new();
    bounded.preemption_bound = Some(3);
    bounded.check(|| {
        let ring: Arc<(Vec<Place<2>>, AtomicU64)> =
            Arc::new(((0..2).map(|_| Place::new()).collect(), AtomicU64::new(0)));
        let reader = Arc::clone(&ring);
        let reader = thread::spawn(move || {
            let (events, gone) = last(&reader.0, &reader.1);
            for (event, number) in events.iter().zip(gone..) {
                assert_eq!(*event, [number + 1; 2], "torn");
            }
        });
        for number in 0..4 {
            push(&ring.0, &ring.1, [number + 1; 2]);
        }
        reader.join().unwrap();
        // The oldest might be half written, as far as a reader can know.
        assert_eq!(last(&ring.0, &ring.1), (vec![[4; 2]], 3));
    });
}
