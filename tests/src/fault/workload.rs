//! What ranks do while something happens to one of them: every operation, with its result checked.

use cobre_comm_trait::conformance::Random;
use cobre_comm_trait::{
    CommError, Communicator, ReduceOp, RegionReader, SharedMemoryProvider, SharedRegion,
};
use cobre_shm::{ShmComm, ShmReader, ShmRegion};

use super::told::say;

/// One collective, or what ends one's objects. All ranks make the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A barrier.
    Barrier,
    /// A broadcast of so many `u64` from this rank.
    Broadcast {
        /// Its root.
        root: usize,
        /// Elements.
        len: usize,
    },
    /// A sum of so many `f64`.
    Reduce {
        /// Elements.
        len: usize,
    },
    /// So many `u64` from rank 0, one more from each further rank.
    Gather {
        /// Elements of rank 0.
        len: usize,
    },
    /// A window of so many `u64`, instead of the one that is there.
    Create {
        /// Elements.
        len: usize,
    },
    /// Writes its own part, passes the fence, reads all.
    Publish,
    /// The fence back to the write epoch.
    Reopen,
    /// The leader writes everything, everybody reads it.
    Populate,
    /// Everything that follows happens in a communicator split from this one.
    Split,
    /// ... and now in the one from which it was split.
    Unsplit,
}

/// Every operation and algorithm once, named; the last is one in which everybody waits for everybody.
pub const EVERYTHING: [(&str, Step); 17] = [
    ("barrier", Step::Barrier),
    ("broadcast", Step::Broadcast { root: 0, len: 4 }),
    (
        "broadcast-large",
        Step::Broadcast {
            root: 1,
            len: 300_000,
        },
    ),
    ("allreduce", Step::Reduce { len: 3 }),
    ("allreduce-staged", Step::Reduce { len: 400 }),
    ("allreduce-large", Step::Reduce { len: 20_000 }),
    ("allgatherv", Step::Gather { len: 2 }),
    ("allgatherv-large", Step::Gather { len: 100_000 }),
    ("create", Step::Create { len: 5_000 }),
    ("publish", Step::Publish),
    ("reopen", Step::Reopen),
    ("populate", Step::Populate),
    ("split", Step::Split),
    ("split-barrier", Step::Barrier),
    ("split-allreduce", Step::Reduce { len: 3 }),
    ("unsplit", Step::Unsplit),
    ("last", Step::Barrier),
];

#[derive(Debug, Default)]
enum Window {
    #[default]
    None,
    Writing(ShmRegion<u64>),
    Reading(ShmReader<u64>),
}

/// A rank that works.
#[derive(Debug)]
pub struct Workload<'a> {
    comm: &'a ShmComm,
    split: Option<ShmComm>,
    window: Window,
    /// Counts steps, so that no two have the same values.
    salt: u64,
}

impl<'a> Workload<'a> {
    /// A rank that has not done anything.
    #[must_use]
    pub fn new(comm: &'a ShmComm) -> Self {
        Self {
            comm,
            split: None,
            window: Window::None,
            salt: 0,
        }
    }

    /// A step that is possible now. Ranks that began with the same seed get the same.
    pub fn choose(&self, random: &mut Random) -> Step {
        let len = [1, 5, 50, 600, 5_000, 40_000][random.below(6)];
        let len = random.below(len) + 1;
        let epoch = match &self.window {
            Window::None => Step::Create { len },
            Window::Writing(_) if random.below(4) == 0 => Step::Populate,
            Window::Writing(_) => Step::Publish,
            Window::Reading(_) => Step::Reopen,
        };
        match random.below(20) {
            0..=2 => Step::Barrier,
            3..=5 => Step::Broadcast {
                root: random.below(self.comm.size()),
                len,
            },
            6..=9 => Step::Reduce { len },
            10..=13 => Step::Gather { len },
            14..=17 => epoch,
            18 => Step::Create { len },
            _ if self.split.is_some() => Step::Unsplit,
            _ => Step::Split,
        }
    }

    /// Does it. Collective.
    ///
    /// # Errors
    /// Those of the operation.
    ///
    /// # Panics
    /// If the step is not possible now.
    pub fn run(&mut self, step: Step) -> Result<(), CommError> {
        self.salt += 1;
        let comm = self.split.as_ref().unwrap_or(self.comm);
        let (rank, size) = (comm.rank(), comm.size());
        match step {
            Step::Barrier => comm.barrier()?,
            Step::Broadcast { root, len } => {
                let mut buffer = match rank == root {
                    true => self.values(root, len),
                    false => vec![0; len],
                };
                comm.broadcast(&mut buffer, root)?;
                check(buffer == self.values(root, len), step);
            }
            Step::Reduce { len } => {
                let mine: Vec<f64> = (0..len).map(|i| (rank * 7 + i) as f64).collect();
                let mut sum = vec![0.0; len];
                comm.allreduce(&mine, &mut sum, ReduceOp::Sum)?;
                let all = (size * (size - 1) / 2 * 7) as f64;
                let right = |(i, &sum): (usize, &f64)| sum == all + (i * size) as f64;
                check(sum.iter().enumerate().all(right), step);
            }
            Step::Gather { len } => {
                let counts: Vec<usize> = (0..size).map(|peer| len + peer).collect();
                let displs: Vec<usize> = (0..size).map(|peer| peer * (len + size)).collect();
                let mut all = vec![0; size * (len + size)];
                comm.allgatherv(&self.values(rank, counts[rank]), &mut all, &counts, &displs)?;
                for peer in 0..size {
                    let part = &all[displs[peer]..displs[peer] + counts[peer]];
                    check(part == self.values(peer, counts[peer]), step);
                }
            }
            Step::Create { len } => {
                self.window = Window::None;
                self.window = Window::Writing(comm.create_shared_region(len)?);
            }
            Step::Publish => {
                let Window::Writing(mut region) = std::mem::take(&mut self.window) else {
                    panic!("no window to publish");
                };
                let salt = self.salt;
                for (element, index) in region.part().zip(0..) {
                    region.part_mut()[index] = value(salt, 0, element);
                }
                self.read(region.fence()?, step);
            }
            Step::Populate => {
                let Window::Writing(region) = std::mem::take(&mut self.window) else {
                    panic!("no window to populate");
                };
                let whole = self.values(0, region.len());
                let reader = region.populate_by_leader(|all| all.copy_from_slice(&whole))?;
                self.read(reader, step);
            }
            Step::Reopen => {
                let Window::Reading(reader) = std::mem::take(&mut self.window) else {
                    panic!("no window to reopen");
                };
                self.window = Window::Writing(reader.fence()?);
            }
            Step::Split => {
                self.window = Window::None;
                self.split = Some(comm.split_local()?);
            }
            Step::Unsplit => {
                self.window = Window::None;
                self.split = None;
            }
        }
        Ok(())
    }

    fn read(&mut self, reader: ShmReader<u64>, step: Step) {
        check(*reader == *self.values(0, reader.len()), step);
        self.window = Window::Reading(reader);
    }

    fn values(&self, rank: usize, len: usize) -> Vec<u64> {
        (0..len).map(|i| value(self.salt, rank, i)).collect()
    }
}

fn value(salt: u64, rank: usize, index: usize) -> u64 {
    (salt << 40) ^ ((rank as u64) << 32) ^ index as u64
}

/// Data that are wrong are worse than any error: the rank says so and ends with 5.
fn check(right: bool, step: Step) {
    if !right {
        say(&format!("wrong {step:?}"));
        std::process::exit(5);
    }
}
