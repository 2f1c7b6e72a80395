//! The loops: what is timed, and how.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cobre_comm_trait::{CommError, Communicator, ReduceOp, SharedMemoryProvider};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

use crate::cases::Case;
use crate::json::{Mode, Record};
use crate::lane::{Action, Lane, Prepared};
use crate::plan::{Call, Element, Plan, Work};
use crate::stats::Summary;
use crate::values::{Content, value};
use crate::windows::Windowed;

/// Samples of a case, unless one takes very long.
pub const SAMPLES: usize = 25;
/// Samples of a case whose single call takes longer than any batch should.
const FEWEST_SAMPLES: usize = 5;
/// Steps of [`compute`] that a rank does between two calls, on average.
const MEAN_WORK: u64 = 50_000;
/// How late one rank comes to a barrier that is verified.
const LATE: Duration = Duration::from_millis(1);

/// Why a case could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A collective failed.
    #[error(transparent)]
    Collective(#[from] CommError),
    /// The kernel did not tell the time.
    #[error("cannot read a clock or the resource usage: {0}")]
    Clock(#[from] nix::Error),
}

/// What is repeated, on one rank.
pub(crate) trait Subject {
    /// One turn, rewriting and calling as the action says.
    fn turn(&mut self, action: Action) -> Result<(), CommError>;
    /// As many turns as there are ranks, in which every result is checked; whether they are right here.
    fn verify(&mut self, seed: u64) -> Result<bool, RunError>;
    /// Whether the last turn of a dirty loop left the right result behind.
    fn holds_last(&self) -> bool;
}

/// A case on one rank: its steps and their buffers.
#[derive(Debug)]
struct Runner<'c, C> {
    comm: &'c C,
    steps: Vec<(Work, Prepared)>,
    f64s: Lane<f64>,
    u64s: Lane<u64>,
    i32s: Lane<i32>,
    u8s: Lane<u8>,
    read: bool,
    turn: u64,
}

/// Does the same with the lane of an element type, whichever it is.
macro_rules! with_lane {
    ($runner:expr, $element:expr, $lane:ident => $do:expr) => {
        match $element {
            Element::F64 => {
                let $lane = &mut $runner.f64s;
                $do
            }
            Element::U64 => {
                let $lane = &mut $runner.u64s;
                $do
            }
            Element::I32 => {
                let $lane = &mut $runner.i32s;
                $do
            }
            Element::U8 => {
                let $lane = &mut $runner.u8s;
                $do
            }
        }
    };
}

impl Call {
    fn element(self) -> Element {
        match self {
            Self::Barrier => Element::U8,
            Self::Allreduce(element, ..)
            | Self::Allgatherv(element, _)
            | Self::Broadcast(element, ..) => element,
        }
    }
}

impl<'c, C: Communicator> Runner<'c, C> {
    fn new(comm: &'c C, plan: Plan) -> Self {
        let mut runner = Self {
            comm,
            steps: Vec::new(),
            f64s: Lane::default(),
            u64s: Lane::default(),
            i32s: Lane::default(),
            u8s: Lane::default(),
            read: plan.read,
            turn: 0,
        };
        for step in plan.steps {
            let prepared = Prepared::new(step.call, comm.size());
            with_lane!(runner, step.call.element(), lane => lane.make_room(prepared.room()));
            runner.steps.push((step.work, prepared));
        }
        runner
    }
}

impl<C: Communicator> Subject for Runner<'_, C> {
    #[inline]
    fn turn(&mut self, action: Action) -> Result<(), CommError> {
        let turn = self.turn;
        self.turn += 1;
        for (place, (work, step)) in self.steps.iter().enumerate() {
            if action.call && *work != Work::None {
                compute(amount(*work, self.comm.rank(), place, turn));
            }
            with_lane!(self, step.call.element(), lane => {
                lane.go(self.comm, step, action, turn)?;
                if self.read && action.call {
                    lane.read(step, turn);
                }
            });
        }
        Ok(())
    }

    fn verify(&mut self, seed: u64) -> Result<bool, RunError> {
        let mut right = true;
        let turns = self.comm.size() as u64;
        // As many turns as there are ranks: everybody is the root once.
        for _ in 0..turns {
            let turn = self.turn;
            self.turn += 1;
            for (place, (_, step)) in self.steps.iter().enumerate() {
                if step.call == Call::Barrier {
                    right &= barrier_holds(self.comm, (turn % turns) as usize)?;
                    continue;
                }
                let seed = (seed << 40) + (turn << 16) + place as u64;
                right &= with_lane!(self, step.call.element(), lane => {
                    lane.verify(self.comm, step, turn, seed)
                })?;
            }
        }
        Ok(right)
    }

    fn holds_last(&self) -> bool {
        // Steps share their buffers: only a single one leaves its result untouched.
        let [(_, step)] = self.steps.as_slice() else {
            return true;
        };
        let turn = self.turn - 1;
        let (content, size) = (Content::Constant { turn }, self.comm.size());
        match step.call.element() {
            Element::F64 => self.f64s.holds(step, size, content, turn),
            Element::U64 => self.u64s.holds(step, size, content, turn),
            Element::I32 => self.i32s.holds(step, size, content, turn),
            Element::U8 => self.u8s.holds(step, size, content, turn),
        }
    }
}

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
        _ => time(
            comm,
            case,
            &mut Runner::new(comm, case.plan()),
            mode,
            target,
        ),
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

fn over_ranks<C: Communicator>(
    comm: &C,
    mine: &[f64],
    op: ReduceOp,
) -> Result<Vec<f64>, CommError> {
    let mut all = vec![0.0; mine.len()];
    comm.allreduce(mine, &mut all, op)?;
    Ok(all)
}

fn all_agree<C: Communicator>(comm: &C, right: bool) -> Result<bool, CommError> {
    let mut all = [0];
    comm.allreduce(&[u64::from(right)], &mut all, ReduceOp::Min)?;
    Ok(all[0] == 1)
}

/// Whether nobody leaves a barrier before the last one, who is late, has come.
fn barrier_holds<C: Communicator>(comm: &C, late: usize) -> Result<bool, RunError> {
    if comm.rank() == late {
        std::thread::sleep(LATE);
    }
    let came = monotonic()?;
    comm.barrier()?;
    let left = monotonic()?;
    let last = over_ranks(comm, &[came], ReduceOp::Max)?;
    let first = over_ranks(comm, &[left], ReduceOp::Min)?;
    Ok(first >= last)
}

/// Microseconds on a clock that all processes share.
fn monotonic() -> Result<f64, nix::Error> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.num_nanoseconds() as f64 / 1e3)
}

/// Microseconds of processor time this process has used.
fn cpu_time() -> Result<f64, nix::Error> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64)
}

fn amount(work: Work, rank: usize, place: usize, turn: u64) -> u64 {
    match work {
        Work::None => 0,
        Work::Each => (value(rank, place, turn) * (2 * MEAN_WORK)) >> 20,
        Work::Root if rank == 0 => 2 * MEAN_WORK,
        Work::Root => 0,
    }
}

/// A chain of dependent multiplications: a fixed amount of work, however the ranks share cores.
fn compute(steps: u64) {
    let mut x = black_box(steps);
    for _ in 0..steps {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        x ^= x >> 29;
    }
    black_box(x);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use cobre_comm_trait::{
        CommData, LocalComm, LocalExchange, LocalReduction, LocalRegion, Reducible,
    };

    use super::*;

    /// A job of one that forgets a collective now and then.
    struct Forgetful {
        inner: LocalComm,
        calls: AtomicU64,
        every: u64,
    }

    impl Forgetful {
        fn new(every: u64) -> Self {
            Self {
                inner: LocalComm::new(),
                calls: AtomicU64::new(0),
                every,
            }
        }

        fn forgets<T>(&self, send: &[T]) -> bool {
            // What agrees and sums up the samples must arrive.
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            send.len() > 100 && call.is_multiple_of(self.every)
        }
    }

    impl Communicator for Forgetful {
        fn allgatherv<T: CommData>(
            &self,
            send: &[T],
            recv: &mut [T],
            counts: &[usize],
            displs: &[usize],
        ) -> Result<(), CommError> {
            if self.forgets(send) {
                return Ok(());
            }
            self.inner.allgatherv(send, recv, counts, displs)
        }

        fn allreduce<T: Reducible>(
            &self,
            send: &[T],
            recv: &mut [T],
            op: ReduceOp,
        ) -> Result<(), CommError> {
            if self.forgets(send) {
                return Ok(());
            }
            self.inner.allreduce(send, recv, op)
        }

        fn broadcast<T: CommData>(&self, buf: &mut [T], root: usize) -> Result<(), CommError> {
            self.inner.broadcast(buf, root)
        }

        fn barrier(&self) -> Result<(), CommError> {
            self.inner.barrier()
        }

        fn rank(&self) -> usize {
            self.inner.rank()
        }

        fn size(&self) -> usize {
            self.inner.size()
        }

        fn abort(&self, code: i32) -> ! {
            self.inner.abort(code)
        }
    }

    impl SharedMemoryProvider for Forgetful {
        type Region<T: CommData> = LocalRegion<T>;
        type Exchange<T: CommData> = LocalExchange<T>;
        type Reduction<T: Reducible> = LocalReduction<T>;
        type Local = LocalComm;

        fn create_shared_region<T: CommData>(
            &self,
            len: usize,
        ) -> Result<LocalRegion<T>, CommError> {
            self.inner.create_shared_region(len)
        }

        fn create_exchange<T: CommData>(
            &self,
            counts: &[usize],
        ) -> Result<LocalExchange<T>, CommError> {
            self.inner.create_exchange(counts)
        }

        fn create_reduction<T: Reducible>(
            &self,
            len: usize,
        ) -> Result<LocalReduction<T>, CommError> {
            self.inner.create_reduction(len)
        }

        fn split_local(&self) -> Result<LocalComm, CommError> {
            self.inner.split_local()
        }

        fn is_leader(&self) -> bool {
            true
        }
    }

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

    #[test]
    fn work_is_uneven_and_has_its_mean() {
        let amounts: Vec<u64> = (0..4000).map(|k| amount(Work::Each, 1, 2, k)).collect();
        let mean = amounts.iter().sum::<u64>() / 4000;
        assert!((MEAN_WORK * 9 / 10..MEAN_WORK * 11 / 10).contains(&mean));
        assert!(amounts.iter().all(|&amount| amount < 2 * MEAN_WORK));
        assert_eq!(amount(Work::Root, 1, 2, 3), 0);
    }
}
