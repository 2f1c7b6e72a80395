//! Names in `/dev/shm` whose makers are known to be alive.
//!
//! Who makes an object locks its founder's byte at once and keeps the lock while the name is there.
//! So an object whose lock is free has been abandoned, with one exception: its maker may be just
//! between making and locking it. That is why who removes an abandoned name takes the lock first: a
//! maker that does not get it, or finds the name gone once it has, starts again.

use std::{fs::File, io};

use super::{
    lock::{self, FOUNDER, LockFile},
    ours::{self, Access, NotOurs},
    shm,
};
use crate::point;

/// How often a maker starts again: a sweep can only come in between once.
const ATTEMPTS: usize = 8;

/// Creates the object, locked. Its name must be new.
pub(crate) fn create(name: &str) -> io::Result<(File, LockFile)> {
    create_with(name, |_| point::reached("created"))
}

/// As [`create`]; what `meanwhile` returns lives from the making of the object until it is locked.
fn create_with<R>(name: &str, meanwhile: impl Fn(&File) -> R) -> io::Result<(File, LockFile)> {
    for _ in 0..ATTEMPTS {
        let file = shm::create(name)?;
        let _meanwhile = meanwhile(&file);
        match lock(name, &file) {
            Ok(Some(locks)) => return Ok((file, locks)),
            Ok(None) => {
                // A sweep has the lock, and the name goes with it, unless the sweep was killed meanwhile.
                if ours::stands_for(name, &file)? {
                    let _ = shm::unlink(name);
                }
            }
            Err(error) => {
                let _ = shm::unlink(name);
                return Err(error);
            }
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

/// Takes the founder's lock of the object under `name`, if that is `file` and stays it.
fn lock(name: &str, file: &File) -> io::Result<Option<LockFile>> {
    let Some(locks) = reopen(name, file)? else {
        return Ok(None);
    };
    let locked = locks.try_lock(FOUNDER)?;
    Ok((locked && ours::stands_for(name, file)?).then_some(locks))
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
    let removes = match lock(name, file)? {
        Some(_locks) => {
            shm::unlink(name)?;
            true
        }
        None => false,
    };
    Ok(removes)
}

/// Whether whoever made the object holds its lock.
pub(crate) fn is_held(file: &File) -> io::Result<bool> {
    lock::is_held(file, FOUNDER)
}

#[cfg(test)]
mod tests {
    use super::{FOUNDER, create, create_with, is_held, remove_abandoned, reopen};
    use crate::{
        job::names,
        sys::{
            ours::{self, Access},
            shm,
        },
    };

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

    /// Who sweeps has the lock when the maker wants it, and is killed before it removes the name.
    #[test]
    fn a_name_that_a_sweep_has_locked_and_not_removed_is_made_again() {
        let name = names::unswept();
        let seen = std::cell::Cell::new(0);
        let (file, locks) = create_with(&name, |file| {
            let made = seen.replace(seen.get() + 1);
            if made > 0 {
                return None;
            }
            let sweeper = reopen(&name, file).unwrap().unwrap();
            assert!(sweeper.try_lock(FOUNDER).unwrap());
            Some(sweeper)
        })
        .unwrap();
        assert_eq!(seen.get(), 2);
        assert!(is_held(&file).unwrap() && ours::stands_for(&name, &file).unwrap());
        shm::unlink(&name).unwrap();
        drop(locks);
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
                    assert!(ours::stands_for(&name, &file).unwrap());
                    shm::unlink(&name).unwrap();
                    drop(locks);
                }
            });
        });
        let _ = shm::unlink(&name);
    }
}
