//! Names in `/dev/shm` whose makers are known to be alive.
//!
//! The maker of an object locks its founder's byte at once and keeps the lock while the name is there.
//! So an object whose lock is free has been abandoned, with one exception: its maker may be just
//! between making and locking it. That is why a process that removes an abandoned name locks a byte of
//! its own first, and only then looks at the founder's. The maker locks the founder's byte first, and
//! then looks at the other. At least one of the two sees the other's lock: the remover leaves the name
//! alone, or the maker waits until the remover has finished, and starts again if the name is gone.
//!
//! Besides removers only the job itself removes its name, while its founder holds that lock. So the name
//! still stands for the object that was looked at when it is removed.

use core::time::Duration;
use std::{fs::File, io, thread};

use super::{
    lock::{self, FOUNDER, LockFile, REMOVER},
    ours::{self, Access, NotOurs},
    shm,
    waited::Waited,
};
use crate::point;

/// How often a maker starts again: a remover can only come in between once.
const ATTEMPTS: usize = 8;

/// How long a maker waits for a remover, which needs a few system calls unless it is stopped.
const PATIENCE: Duration = Duration::from_secs(10);
const NAP: Duration = Duration::from_micros(100);

/// Creates the object, locked. Its name must be new.
pub(crate) fn create(name: &str) -> io::Result<(File, LockFile)> {
    create_with(name, |_| point::reached("created"))
}

/// As [`create`]; what `meanwhile` returns lives from the making of the object until it is locked.
fn create_with<R>(name: &str, meanwhile: impl Fn(&File) -> R) -> io::Result<(File, LockFile)> {
    for _ in 0..ATTEMPTS {
        let file = shm::create(name)?;
        let _meanwhile = meanwhile(&file);
        match lock_own(name, &file) {
            Ok(Some(locks)) => return Ok((file, locks)),
            // Removed.
            Ok(None) => {}
            Err(error) => {
                let _ = remove_abandoned(name, &file);
                return Err(error);
            }
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

/// Takes the founder's lock of the object `file`, which this process has just made under `name`; `None`
/// if the name has been removed.
fn lock_own(name: &str, file: &File) -> io::Result<Option<LockFile>> {
    let Some(locks) = reopen(name, file)? else {
        return Ok(None);
    };
    if !locks.try_lock(FOUNDER)? {
        return Err(io::Error::other("another process has locked it"));
    }
    let waited = Waited::begin();
    while locks.is_held(REMOVER)? {
        if waited.time(NAP) >= PATIENCE {
            return Err(io::Error::other("another process is removing it"));
        }
        thread::sleep(NAP);
    }
    Ok(ours::stands_for(name, file)?.then_some(locks))
}

/// An open file of its own, for locks, of the object `file` under `name`; `None` if the name has gone or
/// stands for something else by now.
pub(crate) fn reopen(name: &str, file: &File) -> io::Result<Option<LockFile>> {
    let again = match ours::open(name, Access::ReadWrite) {
        Ok(again) => again,
        Err(why) if why.is_nothing() => return Ok(None),
        Err(NotOurs::Refused(_)) => return Ok(None),
        Err(NotOurs::System(error)) => return Err(error),
    };
    Ok(ours::is_same(file, &again)?.then(|| LockFile::new(again)))
}

/// Removes the name if it still stands for `file` and its maker is gone. Returns whether it did.
pub(crate) fn remove_abandoned(name: &str, file: &File) -> io::Result<bool> {
    let Some(locks) = reopen(name, file)? else {
        return Ok(false);
    };
    // If another remover has it, that one removes the name.
    let removes =
        locks.try_lock(REMOVER)? && !locks.is_held(FOUNDER)? && ours::stands_for(name, file)?;
    if removes {
        shm::unlink(name)?;
    }
    Ok(removes)
}

/// Whether whoever made the object holds its lock.
pub(crate) fn is_held(file: &File) -> io::Result<bool> {
    lock::is_held(file, FOUNDER)
}

#[cfg(test)]
mod tests {
    use super::{FOUNDER, REMOVER, create, create_with, is_held, remove_abandoned, reopen, thread};
    use crate::{
        job::names,
        sys::{
            ours::{self, Access},
            shm,
        },
    };
    use core::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_name_is_removed_only_when_its_maker_is_gone() {
        let name = names::unswept();
        let (file, locks) = create(&name).unwrap();
        assert!(is_held(&file).unwrap());
        assert!(!remove_abandoned(&name, &file).unwrap());
        drop(locks);
        assert!(remove_abandoned(&name, &file).unwrap());
        assert!(!remove_abandoned(&name, &file).unwrap());
    }

    #[test]
    fn a_name_that_means_something_else_by_now_stays() {
        let name = names::unswept();
        let (file, locks) = create(&name).unwrap();
        shm::unlink(&name).unwrap();
        drop(locks);
        let (other, locks) = create(&name).unwrap();
        drop(locks);
        assert!(!remove_abandoned(&name, &file).unwrap());
        assert!(remove_abandoned(&name, &other).unwrap());
    }

    /// How often an object must be made under `name` beside a remover that does `finish`, and gives its
    /// lock back, once the maker has its own. In the end the name stands for what was made, locked.
    fn attempts_beside_a_remover(name: &str, finish: impl Fn() + Sync) -> usize {
        let attempts = AtomicUsize::new(0);
        let made = thread::scope(|scope| {
            create_with(name, |file| {
                if attempts.fetch_add(1, Ordering::Relaxed) > 0 {
                    return;
                }
                let remover = reopen(name, file).unwrap().unwrap();
                assert!(remover.try_lock(REMOVER).unwrap());
                let finish = &finish;
                scope.spawn(move || {
                    while !remover.is_held(FOUNDER).unwrap() {
                        thread::yield_now();
                    }
                    finish();
                });
            })
        });
        let (file, _locks) = made.unwrap();
        assert!(is_held(&file).unwrap() && ours::stands_for(name, &file).unwrap());
        shm::unlink(name).unwrap();
        attempts.into_inner()
    }

    #[test]
    fn a_maker_waits_for_a_remover_and_makes_the_name_again() {
        let name = names::unswept();
        let remove = || shm::unlink(&name).unwrap();
        assert_eq!(attempts_beside_a_remover(&name, remove), 2);
    }

    #[test]
    fn a_maker_keeps_the_name_if_the_remover_is_killed() {
        let name = names::unswept();
        assert_eq!(attempts_beside_a_remover(&name, || ()), 1);
    }

    /// A rank that meets it must not join, and a founder not be told that the name is in use.
    #[test]
    fn what_is_being_removed_does_not_look_like_a_job_that_forms() {
        let name = names::unswept();
        let (file, locks) = create(&name).unwrap();
        drop(locks);
        let remover = reopen(&name, &file).unwrap().unwrap();
        assert!(remover.try_lock(REMOVER).unwrap());
        assert!(!is_held(&file).unwrap());
        // The other one sees to it.
        assert!(!remove_abandoned(&name, &file).unwrap());
        drop(remover);
        assert!(remove_abandoned(&name, &file).unwrap());
    }

    /// The race that the lock decides: many who sweep while many make.
    #[test]
    fn makers_and_sweepers_do_not_hurt_each_other() {
        let name = names::unswept();
        let (file, locks) = create(&name).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        if let Ok(found) = ours::open(&name, Access::ReadWrite) {
                            let _ = remove_abandoned(&name, &found);
                        }
                    }
                });
            }
            scope.spawn(|| {
                drop((file, locks));
                for _ in 0..500 {
                    // Found by its name for as long as it is kept.
                    let Ok((file, locks)) = create(&name) else {
                        continue;
                    };
                    for _ in 0..20 {
                        assert!(ours::stands_for(&name, &file).unwrap());
                        thread::yield_now();
                    }
                    shm::unlink(&name).unwrap();
                    drop(locks);
                }
            });
        });
        let _ = shm::unlink(&name);
    }
}
