//! Taking a rank's place, and waiting until all have.

use core::time::Duration;
use std::io;

use cobre_comm_trait::FailureCause;

use super::{found::Named, system};
use crate::{
    call::explain,
    job::{config::Config, error::InitError},
    memory::control::Control,
    point,
    sync::{
        cell::{ABORTED, ABSENT, EXITED, LEFT, Members, PANICKED},
        failure::{self, Failure, Kind},
        primitive::{AtomicU32, Ordering},
    },
    sys::{lock, park, shm, waited::Waited},
};

/// How often a rank that waits looks whether the others are still alive.
const NAP: Duration = Duration::from_millis(20);

/// One rank's joining of a job whose segment it has mapped.
pub(super) struct Enrolment<'a> {
    pub(super) control: &'a Control,
    pub(super) config: &'a Config,
    pub(super) waited: Waited,
}

impl Enrolment<'_> {
    /// Takes the place of `config.rank` and returns when the job is ready.
    ///
    /// `named` is the name to remove, if this rank founded the job.
    pub(super) fn run(&self, named: Option<Named>) -> Result<(), InitError> {
        self.take_place()?;
        if self.config.rank == 0 {
            self.declare_ready(named)
        } else {
            self.wait_until_ready()
        }
    }

    /// Rank 0 waits for all ranks and tells them that the job has formed.
    fn declare_ready(&self, named: Option<Named>) -> Result<(), InitError> {
        self.wait_for_everyone()?;
        if named.is_some() {
            self.control.count_cores();
        }
        // All have it open, so nobody needs the name any more, whatever comes of the job. First
        // the name, then the word: who is told that the job has formed finds nothing in /dev/shm.
        // A launcher's job has its name removed here too; the launcher tries again in case nobody
        // got this far.
        match named {
            Some(named) => drop(named),
            None => drop(shm::unlink(&self.config.name)),
        }
        point::reached("unlinked");
        if !failure::declare_formed(self.control) {
            return self.check_failure();
        }
        point::reached("formed");
        // Only to wake them: the word of the failure says that the job has formed.
        let ready = self.ready();
        ready.store(1, Ordering::Relaxed);
        park::wake_all(ready);
        Ok(())
    }

    fn take_place(&self) -> Result<(), InitError> {
        let Some(locks) = self.control.locks() else {
            return Ok(());
        };
        let rank = self.config.rank;
        let free = locks
            .try_lock(rank)
            .map_err(|source| system(&self.config.name, "lock a rank", source))?;
        // The lock decides who has the rank; but one whose process is gone is not free again.
        if !free || self.state(rank) != ABSENT {
            self.fail(rank, Kind::TakenTwice);
            return Err(self.taken(rank));
        }
        point::reached("locked");
        let geometry = self.control.geometry();
        let mut own = [geometry.staging_of(rank), geometry.record_of(rank)].into_iter();
        let reserved = own.try_for_each(|(at, len)| locks.reserve(at as u64, len as u64));
        if let Err(error) = reserved {
            self.fail(rank, Kind::NoRoom(error.raw_os_error().unwrap_or(0)));
            return Err(self.no_room(error));
        }
        self.control.occupy(rank);
        point::reached("occupied");
        let joined = &self.control.header().joined.count;
        // Release matches the Acquire in `wait_for_everyone`.
        joined.fetch_add(1, Ordering::Release);
        park::wake_all(joined);
        point::reached("registered");
        Ok(())
    }

    /// Rank 0 waits until all have joined.
    fn wait_for_everyone(&self) -> Result<(), InitError> {
        let joined = &self.control.header().joined.count;
        loop {
            // Acquire matches the Release of those who joined.
            let count = joined.load(Ordering::Acquire);
            if count as usize >= self.config.size {
                return Ok(());
            }
            // Only this rank says that the job has formed, and it has not yet.
            if !failure::is_forming(self.control) {
                self.check_failure()?;
                return Err(self.overwritten());
            }
            self.nap_on(joined, count)?;
            (1..self.config.size).for_each(|rank| self.fail_if_gone(rank));
        }
    }

    fn wait_until_ready(&self) -> Result<(), InitError> {
        while failure::is_forming(self.control) {
            self.nap_on(self.ready(), 0)?;
            self.fail_if_gone(0);
            if !self.control.is_alive(lock::FOUNDER) {
                self.fail(0, Kind::RankFailed(FailureCause::Died));
            }
        }
        self.check_failure()
    }

    /// Sleeps on `word` for a moment, unless the job has failed or the time is up.
    fn nap_on(&self, word: &AtomicU32, value: u32) -> Result<(), InitError> {
        self.check_failure()?;
        if self.waited.time(NAP) >= self.config.attach_timeout {
            let lowest = self.absent().next().unwrap_or(0);
            self.fail(lowest, Kind::NeverCame);
            return self.check_failure();
        }
        park::wait(word, value, NAP);
        Ok(())
    }

    /// A rank that came is gone if its lock is free, or if it has been said how it ended. (If the job
    /// forms meanwhile and the rank leaves, this does nothing.)
    fn fail_if_gone(&self, rank: usize) {
        let presence = &self.control.cell(rank).presence;
        let cause = match self.state(rank) {
            ABSENT => return,
            EXITED => {
                let code = presence.exit_code.load(Ordering::Relaxed);
                FailureCause::Exited(Some(code as i32))
            }
            LEFT | ABORTED => FailureCause::Exited(None),
            PANICKED => FailureCause::Panicked,
            _ if self.control.is_alive(rank) => return,
            _ => FailureCause::Died,
        };
        self.fail(rank, Kind::RankFailed(cause));
    }

    fn ready(&self) -> &AtomicU32 {
        &self.control.header().ready.flag
    }

    fn state(&self, rank: usize) -> u32 {
        // Acquire matches the Release in `take_place`.
        let presence = &self.control.cell(rank).presence;
        presence.state.load(Ordering::Acquire)
    }

    fn absent(&self) -> impl Iterator<Item = usize> {
        (0..self.control.size()).filter(|&rank| self.state(rank) == ABSENT)
    }

    /// Fails the job, unless it has formed already.
    fn fail(&self, rank: usize, kind: Kind) {
        failure::raise_while_forming(self.control, Failure::new(rank, None, kind));
    }

    /// The job's failure while forming, as the error of this rank.
    fn check_failure(&self) -> Result<(), InitError> {
        let Some(failure) = failure::to_form(self.control) else {
            return Ok(());
        };
        let presence = &self.control.cell(self.config.rank).presence;
        // Release matches the Acquire in `Observer::saw_failure`.
        presence.saw_failure.store(1, Ordering::Release);
        let name = self.config.name.clone();
        Err(match failure.kind {
            Kind::SizeDiffers(theirs) => InitError::SizeDiffers {
                name,
                rank: failure.rank,
                theirs: theirs as usize,
                ours: self.control.size(),
            },
            Kind::TakenTwice => self.taken(failure.rank),
            Kind::NeverCame => {
                let mut missing: Vec<usize> = self.absent().collect();
                if missing.is_empty() {
                    // It came just after the time was up.
                    missing.push(failure.rank);
                }
                InitError::NeverCame {
                    name,
                    size: self.control.size(),
                    missing,
                    waited: self.waited.time(NAP),
                }
            }
            Kind::NoRoom(errno) => InitError::no_room_of_peer(
                &self.config.name,
                self.control.geometry(),
                failure.rank,
                io::Error::from_raw_os_error(errno),
            ),
            _ => InitError::PeerFailed {
                name,
                joined: !self.absent().any(|rank| rank == failure.rank),
                cause: explain::explain(self.control, failure),
            },
        })
    }

    /// The error of a job whose failure word is nothing that a rank or a launcher writes while it forms.
    /// The others are told, who may believe that the job has formed.
    fn overwritten(&self) -> InitError {
        let rank = self.config.rank;
        let unknown = Failure::new(rank, None, Kind::Unknown);
        failure::raise(self.control, unknown);
        InitError::PeerFailed {
            name: self.config.name.clone(),
            joined: true,
            cause: explain::explain(self.control, unknown),
        }
    }

    fn taken(&self, rank: usize) -> InitError {
        let pid = self.control.cell(rank).presence.pid.load(Ordering::Relaxed);
        InitError::RankTaken {
            name: self.config.name.clone(),
            rank,
            pid: (pid != 0).then_some(pid),
        }
    }

    fn no_room(&self, source: io::Error) -> InitError {
        InitError::no_room(&self.config.name, self.control.geometry(), source)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Config, ShmComm, job::names, sys::process};
    use nix::{
        sched::{CpuSet, sched_setaffinity},
        unistd::Pid,
    };
    use std::thread;

    /// `mpirun` binds each rank before it starts: none knows alone how many cores there are.
    #[test]
    fn ranks_that_are_bound_apart_have_the_cores_of_both() {
        let allowed = process::processors(std::process::id()).unwrap();
        let Some(allowed) = allowed.first_chunk::<2>() else {
            return;
        };
        let name = names::random_job_name();
        let counts = |bound: [usize; 2]| {
            let name = name.as_str();
            let rank = |rank: usize| {
                move || {
                    let mut set = CpuSet::new();
                    set.set(bound[rank]).unwrap();
                    // Of this thread only.
                    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
                    let comm = ShmComm::form(&Config::new(name, rank, 2)).unwrap();
                    comm.topology().cores
                }
            };
            thread::scope(|scope| {
                let ranks = [0, 1].map(|number| scope.spawn(rank(number)));
                ranks.map(|rank| rank.join().unwrap())
            })
        };
        assert_eq!(counts(*allowed), [2, 2]);
        assert_eq!(counts([allowed[0]; 2]), [1, 1]);
    }
}
