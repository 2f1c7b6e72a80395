//! Work shared out while it is done: every index once, results by index, and what a death leaves.

use std::sync::{
    Barrier,
    atomic::{AtomicUsize, Ordering},
};

use cobre_comm_trait::{CommError, Communicator};
use cobre_shm::{Chunking, WorkError};
use cobre_tests::run_threads;

const KINDS: [Chunking; 4] = [
    Chunking::Fixed(1),
    Chunking::Fixed(7),
    Chunking::Guided,
    Chunking::Adaptive,
];

#[test]
fn every_index_is_handed_out_once_and_all_get_all_results() {
    for (chunking, ranks) in KINDS.into_iter().zip([1, 3, 4, 2]) {
        for len in [0, 1, 1000] {
            let handed: Vec<AtomicUsize> = (0..len).map(|_| AtomicUsize::new(0)).collect();
            run_threads(ranks, |comm, _| {
                let work = comm.dynamic::<[u64; 3]>(5..5 + len, chunking).unwrap();
                for chunk in &work {
                    chunk.unwrap().complete(|index| {
                        handed[index - 5].fetch_add(1, Ordering::Relaxed);
                        [index as u64, 1, 2]
                    });
                }
                let results = work.finish().unwrap();
                let expected = (5..5 + len as u64).map(|index| [index, 1, 2]);
                assert!(results.iter().copied().eq(expected));
            });
            assert!(
                handed
                    .iter()
                    .all(|count| count.load(Ordering::Relaxed) == 1)
            );
        }
    }
}

/// Rank 1 takes a chunk, records one result of it, and goes.
#[test]
fn after_a_departure_the_unfinished_indices_are_listed() {
    let taken = Barrier::new(3);
    run_threads(3, |comm, _| {
        let work = comm.dynamic::<u32>(0..30, Chunking::Fixed(5)).unwrap();
        let mut claims = (&work).into_iter();
        if comm.rank() == 1 {
            let mut chunk = claims.next().unwrap().unwrap();
            assert_eq!(chunk.indices(), 0..5);
            chunk.record(2, 7);
            taken.wait();
            return;
        }
        taken.wait();
        let ended: Result<(), WorkError> = claims.try_for_each(|chunk| {
            chunk?.complete(|index| index as u32);
            Ok(())
        });
        let error = match ended {
            Ok(()) => work.finish().unwrap_err(),
            Err(error) => error,
        };
        let WorkError::Failed { cause, unfinished } = &error else {
            panic!("{error}");
        };
        assert!(
            matches!(cause, CommError::RankFailed { rank: 1, .. }),
            "{cause:?}"
        );
        // The other survivor may not have got as far as this one when it learned of the failure.
        assert_eq!((unfinished[0].clone(), unfinished[1].start), (0..2, 3));
    });
}

#[test]
fn a_chunk_that_is_dropped_is_missed_by_all_alike() {
    run_threads(2, |comm, _| {
        let work = comm.dynamic::<u32>(10..20, Chunking::Fixed(5)).unwrap();
        if comm.rank() == 0 {
            while let Some(chunk) = (&work).into_iter().next() {
                let mut chunk = chunk.unwrap();
                let first = chunk.indices().start;
                chunk.record(first, 1);
            }
        }
        let unfinished = vec![11..15, 16..20];
        let expected = WorkError::NotRecorded { unfinished };
        assert_eq!(work.finish().unwrap_err(), expected);
        let said = "no rank recorded a result of 8 indices (11-14, 16-19)";
        assert_eq!(expected.to_string(), said);
    });
}

#[test]
#[should_panic(expected = "has been recorded")]
fn a_result_is_recorded_once() {
    run_threads(1, |comm, _| {
        let work = comm.dynamic::<u32>(0..1, Chunking::Guided).unwrap();
        let mut chunk = (&work).into_iter().next().unwrap().unwrap();
        chunk.record(0, 1);
        chunk.record(0, 2);
    });
}

#[test]
fn ranks_that_disagree_about_the_work_are_told() {
    run_threads(2, |comm, _| {
        let made = comm.dynamic::<u32>(0..10 + comm.rank(), Chunking::Guided);
        assert!(matches!(made, Err(CommError::Mismatch { .. })));
    });
}

/// Two schedules that are alike are two all the same.
#[test]
fn ranks_that_finish_different_schedules_disagree() {
    let outcomes = run_threads(2, |comm, _| {
        let mut both = [(); 2].map(|()| Some(comm.dynamic::<u8>(0..0, Chunking::Guided).unwrap()));
        let work = both[comm.rank()].take().unwrap();
        work.finish().map(drop)
    });
    let Err(WorkError::Failed { cause, .. }) = &outcomes[0] else {
        panic!("{outcomes:?}");
    };
    assert!(matches!(cause, CommError::Mismatch { .. }), "{cause}");
    let results = cause
        .to_string()
        .matches("to the results of shared work")
        .count();
    assert_eq!(results, 2, "{cause}");
    assert_eq!(outcomes[0], outcomes[1]);
}
