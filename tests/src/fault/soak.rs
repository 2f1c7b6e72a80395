//! A long life without any fault: collectives, windows, splits, and jobs that form and end.

use std::time::Instant;

use cobre_comm_trait::conformance::Random;
use cobre_comm_trait::{CommError, Communicator};
use cobre_shm::{Config, ShmComm};

use super::told::say;
use super::workload::Workload;

/// Steps between two looks at the clock.
const ROUND: usize = 400;

/// What a rank uses at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Since the beginning.
    pub seconds: u64,
    /// Resident memory.
    pub resident_kib: u64,
    /// Resident memory, that which is shared divided by those who share it.
    pub proportional_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Usage {
    fn of_this_process(since: Instant) -> Self {
        let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        let line = |what| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(what))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self {
            seconds: since.elapsed().as_secs(),
            resident_kib: line("Rss:").unwrap_or(0),
            proportional_kib: line("Pss:").unwrap_or(0),
            descriptors: descriptors as u64,
        }
    }

    /// Reads a rank's line `usage S KIB KIB N`; and whose it is.
    #[must_use]
    pub fn in_line(line: &str) -> Option<(usize, Self)> {
        let (rank, words) = line.strip_prefix('@')?.split_once(" usage ")?;
        let mut numbers = words.split(' ').map(|word| word.parse().ok());
        let mut number = || numbers.next().flatten();
        let usage = Self {
            seconds: number()?,
            resident_kib: number()?,
            proportional_kib: number()?,
            descriptors: number()?,
        };
        Some((rank.parse().ok()?, usage))
    }
}

/// Works for so many seconds, and says now and then what this process uses. Collective.
///
/// # Errors
/// The step that failed, and how.
pub fn soak(comm: &ShmComm, seed: u64, seconds: u64) -> Result<(), (String, CommError)> {
    let since = Instant::now();
    let name = std::env::var("COBRE_SHM_NAME").unwrap_or_default();
    let mut random = Random::new(seed);
    let mut said = 0;
    for round in 0_u64.. {
        // A job of its own for each round: it forms, works and ends.
        let config = Config::new(format!("{name}-{round}"), comm.rank(), comm.size());
        let inner = ShmComm::form(&config).map_err(|error| ("join".to_owned(), error.into()))?;
        let mut outside = Workload::new(comm);
        let mut inside = Workload::new(&inner);
        for _ in 0..ROUND {
            let work = match random.below(2) {
                0 => &mut inside,
                _ => &mut outside,
            };
            let step = work.choose(&mut random);
            work.run(step)
                .map_err(|error| (format!("{step:?}"), error))?;
        }
        drop((outside, inside));
        drop(inner);
        let mut elapsed = [since.elapsed().as_secs()];
        let agreed = comm.broadcast(&mut elapsed, 0);
        agreed.map_err(|error| ("clock".to_owned(), error))?;
        if elapsed[0] >= said {
            said = elapsed[0] + 5;
            let now = Usage::of_this_process(since);
            say(&format!(
                "usage {} {} {} {}",
                now.seconds, now.resident_kib, now.proportional_kib, now.descriptors
            ));
        }
        if elapsed[0] >= seconds {
            break;
        }
    }
    Ok(())
}
