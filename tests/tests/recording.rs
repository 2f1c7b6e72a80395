//! What a recorded job writes down, read by the observer while the ranks run and after they have left.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use cobre_comm_trait::{Communicator, Operation, ReduceOp, SharedMemoryProvider};
use cobre_shm::observer::Observer;
use cobre_shm::recording::{EventKind, MAX_TRACE_EVENTS, RankRecord, Recording, SiteRecord};
use cobre_shm::{Activity, InitError, MAX_RANKS, ShmComm};
use cobre_tests::{config, job_name, left_behind, run_ranks};

const RANKS: usize = 3;
const LATE: usize = 2;

/// Runs `body` on each rank of a recorded job, and returns what they wrote down.
fn recorded(
    recording: Option<Recording>,
    body: impl Fn(&ShmComm, &Observer) + Sync,
) -> Vec<Option<RankRecord>> {
    let name = job_name();
    let mut observer = Observer::found_with(&name, RANKS, recording, None).unwrap();
    run_ranks(RANKS, |rank, _| {
        let mut config = config(&name, rank, RANKS);
        config.launcher = Some(std::process::id());
        let comm = ShmComm::form(&config).unwrap();
        body(&comm, &observer);
    });
    observer.remove_name();
    assert_eq!(left_behind(&name), [""; 0]);
    (0..RANKS).map(|rank| observer.record(rank)).collect()
}

/// Returns when all other ranks sleep in their collective `number`.
fn until_all_others_sleep(comm: &ShmComm, observer: &Observer, number: u64) {
    let sleeps = |rank| match observer.activity(rank) {
        Activity::Waiting { call, .. } => call.is_some_and(|call| call.number == number),
        _ => false,
    };
    while !(0..RANKS).all(|rank| rank == comm.rank() || sleeps(rank)) {
        std::thread::yield_now();
    }
}

fn site(record: &RankRecord, operation: Operation) -> &SiteRecord {
    let mut sites = record.sites.iter();
    sites.find(|site| site.operation == operation).unwrap()
}

#[test]
fn who_comes_last_and_what_it_costs_is_counted_at_each_call_site() {
    const CALLS: u64 = 5;
    let records = recorded(Some(Recording::default()), |comm, observer| {
        for number in 1..=CALLS {
            if comm.rank() == LATE {
                until_all_others_sleep(comm, observer, number);
            }
            comm.barrier().unwrap();
        }
        let mut sum = [0.0; 100];
        comm.allreduce(&[1.0; 100], &mut sum, ReduceOp::Sum)
            .unwrap();
    });
    for (rank, record) in records.iter().enumerate() {
        let record = record.as_ref().unwrap();
        let barrier = site(record, Operation::Barrier);
        assert_eq!(barrier.calls, CALLS);
        assert!(barrier.site.as_deref().unwrap().contains("recording.rs:"));
        let last = if rank == LATE { CALLS } else { 0 };
        assert_eq!(barrier.came_last, last, "rank {rank}");
        assert_eq!(barrier.waits_ns.len(), RANKS);
        let waited: u64 = barrier.waits_ns.iter().sum();
        assert_eq!(waited, barrier.waiting_ns);
        assert!(barrier.waiting_ns <= barrier.time_ns);
        assert!(barrier.longest_ns * CALLS >= barrier.time_ns);
        assert!(barrier.times.quantile(1.0) >= barrier.longest_ns);
        if rank == LATE {
            assert_eq!(waited, 0);
        } else {
            // Its first peer may have been late as well; what it slept for is the late one.
            assert!(barrier.waits_ns[LATE] > 0, "{:?}", barrier.waits_ns);
        }
        let reduced = site(record, Operation::Allreduce);
        assert_eq!((reduced.calls, reduced.bytes), (1, 800));
        assert!(record.began_ns > 0 && record.ended_ns.unwrap() >= record.seen_ns);
        assert!(record.events.is_empty());
        let waiting: u64 = record.timeline.waiting_ns.iter().sum();
        let calling: u64 = record.timeline.calling_ns.iter().sum();
        let of_sites = |time: fn(&SiteRecord) -> u64| record.sites.iter().map(time).sum::<u64>();
        assert_eq!(waiting, of_sites(|site| site.waiting_ns));
        assert_eq!(calling, of_sites(|site| site.time_ns));
    }
}

#[test]
fn a_broadcast_counts_for_its_root_and_nobody_comes_last() {
    let records = recorded(Some(Recording::default()), |comm, observer| {
        if comm.rank() == LATE {
            until_all_others_sleep(comm, observer, 1);
        }
        comm.broadcast(&mut [0_u8; 1000], LATE).unwrap();
    });
    for (rank, record) in records.iter().enumerate() {
        let broadcast = site(record.as_ref().unwrap(), Operation::Broadcast);
        let bytes = if rank == LATE { 1000 } else { 0 };
        assert_eq!((broadcast.bytes, broadcast.came_last), (bytes, 0));
        assert_eq!(broadcast.waits_ns[LATE] > 0, rank != LATE);
    }
}

#[test]
fn the_ring_keeps_the_last_events_of_both_communicators() {
    const CALLS: usize = 20;
    let events = 16;
    let again = AtomicUsize::new(0);
    let records = recorded(Some(Recording { trace_events: 16 }), |comm, _| {
        for _ in 0..CALLS {
            comm.barrier().unwrap();
        }
        comm.split_local().unwrap().barrier().unwrap();
        again.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(again.into_inner(), RANKS);
    for record in records.iter().flatten() {
        assert!(record.events.len() >= events - 1, "{}", record.events.len());
        assert!(record.events_lost as usize >= 2 * CALLS - events);
        assert!(record.events.is_sorted_by_key(|event| event.time_ns));
        let begun = record
            .events
            .iter()
            .rev()
            .find_map(|event| match &event.kind {
                EventKind::CallBegins {
                    operation, number, ..
                } => Some((*operation, *number)),
                _ => None,
            });
        assert_eq!(begun, Some((Operation::Barrier, 1)));
        assert_eq!(record.events.last().unwrap().kind, EventKind::CallEnds);
        let calls: u64 = record.sites.iter().map(|site| site.calls).sum();
        assert_eq!(calls as usize, CALLS + 2);
    }
}

#[test]
fn a_job_that_is_not_recorded_has_no_records() {
    let records = recorded(None, |comm, _| comm.barrier().unwrap());
    assert!(records.iter().all(Option::is_none));
}

#[test]
fn records_that_there_is_no_room_for_are_refused_at_once() {
    let name = job_name();
    // 2 TiB, of which the founder itself would reserve next to nothing.
    let recording = Recording {
        trace_events: MAX_TRACE_EVENTS,
    };
    let error = Observer::found_with(&name, MAX_RANKS, Some(recording), None).unwrap_err();
    assert!(matches!(error, InitError::NoRoom { .. }), "{error}");
    assert!(error.to_string().contains("record fewer events"), "{error}");
    assert_eq!(left_behind(&name), [""; 0]);
}
