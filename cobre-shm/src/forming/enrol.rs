//! Taking a rank's place, and waiting until all have.

use core::time::Duration;
use std::{io, time::Instant};

use cobre_comm_trait::FailureCause;

use super::{found::Named, system};
use crate::{
    cell::{ABSENT, JOINED, Members},
    config::Config,
    control::Control,
    error::InitError,
    explain,
    failure::{self, Failure, Kind},
    primitive::{AtomicU32, Ordering},
    sys::{lock, park, process, shm},
};

/// How often a rank that waits looks whether the others are still alive.
const NAP: Duration = Duration::from_millis(20);

/// Takes the place of `config.rank` and returns when the job is ready.
///
/// `named` is the name to remove, if this rank founded the job.
pub(super) fn enrol(
    control: &Control,
    config: &Config,
    start: Instant,
    named: Option<Named>,
) -> Result<(), InitError> {
    take_place(control, config)?;
    if config.rank == 0 {
        wait_for_everyone(control, config, start)?;
        // First the name, then the word: who is told that the job is ready finds nothing in
        // /dev/shm any more.
        match named {
            Some(named) => drop(named),
            None => drop(shm::unlink(&config.name)),
        }
        let ready = &control.header().ready.flag;
        // Release matches the Acquire in `wait_until_ready`.
        ready.store(1, Ordering::Release);
        park::wake_all(ready);
        Ok(())
    } else {
        wait_until_ready(control, config, start)
    }
}

fn take_place(control: &Control, config: &Config) -> Result<(), InitError> {
    let rank = config.rank;
    let Some(file) = control.segment().file() else {
        return Ok(());
    };
    let free =
        lock::try_lock(file, rank).map_err(|source| system(&config.name, "lock a rank", source))?;
    let presence = &control.cell(rank).presence;
    // The lock decides who has the rank; a rank whose process is gone is not free again.
    if !free || presence.state.load(Ordering::Acquire) != ABSENT {
        if control.header().ready.flag.load(Ordering::Acquire) == 0 {
            failure::raise(control, Failure::new(rank, None, Kind::TakenTwice));
        }
        return Err(taken(control, config, rank));
    }
    let (offset, len) = control.geometry().staging_of(rank);
    if let Err(error) = shm::reserve(file, offset as u64, len as u64) {
        let errno = error.raw_os_error().unwrap_or(0);
        failure::raise(control, Failure::new(rank, None, Kind::NoRoom(errno)));
        return Err(no_room(control, config, error));
    }
    presence.pid.store(std::process::id(), Ordering::Relaxed);
    presence
        .pid_namespace
        .store(process::pid_namespace(), Ordering::Relaxed);
    // Release matches the Acquires of who asks for the state: the process number is there.
    presence.state.store(JOINED, Ordering::Release);
    let joined = &control.header().joined.count;
    joined.fetch_add(1, Ordering::AcqRel);
    park::wake_all(joined);
    Ok(())
}

/// Rank 0 waits until all have joined.
fn wait_for_everyone(control: &Control, config: &Config, start: Instant) -> Result<(), InitError> {
    let joined = &control.header().joined.count;
    loop {
        // Acquire matches the AcqRel of those who joined.
        let count = joined.load(Ordering::Acquire);
        if count as usize == config.size {
            return check_failure(control, config, start);
        }
        wait_a_little(control, config, start, joined, count)?;
        for rank in 1..config.size {
            fail_if_dead(control, rank);
        }
    }
}

fn wait_until_ready(control: &Control, config: &Config, start: Instant) -> Result<(), InitError> {
    let ready = &control.header().ready.flag;
    // Acquire matches the Release in `enrol`.
    while ready.load(Ordering::Acquire) == 0 {
        wait_a_little(control, config, start, ready, 0)?;
        fail_if_dead(control, 0);
        if !control.is_alive(lock::FOUNDER) && ready.load(Ordering::Acquire) == 0 {
            let died = Kind::RankFailed(FailureCause::Died);
            failure::raise(control, Failure::new(0, None, died));
        }
    }
    Ok(())
}

/// Sleeps on `word` for a moment, unless the job has failed or the time is up.
fn wait_a_little(
    control: &Control,
    config: &Config,
    start: Instant,
    word: &AtomicU32,
    value: u32,
) -> Result<(), InitError> {
    check_failure(control, config, start)?;
    if start.elapsed() >= config.attach_timeout {
        let missing = absent(control);
        let never = Kind::NeverCame;
        let lowest = missing.first().copied().unwrap_or(0);
        failure::raise(control, Failure::new(lowest, None, never));
        return check_failure(control, config, start);
    }
    park::wait(word, value, NAP);
    Ok(())
}

/// A rank that has joined and whose lock is free is gone: it cannot have left, since the job has not
/// formed yet.
fn fail_if_dead(control: &Control, rank: usize) {
    let state = &control.cell(rank).presence.state;
    let joined = state.load(Ordering::Acquire) == JOINED;
    let formed = || control.header().ready.flag.load(Ordering::Acquire) == 1;
    if joined && !control.is_alive(rank) && !formed() {
        let died = Kind::RankFailed(FailureCause::Died);
        failure::raise(control, Failure::new(rank, None, died));
    }
}

fn absent(control: &Control) -> Vec<usize> {
    let state = |rank: usize| control.cell(rank).presence.state.load(Ordering::Acquire);
    (0..control.size())
        .filter(|&rank| state(rank) == ABSENT)
        .collect()
}

fn taken(control: &Control, config: &Config, rank: usize) -> InitError {
    let pid = control.cell(rank).presence.pid.load(Ordering::Relaxed);
    InitError::RankTaken {
        name: config.name.clone(),
        rank,
        pid: (pid != 0).then_some(pid),
    }
}

fn no_room(control: &Control, config: &Config, source: io::Error) -> InitError {
    let geometry = control.geometry();
    InitError::NoRoom {
        name: config.name.clone(),
        wanted: geometry.total_bytes(),
        free: shm::free_bytes(),
        staging: geometry.total_bytes() - geometry.staging_offset(),
        source,
    }
}

/// The job's failure while forming, as the error of this rank.
fn check_failure(control: &Control, config: &Config, start: Instant) -> Result<(), InitError> {
    let Some(failure) = failure::first(control) else {
        return Ok(());
    };
    let name = config.name.clone();
    Err(match failure.kind {
        Kind::SizeDiffers(theirs) => InitError::SizeDiffers {
            name,
            rank: failure.rank,
            theirs: theirs as usize,
            ours: control.size(),
        },
        Kind::TakenTwice => taken(control, config, failure.rank),
        Kind::NeverCame => {
            let mut missing = absent(control);
            if missing.is_empty() {
                // It came just after the time was up.
                missing.push(failure.rank);
            }
            InitError::NeverCame {
                name,
                size: control.size(),
                missing,
                waited: start.elapsed(),
            }
        }
        Kind::NoRoom(errno) => no_room(control, config, io::Error::from_raw_os_error(errno)),
        _ => InitError::PeerFailed {
            name,
            cause: explain::explain(control, failure),
        },
    })
}
