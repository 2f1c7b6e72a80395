//! What a recorded job writes down, read by the observer while the ranks run and after they have left.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cobre_comm_trait::{Communicator, Operation, ReduceOp, SharedMemoryProvider};
use cobre_profile::{Profile, Run};
use cobre_shm::observer::Observer;
use cobre_shm::recording::{EventKind, MAX_TRACE_EVENTS, RankRecord, Recording, SiteRecord};
use cobre_shm::{Activity, InitError, MAX_RANKS, ShmComm};
use cobre_tests::{config, job_name, left_behind, run_ranks};

const RANKS: usize = 4;
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

/// Returns when these ranks sleep in their collective `number`.
fn until_asleep(observer: &Observer, ranks: impl Iterator<Item = usize> + Clone, number: u64) {
    let sleeps = |rank| match observer.activity(rank) {
        Activity::Waiting { call, .. } => call.is_some_and(|call| call.number == number),
        _ => false,
    };
    while !ranks.clone().all(sleeps) {
        std::thread::yield_now();
    }
}

fn others(comm: &ShmComm) -> impl Iterator<Item = usize> + Clone {
    let rank = comm.rank();
    (0..RANKS).filter(move |&other| other != rank)
}

fn site(record: &RankRecord, operation: Operation) -> &SiteRecord {
    let mut sites = record.sites.iter();
    sites.find(|site| site.operation == operation).unwrap()
}

#[test]
fn who_comes_last_and_what_it_costs_is_counted_at_each_call_site() {
    let records = recorded(Some(Recording::default()), |comm, observer| {
        for number in 1..=CALLS {
            if comm.rank() == LATE {
                until_asleep(observer, others(comm), number);
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
        // Whomever a rank awaited first: all its waits are for the one who came last.
        let for_the_late_one = barrier.waits_ns[LATE];
        assert_eq!(for_the_late_one, waited, "{:?}", barrier.waits_ns);
        assert_eq!(waited > 0, rank != LATE);
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

const CALLS: u64 = 5;
const STEP: Duration = Duration::from_millis(15);

/// The sums at the one place where all ranks call.
fn sums(records: &[Option<RankRecord>]) -> Vec<&SiteRecord> {
    let records = records.iter().flatten();
    records
        .map(|record| site(record, Operation::Barrier))
        .collect()
}

/// Each rank comes some time after the one before it has fallen asleep.
#[test]
fn on_a_staircase_the_last_step_alone_is_late_and_by_its_own_height() {
    let records = recorded(Some(Recording::default()), |comm, observer| {
        for number in 1..=CALLS {
            until_asleep(observer, 0..comm.rank(), number);
            std::thread::sleep(STEP * comm.rank().min(1) as u32);
            comm.barrier().unwrap();
        }
    });
    let last = RANKS - 1;
    let sums = sums(&records);
    let steps = CALLS * STEP.as_nanos() as u64;
    for (rank, sums) in sums.iter().enumerate() {
        assert_eq!(sums.came_last, if rank == last { CALLS } else { 0 });
        assert_eq!(sums.waits_ns[last], sums.waiting_ns, "{:?}", sums.waits_ns);
        assert!(sums.waiting_ns >= steps * (last - rank) as u64);
    }
    // Rank 2 alone sees how late the last one is, and that is how long it waits itself.
    let late: Vec<u64> = sums.iter().map(|sums| sums.late_ns[last]).collect();
    assert_eq!(late, [0, 0, sums[2].waiting_ns, 0]);
    assert!(
        sums.iter()
            .all(|sums| sums.late_ns[..last] == [0; RANKS - 1])
    );
}

/// Rank 0 waits long, the others come together: whoever of them is last costs next to nothing.
#[test]
fn ranks_that_come_together_are_hardly_late() {
    let released = Barrier::new(RANKS - 1);
    let since_release = AtomicU64::new(0);
    let records = recorded(Some(Recording::default()), |comm, observer| {
        for number in 1..=CALLS {
            if comm.rank() > 0 {
                until_asleep(observer, 0..1, number);
                std::thread::sleep(STEP);
                released.wait();
            }
            let begin = Instant::now();
            comm.barrier().unwrap();
            if comm.rank() > 0 {
                let time = begin.elapsed().as_nanos() as u64;
                since_release.fetch_add(time, Ordering::Relaxed);
            }
        }
    });
    let sums = sums(&records);
    assert!(sums[0].waiting_ns >= CALLS * STEP.as_nanos() as u64);
    assert!(sums.iter().all(|sums| sums.waits_ns[0] == 0));
    // The time for which rank 0 waited alone is nobody's lateness.
    let late = sums.iter().flat_map(|sums| &sums.late_ns).sum::<u64>();
    let all = since_release.into_inner();
    assert!(late <= all, "{late} of {all}");
    assert_eq!(sums[0].came_last, 0);
}

#[test]
fn a_broadcast_counts_for_its_root_and_nobody_comes_last() {
    let records = recorded(Some(Recording::default()), |comm, observer| {
        if comm.rank() == LATE {
            until_asleep(observer, others(comm), 1);
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

/// One of the ranks that have not ended, by a panic neither.
struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs a recorded job whose records are written over all the time, with what `garbage` makes.
fn overwritten(garbage: impl Fn(usize) -> u64 + Sync) {
    const CALLS: usize = 40;
    let length = |recording| {
        let name = job_name();
        let observer = Observer::found_with(&name, RANKS, recording, None).unwrap();
        let file = File::options().write(true).open(format!("/dev/shm{name}"));
        let file = file.unwrap();
        (file.metadata().unwrap().len(), name, observer, file)
    };
    let (begin, ..) = length(None);
    let (end, name, mut observer, file) = length(Some(Recording { trace_events: 64 }));
    let joined = Barrier::new(RANKS + 1);
    let working = AtomicUsize::new(RANKS);
    run_ranks(RANKS + 1, |rank, watchdog| {
        if rank < RANKS {
            let _working = Working(&working);
            let mut config = config(&name, rank, RANKS);
            config.launcher = Some(std::process::id());
            let comm = ShmComm::form(&config).unwrap();
            joined.wait();
            for call in 0..CALLS {
                watchdog.step(rank, &format!("call {call}"));
                comm.barrier().unwrap();
                let mut sum = [0.0];
                comm.allreduce(&[1.0], &mut sum, ReduceOp::Sum).unwrap();
                assert_eq!(sum, [RANKS as f64]);
            }
        } else {
            joined.wait();
            while working.load(Ordering::Relaxed) > 0 {
                for offset in (begin..end).step_by(8) {
                    let word = garbage(offset as usize);
                    file.write_all_at(&word.to_ne_bytes(), offset).unwrap();
                }
                for rank in 0..RANKS {
                    let _ = observer.record(rank);
                }
            }
        }
    });
    observer.remove_name();
    let records: Vec<_> = (0..RANKS).map(|rank| observer.record(rank)).collect();
    let run = Run {
        program: "vandal".to_owned(),
        cores: 1,
        exit_code: 0,
    };
    let profile = Profile::new(run, &records);
    assert!(cobre_profile::table(&profile).contains("profile of 4 ranks"));
    assert!(cobre_profile::plot(&profile).ends_with("</svg>\n"));
    cobre_profile::trace(std::io::sink(), &records).unwrap();
}

/// Records are for people alone: whatever is written over them, the job goes on, and what is read
/// from them is nonsense but nothing worse.
#[test]
fn no_garbage_in_a_record_hurts_its_rank_or_its_reader() {
    for word in [u64::MAX, u64::MAX / 2, 1 << 63, 0x5555_5555_5555_5555] {
        overwritten(|_| word);
    }
    for seed in 0..8_u64 {
        // The steps of splitmix64 (Steele et al. 2014).
        let state = AtomicU64::new(seed);
        overwritten(|_| {
            let step = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let word = (step ^ step >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            // All sizes of numbers.
            (word ^ word >> 31) >> (step >> 58)
        });
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
