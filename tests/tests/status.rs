//! The status board of a job: ranks appear by themselves, and collectives keep it current.

use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use cobre_comm_trait::{Communicator, Operation};
use cobre_shm::{
    Activity, Config,
    board::{Member, Progress, State},
};
use cobre_tests::{run_threads, run_threads_with};

/// Looks until `wanted` is true of what rank `rank` shows.
fn until(comm: &cobre_shm::ShmComm, rank: usize, wanted: impl Fn(&Member) -> bool) -> Member {
    loop {
        let member = comm.board().swap_remove(rank);
        if wanted(&member) {
            return member;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_rank_that_waits_is_seen_with_its_operation_line_and_peer() {
    let seen = AtomicBool::new(false);
    run_threads(2, |comm, _| {
        let line = line!() + 2;
        if comm.rank() == 1 {
            comm.barrier().unwrap();
            while !seen.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        } else {
            let waiting = until(&comm, 1, |member| member.state == State::Waiting);
            let Some(Activity::Waiting { call, peer, .. }) = waiting.activity else {
                panic!("{waiting:?}");
            };
            let call = call.unwrap();
            assert_eq!((peer, call.operation), (0, Operation::Barrier));
            assert_eq!(call.number, 1);
            let location = call.location.unwrap();
            assert!(
                location.ends_with(&format!("status.rs:{line}")),
                "{location}"
            );
            comm.barrier().unwrap();
            // Now it is between collectives, which is work unless it says otherwise.
            until(&comm, 1, |member| member.state == State::Busy);
            seen.store(true, Ordering::Relaxed);
        }
    });
}

#[test]
fn what_a_rank_says_is_read_by_all_and_what_it_does_counts_first() {
    let outside = std::sync::Barrier::new(3);
    run_threads(3, |comm, _| {
        let status = comm.status();
        let rank = comm.rank() as u64;
        status.state(State::Idle);
        status.queue(rank);
        status.progress(rank, 10);
        status.text(&format!("I am {rank}"));
        comm.barrier().unwrap();
        for (index, member) in comm.board().into_iter().enumerate() {
            let record = member.record.unwrap();
            let peer = index as u64;
            assert_eq!(
                (member.index, member.name),
                (index, format!("rank {index}"))
            );
            assert!(member.alive, "{index}");
            assert_eq!(member.pid, Some(std::process::id()));
            assert_eq!(record.load.queue, peer);
            assert_eq!(
                record.progress,
                Some(Progress {
                    done: peer,
                    total: 10
                })
            );
            assert_eq!(record.text.as_str(), format!("I am {peer}"));
        }
        // All are out of the collective before anybody looks, and stay out until all have looked.
        comm.barrier().unwrap();
        outside.wait();
        for member in comm.board() {
            assert_eq!(member.state, State::Idle, "{member:?}");
        }
        outside.wait();
    });
}

#[test]
fn a_rank_that_leaves_is_shut_down_and_keeps_its_record() {
    run_threads(2, |comm, _| {
        let inner = cobre_comm_trait::SharedMemoryProvider::split_local(&comm).unwrap();
        if comm.rank() == 1 {
            inner.status().queue(7);
            inner.barrier().unwrap();
            drop(inner);
        } else {
            inner.barrier().unwrap();
            let gone = until(&inner, 1, |member| member.state == State::Shutdown);
            assert!(!gone.alive);
            assert_eq!(gone.record.unwrap().load.queue, 7);
        }
        comm.barrier().unwrap();
    });
}

#[test]
fn memory_and_time_are_refreshed_in_the_background_unless_switched_off() {
    let refreshed = |interval| {
        let set = |config: &mut Config| config.status_interval = interval;
        run_threads_with(2, set, |comm, _| {
            if interval.is_none() {
                comm.barrier().unwrap();
                let record = comm.board().swap_remove(1).record.unwrap();
                assert_eq!((record.resident, record.load.updated_ns), (0, 0));
            } else {
                let first = until(&comm, 1, |member| member.record.unwrap().resident > 0);
                let first = first.record.unwrap().load.updated_ns;
                until(&comm, 1, |member| {
                    member.record.unwrap().load.updated_ns > first
                });
            }
            comm.barrier().unwrap();
        });
    };
    refreshed(Some(Duration::from_millis(1)));
    refreshed(None);
}
