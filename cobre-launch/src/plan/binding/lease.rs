//! Cores that one job has bound are not bound by another.
//!
//! A core is leased by listening on an abstract socket that has its name: the kernel lets one
//! process of a machine (of a network namespace, to be exact) do so, shows it to nobody's file
//! system, and ends it with its holder, however that ends.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread;
use std::time::{Duration, Instant};

use cobre_shm::topology::{CpuList, Machine};

/// The cores of a job; free again when this is dropped or its process ends.
#[derive(Debug)]
pub(crate) struct Lease {
    _cores: Vec<UnixListener>,
}

/// What comes before the number of a core's lowest processor in the name of its socket.
const CORE: &str = "cobre-launch/core";
/// Who has this one chooses cores; the others wait, so that two jobs do not take a half each.
const CHOOSING: &str = "cobre-launch/choosing";
/// For how long another job may be choosing. It takes far less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lets `choose` pick a job's processors out of those that no other job has leased, and leases
/// their cores. `choose` gets the free part of `machine`.
///
/// # Errors
/// The outer one if sockets cannot be had, the inner one is `choose`'s.
pub(crate) fn lease<P, E>(
    machine: &Machine,
    choose: impl FnOnce(&Machine) -> Result<P, E>,
    chosen: impl Fn(&P) -> Vec<CpuList>,
) -> io::Result<Result<(P, Lease), E>> {
    let choosing = choosing()?;
    let mut free = Vec::new();
    for (_, core) in machine.parts(cobre_shm::topology::Level::Core) {
        if let Some(held) = listen(&format!("{CORE}/{}", core[0].number))? {
            free.push((core, held));
        }
    }
    let processors = free.iter().flat_map(|(core, _)| core);
    let processors = processors.map(|processor| processor.number).collect();
    let picked = choose(&machine.restricted_to(&processors)).map(|picked| {
        let lists = chosen(&picked);
        free.retain(|(core, _)| lists.iter().any(|list| list.contains(core[0].number)));
        let cores = free.into_iter().map(|(_, held)| held).collect();
        (picked, Lease { _cores: cores })
    });
    drop(choosing);
    Ok(picked)
}

/// Waits until no other job is choosing.
fn choosing() -> io::Result<UnixListener> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(held) = listen(CHOOSING)? {
            return Ok(held);
        }
        if Instant::now() > deadline {
            let message = "another job has been choosing its cores for seconds";
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Takes the name, `None` if somebody has it.
fn listen(name: &str) -> io::Result<Option<UnixListener>> {
    match UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?) {
        Ok(held) => Ok(Some(held)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::lease;
    use cobre_shm::topology::{CpuList, Machine, Node, Processor};

    /// A machine whose processors no real one has, so that no real job is disturbed.
    fn machine() -> Machine {
        let base = 1_000_000 + std::process::id() as usize * 4;
        let processors = (0..4).map(|at| Processor {
            number: base + at,
            core: at,
            cache: 0,
            node: 0,
            package: 0,
            efficient: false,
        });
        let node = Node {
            number: 0,
            memory: 0,
        };
        Machine::new(processors.collect(), vec![node])
    }

    #[test]
    fn two_jobs_get_different_cores_until_one_ends() {
        let machine = machine();
        let first_two = |free: &Machine| -> Result<CpuList, usize> {
            let free: Vec<usize> = free.processors().iter().map(|one| one.number).collect();
            let two = free.get(..2).ok_or(free.len())?;
            Ok(two.iter().copied().collect())
        };
        let take = || lease(&machine, first_two, |list| vec![list.clone()]).expect("sockets");
        let (one, held) = take().expect("two cores");
        let (other, also_held) = take().expect("two more");
        assert!(one.iter().all(|cpu| !other.contains(cpu)));
        assert_eq!(take().map(|_| ()), Err(0));
        drop(held);
        let (again, _held) = take().expect("two cores again");
        assert_eq!(again, one);
        drop(also_held);
    }
}
