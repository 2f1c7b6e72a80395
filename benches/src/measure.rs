//! The loops: what is timed, and how.

use std::time::{Duration, Instant};

use cobre_comm_trait::{CommError, Communicator, ReduceOp, SharedMemoryProvider};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::cases::Case;
use crate::json::{Mode, Record};
use crate::lane::Action;
use crate::stats::{Summary, over_ranks};
use crate::steps::Steps;
use crate::subject::{RunError, Subject};
use crate::windows::Windowed;

/// Samples of a case, unless one takes very long.
pub const SAMPLES: usize = 25;
/// Samples of a case whose single call takes longer than any batch should.
const FEWEST_SAMPLES: usize = 5;

/// Microseconds of so many turns here, after a barrier.
fn batch<C: Communicator>(
    comm: &C,
    subject: &mut impl Subject,
    iters: u64,
    action: Action,
) -> Result<f64, CommError> {
    comm.barrier()?;
    let start = Instant::now();
    for _ in 0..iters {
        subject.turn(action)?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

/// How many turns make a sample, and how many samples there are: the same on all ranks.
fn calibrate<C: Communicator>(
    comm: &C,
    subject: &mut impl Subject,
    target: f64,
    action: Action,
) -> Result<(u64, usize), CommError> {
    let mut iters = 1;
    // The first calls are not like the others.
    batch(comm, subject, 1, action)?;
    let (mut again, mut fastest) = (0, f64::INFINITY);
    let mean = loop {
        let mine = [batch(comm, subject, iters, action)?];
        let mut slowest = [0.0];
        comm.allreduce(&mine, &mut slowest, ReduceOp::Max)?;
        if slowest[0] >= target / 4.0 || iters >= 1 << 20 {
            fastest = slowest[0].min(fastest);
            // Again, lest an interruption makes the batches too small.
            again += 1;
            if again == 3 {
                break fastest / iters as f64;
            }
        } else if again == 0 {
            iters *= 4;
        } else {
            break slowest[0] / iters as f64;
        }
    };
    let iters = (target / mean.max(1e-3)).clamp(1.0, 1e6) as u64;
    let affordable = 100.0 * target / (mean * iters as f64);
    let samples = (affordable as usize).clamp(FEWEST_SAMPLES, SAMPLES);
    Ok((iters, samples))
}

/// Measures one case. Collective; the record is the same on every rank.
///
/// # Errors
/// When a collective fails, or the kernel tells no time.
pub fn measure<C: SharedMemoryProvider>(
    comm: &C,
    case: Case,
    mode: Mode,
    target: Duration,
) -> Result<Record, RunError> {
    match case {
        Case::Message(message) if message.window => {
            let mut subject = Windowed::new(comm, message)?;
            time(comm, case, &mut subject, mode, target)
        }
        _ => time(comm, case, &mut Steps::new(comm, case.plan()), mode, target),
    }
}

fn time<C: Communicator>(
    comm: &C,
    case: Case,
    subject: &mut impl Subject,
    mode: Mode,
    target: Duration,
) -> Result<Record, RunError> {
    let mut verified = subject.verify(1)?;
    let dirty = mode == Mode::Dirty;
    let action = Action {
        rewrite: dirty,
        call: true,
    };
    let only_rewrite = Action {
        rewrite: true,
        call: false,
    };
    let target = target.as_secs_f64() * 1e6;
    let (iters, samples) = calibrate(comm, subject, target, action)?;
    let mut calls = vec![0.0; samples];
    let mut rewrites = vec![0.0; samples];
    let mut cpu = 0.0;
    for sample in 0..samples {
        if dirty {
            rewrites[sample] = batch(comm, subject, iters, only_rewrite)? / iters as f64;
        }
        let before = cpu_time()?;
        calls[sample] = batch(comm, subject, iters, action)? / iters as f64;
        cpu += cpu_time()? - before;
    }
    if dirty {
        verified &= subject.holds_last();
    }
    verified &= subject.verify(2)?;
    let verified = all_agree(comm, verified)?;

    let calls = over_ranks(comm, &calls, ReduceOp::Max)?;
    let rewrites = over_ranks(comm, &rewrites, ReduceOp::Max)?;
    let cpu = over_ranks(comm, &[cpu], ReduceOp::Sum)?;
    let median = |samples: &[f64]| Summary::of(samples).map_or(0.0, |summary| summary.median);
    let rewrite = median(&rewrites);
    let summary = Summary::of(&calls).map_or(
        Summary {
            min: 0.0,
            median: 0.0,
            p99: 0.0,
        },
        |summary| summary.less(rewrite),
    );
    Ok(Record {
        op: case.op(),
        ranks: comm.size(),
        bytes: case.bytes(),
        mode,
        iters,
        samples,
        min_us: summary.min,
        median_us: summary.median,
        p99_us: summary.p99,
        rewrite_us: rewrite,
        cpu_us: cpu[0] / (samples as u64 * iters) as f64,
        verified,
    })
}

fn all_agree<C: Communicator>(comm: &C, right: bool) -> Result<bool, CommError> {
    let mut all = [0];
    comm.allreduce(&[u64::from(right)], &mut all, ReduceOp::Min)?;
    Ok(all[0] == 1)
}

/// Microseconds of processor time this process has used.
fn cpu_time() -> Result<f64, nix::Error> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64)
}

#[cfg(test)]
mod tests {
    use cobre_comm_trait::LocalComm;

    use super::*;
    use crate::forgetful::Forgetful;

    fn verified<C: SharedMemoryProvider>(comm: &C, case: &str, mode: Mode) -> bool {
        let case = case.parse().unwrap();
        let record = measure(comm, case, mode, Duration::from_micros(20)).unwrap();
        record.verified
    }

    #[test]
    fn what_works_is_verified() {
        for case in [
            "barrier",
            "allreduce:8192",
            "allgatherv:4096",
            "allgatherv:0",
            "broadcast:100",
            "allreduce-read:64",
            "win-allreduce:8192",
            "win-allgatherv-read:4096",
            "win-broadcast:100",
            "sddp:3",
            "sddp-work:2",
        ] {
            for mode in [Mode::Reused, Mode::Dirty] {
                assert!(verified(&LocalComm::new(), case, mode), "{case}");
            }
        }
    }

    #[test]
    fn what_does_not_work_is_not() {
        for case in ["allreduce:8192", "allgatherv:4096", "sddp:9"] {
            for mode in [Mode::Reused, Mode::Dirty] {
                assert!(!verified(&Forgetful::new(1), case, mode), "{case}");
            }
        }
    }
}
