//! A rank that does what its arguments say, one after the other, and prints what came of it.
//!
//! | argument | what it does | what it prints |
//! |---|---|---|
//! | `join` | `cobre_shm::init` | `joined RANK SIZE PID`, or `refused MESSAGE` and exit 1 |
//! | `barrier`, `broadcast:ROOT:LEN`, `reduce:LEN`, `gather:LEN` | a collective of f64 (`ints:LEN`: the reduction of u64, at the same place) | `ok WHAT` or `error SENTENCE` |
//! | `region:LEN`, `publish`, `reopen`, `populate`, `split` | a region, or another communicator | the same |
//! | `pool:CAPACITY`, `append:LEN` | a pool of f64, to which this rank appends | the same |
//! | `inner:DEPTH`, `inner-barrier` | splits so often, each from the one before; a barrier of the last | the same |
//! | `until-error:WHAT` | one of these, until it fails | `error SENTENCE` |
//! | `say:TEXT`, `hear` | prints a line, reads a line | `TEXT`, nothing |
//! | `progress:DONE:TOTAL` | says so on the status board | nothing |
//! | `text:TEXT` | says so there | nothing |
//! | `timeout:SECONDS` | limits how long later calls wait | nothing |
//! | `outer` | drops the communicators that it has split | nothing |
//! | `inner-only` | drops the communicator but not those | nothing |
//! | `forked:STEP` | forks a child that does the step and exits, and waits for it | what it prints |
//! | `orphan` | forks a child that does nothing until standard input ends | nothing |
//! | `child:STEP` | starts this program with that step, and waits for it | what it prints |
//! | `others-sleep:NUMBER` | waits until all others sleep in their collective of this number | nothing |
//! | `leave` | drops the communicator | `left` |
//! | `busy` | computes for ever | nothing |
//! | `stop-on-error`, `abort-on-error:CODE` | from now on an error ends it with 3, or the job | nothing |
//! | `name` | the job's name | `name NAME` |
//! | `exit:CODE`, `abort:CODE`, `panic`, `kill:SIGNAL` | ends | nothing |
//!
//! It ends by itself with 0 after the last one.

use std::io::{Write, stdin, stdout};

use cobre_comm_trait::{
    CommError, Communicator, PoolProvider, ReduceOp, Reducible, RegionReader, SharedMemoryProvider,
    SharedPool, SharedRegion,
};
use cobre_shm::board::Member;
use cobre_shm::{Activity, ShmComm, ShmPool, ShmReader, ShmRegion};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdout, fork};

type Failure = Box<dyn std::error::Error>;

#[derive(Default)]
struct Rank {
    comm: Option<ShmComm>,
    writing: Option<ShmRegion<f64>>,
    reading: Option<ShmReader<f64>>,
    pool: Option<ShmPool<f64>>,
    /// Communicators split from `comm`, each from the one before.
    inner: Vec<ShmComm>,
    stop_on_error: bool,
    abort_on_error: Option<i32>,
}

fn main() -> Result<(), Failure> {
    let mut rank = Rank::default();
    for step in std::env::args().skip(1) {
        rank.step(&step)?;
    }
    Ok(())
}

/// One place of the program that calls with several types.
fn sum<T: Reducible>(comm: &ShmComm, len: usize, one: T) -> Result<(), CommError> {
    comm.allreduce(&vec![one; len], &mut vec![T::zeroed(); len], ReduceOp::Sum)
}

fn print(line: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

fn orphan() -> Result<(), Failure> {
    #![allow(unsafe_code)]
    // SAFETY: as in `Rank::forked`.
    if let ForkResult::Child = unsafe { fork() }? {
        // Its reader shall see the end of the rank's output.
        let null = std::fs::File::options().write(true).open("/dev/null")?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        std::io::copy(&mut stdin(), &mut std::io::sink())?;
        std::process::exit(0);
    }
    Ok(())
}

impl Rank {
    fn step(&mut self, step: &str) -> Result<(), Failure> {
        let (what, rest) = step.split_once(':').unwrap_or((step, ""));
        match what {
            "join" => return self.join(),
            "say" => return print(rest),
            "hear" => {
                let mut line = String::new();
                if stdin().read_line(&mut line)? == 0 {
                    return Err("nobody speaks".into());
                }
            }
            "leave" => {
                *self = Self::default();
                return print("left");
            }
            "child" => {
                // Inherits the variables, as any program does that a rank starts.
                let mut child = std::process::Command::new(std::env::current_exe()?);
                child.arg(rest).status()?;
            }
            "outer" => self.inner.clear(),
            "inner-only" => self.comm = None,
            "forked" => return self.forked(rest),
            "orphan" => return orphan(),
            "busy" => loop {
                core::hint::spin_loop();
            },
            "progress" => {
                let (done, total) = rest.split_once(':').ok_or("progress:DONE:TOTAL")?;
                let status = self.comm()?.status();
                status.progress(done.parse()?, total.parse()?);
            }
            "text" => self.comm()?.status().text(rest),
            "timeout" => {
                let limit = std::time::Duration::try_from_secs_f64(rest.parse()?)?;
                self.comm()?.set_timeout(Some(limit));
            }
            "others-sleep" => return self.until_others_sleep(rest.parse()?),
            "stop-on-error" => self.stop_on_error = true,
            "abort-on-error" => self.abort_on_error = Some(rest.parse()?),
            "name" => return print(&format!("name {}", std::env::var("COBRE_SHM_NAME")?)),
            "exit" => std::process::exit(rest.parse()?),
            "abort" => self.comm()?.abort(rest.parse()?),
            "panic" => panic!("on purpose"),
            "kill" => nix::sys::signal::raise(rest.parse()?)?,
            "until-error" => loop {
                if let Err(error) = self.collective(rest)? {
                    return self.tell(rest, Err(error));
                }
            },
            _ => {
                let outcome = self.collective(step)?;
                return self.tell(step, outcome);
            }
        }
        Ok(())
    }

    /// The child inherits the communicators, and runs destructors and exit hooks like any other.
    fn forked(&mut self, step: &str) -> Result<(), Failure> {
        #![allow(unsafe_code)]
        // SAFETY: the thread that refreshes the status record takes no lock that the child needs; the
        // C library sees to its own.
        match unsafe { fork() }? {
            ForkResult::Child => {
                let done = self.step(step);
                *self = Self::default();
                std::process::exit(i32::from(done.is_err()));
            }
            ForkResult::Parent { child } => {
                let ended = waitpid(child, None)?;
                print(&format!("the child's end: {ended:?}"))
            }
        }
    }

    /// Returns when every other rank sleeps in its collective `number`.
    fn until_others_sleep(&self, number: u64) -> Result<(), Failure> {
        let comm = self.comm()?;
        let sleeps = |member: Member| match member.activity {
            Some(Activity::Waiting { call, .. }) => call.is_some_and(|call| call.number == number),
            _ => member.index == comm.rank(),
        };
        while !comm.board().into_iter().all(sleeps) {
            std::thread::yield_now();
        }
        Ok(())
    }

    fn tell(&self, step: &str, outcome: Result<(), CommError>) -> Result<(), Failure> {
        match outcome {
            Ok(()) => print(&format!("ok {step}")),
            Err(error) => {
                print(&format!("error {error}"))?;
                if self.stop_on_error {
                    std::process::exit(3);
                }
                if let Some(code) = self.abort_on_error {
                    self.comm()?.abort(code);
                }
                Ok(())
            }
        }
    }

    fn comm(&self) -> Result<&ShmComm, Failure> {
        self.comm.as_ref().ok_or_else(|| "has not joined".into())
    }

    fn join(&mut self) -> Result<(), Failure> {
        match cobre_shm::init() {
            Ok(comm) => {
                let pid = std::process::id();
                print(&format!("joined {} {} {pid}", comm.rank(), comm.size()))?;
                self.comm = Some(comm);
                Ok(())
            }
            Err(error) => {
                print(&format!("refused {error}"))?;
                std::process::exit(1)
            }
        }
    }

    /// The outer error is a mistake in the script.
    fn collective(&mut self, step: &str) -> Result<Result<(), CommError>, Failure> {
        let mut words = step.split(':');
        let what = words.next().unwrap_or_default();
        let mut number = || -> Result<usize, Failure> {
            Ok(words.next().ok_or("a number is missing")?.parse()?)
        };
        let comm = self.comm.as_ref().ok_or("has not joined")?;
        Ok(match what {
            "barrier" => comm.barrier(),
            "broadcast" => {
                let (root, len) = (number()?, number()?);
                let mut buf = vec![if comm.rank() == root { 1.5 } else { 0.0 }; len];
                let outcome = comm.broadcast(&mut buf, root);
                if outcome.is_ok() {
                    assert!(buf.iter().all(|&x| x == 1.5), "broadcast of {buf:?}");
                }
                outcome
            }
            "reduce" => sum(comm, number()?, 1.0),
            "ints" => sum(comm, number()?, 1_u64),
            "gather" => {
                let (len, size) = (number()?, comm.size());
                let displs: Vec<usize> = (0..size).map(|rank| rank * len).collect();
                let mut recv = vec![0.0; size * len];
                comm.allgatherv(&vec![1.0; len], &mut recv, &vec![len; size], &displs)
            }
            "split" => comm.split_local().map(drop),
            "inner" => {
                let depth = number()?;
                let split = |_| {
                    let split = self.inner.last().unwrap_or(comm).split_local()?;
                    self.inner.push(split);
                    Ok(())
                };
                (0..depth).try_for_each(split)
            }
            "inner-barrier" => self.inner.last().ok_or("has not split")?.barrier(),
            "region" => comm
                .create_shared_region(number()?)
                .map(|region| self.writing = Some(region)),
            "pool" => comm
                .create_pool(number()?)
                .map(|pool| self.pool = Some(pool)),
            "append" => {
                let pool = self.pool.as_mut().ok_or("no pool to append to")?;
                pool.append(number()?, |own| own.fill(1.0)).map(drop)
            }
            "publish" => {
                let region = self.writing.take().ok_or("no region to publish")?;
                region.fence().map(|reader| self.reading = Some(reader))
            }
            "populate" => {
                let region = self.writing.take().ok_or("no region to populate")?;
                let populated = region.populate_by_leader(|all| all.fill(2.0));
                populated.map(|reader| self.reading = Some(reader))
            }
            "reopen" => {
                let reader = self.reading.take().ok_or("no region to reopen")?;
                reader.fence().map(|region| self.writing = Some(region))
            }
            _ => return Err(format!("no such step: {step}").into()),
        })
    }
}
