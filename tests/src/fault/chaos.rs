//! Kills at any moment: of a rank, of two at once, of the launcher.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cobre_comm_trait::conformance::Random;
use nix::sys::signal::Signal;

use super::control::{Programs, Ranks, send};
use super::kind::Fault;
use super::told::{Named, Told, now};
use crate::{End, patience};

/// A variable that tells the processes of one run from all others.
const MARK: &str = "COBRE_FAULT_MARK";

/// Who is killed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Ranks(Vec<usize>),
    Launcher,
}

/// One run, as its seed decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chaos {
    seed: u64,
    ranks: usize,
    launched: bool,
    target: Target,
    /// After the ranks have started, or after the launcher has.
    after: Duration,
    /// Ranks have children in sessions of their own.
    brood: bool,
}

/// What came of many runs.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many ranks were killed (one or two at once) in jobs without a launcher, and with one; how
    /// many launchers.
    pub killed: [usize; 3],
    /// Runs in which the job had not formed.
    pub unformed: usize,
    /// How long survivors took to know, without a launcher and with one.
    pub known: [Vec<Duration>; 2],
    /// How long after its launcher the last process of a job was gone.
    pub gone: Vec<Duration>,
    /// The seeds of the runs that went wrong, and how.
    pub failures: Vec<(u64, String)>,
}

enum Ended {
    Known(Duration),
    Unformed,
    Gone(Duration),
}

impl Chaos {
    /// The run of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let ranks = [2, 3, 4, 4, 6, 8][random.below(6)];
        let launched = random.below(2) == 0;
        let target = match random.below(8) {
            0..=2 if launched => Target::Launcher,
            3 => {
                let first = random.below(ranks);
                Target::Ranks(vec![first, (first + 1 + random.below(ranks - 1)) % ranks])
            }
            _ => Target::Ranks(vec![random.below(ranks)]),
        };
        let longest = [2_000, 20_000, 100_000][random.below(3)];
        Self {
            seed,
            ranks,
            launched,
            target,
            after: Duration::from_micros(random.below(longest) as u64),
            brood: launched && random.below(3) == 0,
        }
    }

    fn run(&self, programs: &Programs) -> Result<Ended, String> {
        static RUN: AtomicU64 = AtomicU64::new(0);
        let serial = RUN.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{serial}", std::process::id());
        let mut variables = vec![
            (MARK, mark.clone()),
            ("COBRE_SHM_ATTACH_TIMEOUT", "5".to_owned()),
        ];
        if self.brood {
            variables.push(("COBRE_FAULT_BROOD", "1".to_owned()));
        }
        let work = ["random".to_owned(), self.seed.to_string()];
        let job = (self.ranks, self.launched);
        let mut ranks = Ranks::start(programs, job, &work, &variables, &[]);
        let ended = match &self.target {
            Target::Launcher => self.kill_launcher(&mut ranks, &mark),
            Target::Ranks(victims) => self.kill_ranks(&mut ranks, victims, &mark),
        };
        for pid in marked(&mark) {
            send(pid, Signal::SIGKILL);
        }
        let names = ranks.take_names();
        let heard = ranks.heard();
        let ended = ended.and_then(|ended| match (&names[..], &ended) {
            // The name of a job that was forming stays until the next sweep.
            ([], _) | (_, Ended::Unformed | Ended::Gone(_)) => Ok(ended),
            _ => Err(format!("{names:?} is left in /dev/shm")),
        });
        ended.map_err(|why| format!("{why}\n{self:?}; they wrote\n{heard}"))
    }

    fn kill_launcher(&self, ranks: &mut Ranks, mark: &str) -> Result<Ended, String> {
        // The moment is the fault; nothing is synchronised by it.
        std::thread::sleep(self.after);
        let begin = Instant::now();
        send(ranks.launcher().unwrap_or_default(), Signal::SIGKILL);
        ranks.end();
        loop {
            let left = marked(mark);
            if left.is_empty() {
                return Ok(Ended::Gone(begin.elapsed()));
            }
            if begin.elapsed() > Duration::from_secs(5) {
                return Err(format!("{left:?} go on after their launcher was killed"));
            }
            std::thread::yield_now();
        }
    }

    fn kill_ranks(
        &self,
        ranks: &mut Ranks,
        victims: &[usize],
        mark: &str,
    ) -> Result<Ended, String> {
        let pids = ranks.pids();
        std::thread::sleep(self.after);
        let at = now();
        for &victim in victims {
            let pid = pids.get(victim).ok_or("a rank did not start")?;
            send(*pid, Signal::SIGKILL);
        }
        let ends = ranks.end();
        let left = marked(mark);
        if !left.is_empty() {
            return Err(format!("{left:?} are left"));
        }
        let heard = ranks.heard();
        let told: Vec<Told> = (0..self.ranks).map(|rank| Told::by(rank, &heard)).collect();
        let right = match self.launched {
            true => ends == [End::Code(Fault::Kill.exit_code())],
            false => ends.iter().enumerate().all(|(rank, &end)| {
                let victim = victims.contains(&rank);
                victim == (end == End::Signal(9)) && (victim || [3, 4].contains(&code(end)))
            }),
        };
        if !right {
            return Err(format!("ended by {ends:?}"));
        }
        self.judge(victims, &told, at)
    }

    fn judge(&self, victims: &[usize], told: &[Told], at: u64) -> Result<Ended, String> {
        let survivors: Vec<&Told> = (0..self.ranks)
            .filter(|rank| !victims.contains(rank))
            .map(|rank| &told[rank])
            .collect();
        if survivors.iter().any(|told| told.wrong || told.finished) {
            return Err("a survivor received what nobody sent".to_owned());
        }
        let formed = survivors.iter().any(|told| told.error.is_some());
        let mut first: Option<Named> = None;
        for survivor in &survivors {
            let Some((_, _, error)) = &survivor.error else {
                // Under a launcher, who has not joined yet may be ended before it can say anything.
                if formed || survivor.refused.is_none() && !self.launched {
                    return Err("a survivor was not told".to_owned());
                }
                continue;
            };
            let named = Named::in_error(error).ok_or_else(|| format!("told {error}"))?;
            let pid = told[named.rank].pid;
            let true_cause = Fault::Kill.explains(self.launched, &named.cause);
            if !victims.contains(&named.rank) || pid != Some(named.pid) || !true_cause {
                return Err(format!("{named:?} is not what happened"));
            }
            if first.as_ref().is_some_and(|first| *first != named) {
                return Err("the ranks were told different things".to_owned());
            }
            first = Some(named);
        }
        let knew = survivors.iter().filter_map(|told| told.knew()).max();
        let after = Duration::from_nanos(knew.unwrap_or(at).saturating_sub(at));
        // Of a job that nobody survives there is nothing more to know.
        let all_joined = survivors.is_empty() && told.iter().all(|told| told.joined);
        Ok(if formed || all_joined {
            Ended::Known(after)
        } else {
            Ended::Unformed
        })
    }
}

fn code(end: End) -> i32 {
    match end {
        End::Code(code) => code,
        End::Signal(signal) => 128 + signal,
    }
}

/// The processes that have the mark in their environment.
fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|&byte| byte == 0)
                .any(|word| word == wanted.as_bytes())
        })
        .collect()
}

impl Tally {
    /// Runs the seeds, `at_once` of them at a time.
    ///
    /// # Panics
    /// If a thread does.
    #[must_use]
    pub fn of(programs: &Programs, seeds: std::ops::Range<u64>, at_once: usize) -> Self {
        let tally = Mutex::new(Self::default());
        let queue = Mutex::new(seeds);
        let lock = || tally.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(seed) = next else { return };
                        let chaos = Chaos::new(seed);
                        let ran = catch_unwind(AssertUnwindSafe(|| chaos.run(programs)));
                        let hung =
                            || Err(format!("a hang: silent for {:?}; {chaos:?}", patience()));
                        lock().add(&chaos, ran.unwrap_or_else(|_| hung()));
                    }
                });
            }
        });
        tally.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&mut self, chaos: &Chaos, ended: Result<Ended, String>) {
        match &chaos.target {
            Target::Launcher => self.killed[2] += 1,
            Target::Ranks(ranks) => self.killed[usize::from(chaos.launched)] += ranks.len(),
        }
        match ended {
            Ok(Ended::Known(after)) => self.known[usize::from(chaos.launched)].push(after),
            Ok(Ended::Unformed) => self.unformed += 1,
            Ok(Ended::Gone(after)) => self.gone.push(after),
            Err(why) => self.failures.push((chaos.seed, why)),
        }
    }
}
