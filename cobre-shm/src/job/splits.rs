//! Which communicators split from its job a rank is in: for the launcher, which maps the job alone and
//! must reach who sleeps in another.
//!
//! A rank lists the descriptor that the kernel shows as `/proc/PID/fd/N`, and what it must be found to
//! stand for. So there is nothing to clean up after a rank that was killed.

use std::{
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
};

use crate::{
    memory::{control::Control, identify, segment::Segment},
    sync::{
        cell::{JOINED, Members},
        primitive::{AtomicU32, AtomicU64, Ordering},
    },
    sys::{
        lock::LockFile,
        ours::{self, Access},
    },
};

/// Communicators that a rank lists.
const PLACES: usize = 8;

/// The split communicators of one rank.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct SplitTable {
    places: [Place; PLACES],
}

#[derive(Debug)]
#[repr(C)]
struct Place {
    /// The descriptor in the rank's process plus one; 0 while the place is free.
    fd: AtomicU32,
    /// The number of the control segment in its file system; 0 until it is known.
    inode: AtomicU64,
}

impl SplitTable {
    /// Lists the communicator whose segment `locks` has open. By the rank, maybe by several of its
    /// threads at once. `None` if the table is full, or no descriptor is available.
    pub(crate) fn enter(&self, locks: &LockFile) -> Option<usize> {
        let inode = locks.inode().ok()?;
        // Descriptors are not negative.
        let fd = locks.file().as_raw_fd() as u32 + 1;
        let at = self.places.iter().position(|place| {
            // Acquire matches the Release in `remove`: its 0 does not come after our inode.
            let taken = place
                .fd
                .compare_exchange(0, fd, Ordering::Acquire, Ordering::Relaxed);
            taken.is_ok()
        })?;
        // Release matches the Acquire in `listed`: the descriptor is this one's.
        self.places[at].inode.store(inode, Ordering::Release);
        Some(at)
    }

    /// Takes back what [`enter`](Self::enter) has put into this place.
    pub(crate) fn remove(&self, at: usize) {
        let place = &self.places[at];
        place.inode.store(0, Ordering::Relaxed);
        // Release matches the Acquire in `enter`.
        place.fd.store(0, Ordering::Release);
    }

    /// Whether the rank is in none.
    pub(crate) fn is_empty(&self) -> bool {
        self.listed().next().is_none()
    }

    /// Descriptors and inodes.
    fn listed(&self) -> impl Iterator<Item = (u32, u64)> {
        self.places.iter().filter_map(|place| {
            // Acquire matches the Release in `enter`.
            let inode = place.inode.load(Ordering::Acquire);
            let fd = place.fd.load(Ordering::Relaxed).checked_sub(1)?;
            (inode != 0).then_some((fd, inode))
        })
    }
}

/// The communicators that the living ranks of `job` have listed, each once, in the order in which the
/// first of them did.
pub(crate) fn open(job: &Control) -> Vec<Control> {
    let mut known = Vec::new();
    let mut open = Vec::new();
    for rank in 0..job.size() {
        let presence = &job.cell(rank).presence;
        // Acquire matches the Release of `Control::occupy`. Who has left may go on in others.
        if presence.state.load(Ordering::Acquire) < JOINED {
            continue;
        }
        let pid = presence.pid.load(Ordering::Relaxed);
        for (fd, inode) in job.block(rank).splits.listed() {
            if !known.contains(&inode)
                && let Ok(split) = open_listed(job, pid, fd, inode)
            {
                known.push(inode);
                open.push(split);
            }
        }
    }
    open
}

fn open_listed(job: &Control, pid: u32, fd: u32, inode: u64) -> io::Result<Control> {
    let path = format!("/proc/{pid}/fd/{fd}");
    let geometry = job.geometry().recorded(None);
    // The numbers may mean something else here, and the memory may hold anything.
    let file = ours::open_held(Path::new(&path), Access::ReadWrite)?;
    let meta = file.metadata()?;
    if meta.ino() != inode
        || meta.len() != geometry.total_bytes() as u64
        || identify::geometry(&file)? != Ok(geometry)
    {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let segment = Segment::map(&file, geometry.total_bytes())?;
    Ok(Control::new(segment, geometry, None))
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use cobre_comm_trait::{Communicator, FailureCause, SharedMemoryProvider};

    use crate::{
        Config, ShmComm,
        job::names,
        observer::Observer,
        sync::{cell::Members, primitive::Ordering},
    };

    /// What no outcome shows: without the ring a sleeper would find out after its nap.
    #[test]
    fn who_sleeps_in_a_split_communicator_is_rung_when_somebody_has_died() {
        let name = names::random_job_name();
        let observer = Observer::found(&name, 2).unwrap();
        let met = Barrier::new(3);
        thread::scope(|scope| {
            for rank in 0..2 {
                let mut config = Config::new(name.clone(), rank, 2);
                config.launcher = Some(std::process::id());
                let met = &met;
                scope.spawn(move || {
                    let comm = ShmComm::form(&config).unwrap();
                    let one = comm.split_local().unwrap();
                    let other = one.split_local().unwrap();
                    met.wait();
                    met.wait();
                    drop(one);
                    met.wait();
                    met.wait();
                    assert!(comm.barrier().is_err() && other.barrier().is_err());
                    drop((comm, other));
                    met.wait();
                });
            }
            met.wait();
            assert_eq!(observer.splits().len(), 2);
            met.wait();
            met.wait();
            let splits = observer.splits();
            let [split] = &splits[..] else {
                panic!("{splits:?}")
            };
            let bells =
                || [0, 1].map(|rank| split.control().cell(rank).bell.word.load(Ordering::Relaxed));
            let before = bells();
            observer.report_failure(1, std::process::id(), FailureCause::Signaled(9));
            assert!(
                bells()
                    .iter()
                    .zip(before)
                    .all(|(now, before)| *now != before)
            );
            met.wait();
            met.wait();
            assert!(observer.splits().is_empty());
        });
    }
}

#[cfg(all(test, not(loom), target_endian = "little", target_pointer_width = "64"))]
mod documented {
    use super::{PLACES, Place, SplitTable};
    use crate::documented::{expect, expect_words, fields};

    #[test]
    fn the_page_states_the_split_communicators() {
        let place = fields!(Place { fd, inode });
        expect("### Split communicators", place, size_of::<Place>());
        expect_words(&format!("{PLACES} places of {} bytes", size_of::<Place>()));
        assert_eq!(size_of::<SplitTable>(), PLACES * size_of::<Place>());
    }
}
