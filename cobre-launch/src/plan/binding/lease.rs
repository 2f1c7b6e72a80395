//! Cores that one job has bound are not bound by another of the same user.
//!
//! A core is leased by listening on an abstract socket that has its name: the kernel lets one
//! process of a machine (of a network namespace, to be exact) do so, shows it to nobody's file
//! system, and ends it with its holder, however that ends. Anybody can take such a name, but the
//! kernel also says who has it, to whoever connects: what another user holds is no lease.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread;
use std::time::Duration;

use cobre_shm::topology::{CpuList, Level, Machine, Processor};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, UnixCredentials, connect, getsockopt, socket,
    sockopt,
};
use nix::unistd::{Pid, Uid, getppid};

use crate::{proc, report};

/// The cores of a job; free again when this is dropped or its process ends.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    cores: Vec<UnixListener>,
}

impl Lease {
    /// What is ready when somebody asks who holds a core.
    pub(crate) fn questions(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.cores.iter().map(AsFd::as_fd)
    }

    /// Takes the questions back that have come. The kernel has answered them, but keeps a number of
    /// them at most, and then lets nobody ask.
    pub(crate) fn clear(&self) {
        for core in &self.cores {
            while core.accept().is_ok() {}
        }
    }
}

/// For how long another job may be choosing, in naps. It takes far less than a millisecond.
const PATIENCE: u32 = 2000;
/// The same for all names together whose holders do not answer.
const FOR_ANSWERS: u32 = 100;
const NAP: Duration = Duration::from_millis(1);

/// What `choose` has picked, with its lease or its error, and which other jobs have cores that it
/// could not have.
pub(crate) struct Chosen<P, E> {
    pub(crate) picked: Result<(P, Lease), E>,
    pub(crate) others: BTreeSet<i32>,
}

type Core = Vec<Processor>;

/// Lets `choose` pick a job's processors out of those that no other job has leased, and leases
/// their cores. `choose` gets the free part of `machine`.
///
/// # Errors
/// If sockets are unavailable.
pub(crate) fn lease<P, E>(
    machine: &Machine,
    choose: impl Fn(&Machine) -> Result<P, E>,
    chosen: impl Fn(&P) -> Vec<CpuList>,
) -> io::Result<Chosen<P, E>> {
    let choosing = choosing()?;
    let mut free = Vec::new();
    let mut taken = Vec::new();
    for (_, core) in machine.parts(Level::Core) {
        match listen(&name("", &core))? {
            Some(held) => free.push((core, Held::Lease(held))),
            None => taken.push(core),
        }
    }
    let mut picked = choose(&restricted(machine, &free));
    let mut others = BTreeSet::new();
    if picked.is_err() && !taken.is_empty() {
        // Only now it matters by whom.
        let ancestors = ancestors();
        let mut naps = 0..FOR_ANSWERS;
        let mut wait = || naps.next().map(|_| thread::sleep(NAP)).is_some();
        for core in taken {
            match lease_of_ancestors(&core, &ancestors, &mut wait)? {
                Ok(held) => free.push((core, held)),
                Err(holder) => {
                    others.insert(holder);
                }
            }
        }
        picked = choose(&restricted(machine, &free));
    }
    let picked = picked.map(|picked| {
        let lists = chosen(&picked);
        free.retain(|(core, _)| lists.iter().any(|list| list.contains(core[0].number)));
        let mut cores = Vec::new();
        for (core, held) in free {
            match held {
                Held::Lease(held) => cores.push(held),
                Held::By(stranger) => report::note(&format!(
                    "core {} is bound but could not be reserved: {stranger} holds the name of its lease, so \
                     another of your jobs may use it too",
                    core[0].number
                )),
            }
        }
        (picked, Lease { cores })
    });
    drop(choosing);
    Ok(Chosen { picked, others })
}

/// A core that no other job of this user has.
enum Held {
    Lease(UnixListener),
    /// This process, described, has the name and cannot have a lease.
    By(String),
}

/// What has become of a name.
enum Name {
    Ours(UnixListener),
    /// This process of our user has it.
    Own(i32),
    /// Another has it, described.
    Strangers(String),
}

fn restricted(machine: &Machine, free: &[(Core, Held)]) -> Machine {
    let processors = free.iter().flat_map(|(core, _)| core);
    machine.restricted_to(&processors.map(|processor| processor.number).collect())
}

/// Leases a core that somebody holds. What a launcher has leased for its ranks is for the jobs that
/// they start, too: these exclude each other by a name that has its number. Otherwise the process
/// of this user that has leased it.
fn lease_of_ancestors(
    core: &Core,
    ancestors: &[i32],
    wait: &mut dyn FnMut() -> bool,
) -> io::Result<Result<Held, i32>> {
    let mut scope = String::new();
    loop {
        match take(&name(&scope, core), wait)? {
            Name::Ours(held) => return Ok(Ok(Held::Lease(held))),
            Name::Strangers(who) => return Ok(Ok(Held::By(who))),
            Name::Own(pid) if ancestors.contains(&pid) => scope = format!("{pid}/"),
            Name::Own(pid) => return Ok(Err(pid)),
        }
    }
}

/// Waits until no other job is choosing, so that two jobs do not take a half each.
fn choosing() -> io::Result<Option<UnixListener>> {
    let name = format!("cobre-launch/{}/choosing", Uid::effective());
    let mut is_known = false;
    for _ in 0..PATIENCE {
        if let Some(held) = listen(&name)? {
            return Ok(Some(held));
        }
        // Once: who chooses takes no questions back.
        if !is_known {
            match ask(&name) {
                Ok(peer) if !is_own(&peer) => break,
                answer => is_known = answer.is_ok(),
            }
        }
        thread::sleep(NAP);
    }
    // Or it is stopped, or not ours: we choose beside it.
    listen(&name)
}

/// The name of a core: that of its lowest processor.
fn name(scope: &str, core: &Core) -> String {
    format!(
        "cobre-launch/{}/{scope}core/{}",
        Uid::effective(),
        core[0].number
    )
}

/// Takes the name, or finds out who has it. `wait` waits a moment, or says that it has lasted too
/// long.
fn take(name: &str, wait: &mut dyn FnMut() -> bool) -> io::Result<Name> {
    loop {
        if let Some(held) = listen(name)? {
            return Ok(Name::Ours(held));
        }
        let why = match ask(name) {
            Ok(peer) if is_own(&peer) => return Ok(Name::Own(peer.pid())),
            Ok(peer) => return Ok(Name::Strangers(describe(&peer))),
            // It has just ended, or is about to listen.
            Err(Errno::ECONNREFUSED) => "a process that does not listen",
            // A launcher answers, unless it is stopped: then it does not use its cores.
            Err(_) => "a process that does not answer",
        };
        if !wait() {
            return Ok(Name::Strangers(why.to_owned()));
        }
    }
}

/// Takes the name, `None` if somebody has it.
fn listen(name: &str) -> io::Result<Option<UnixListener>> {
    match UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?) {
        Ok(held) => {
            held.set_nonblocking(true)?;
            Ok(Some(held))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}

/// Who has called `listen` on `name`.
fn ask(name: &str) -> nix::Result<UnixCredentials> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let asking = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new_abstract(name.as_bytes())?;
    connect(asking.as_raw_fd(), &address)?;
    getsockopt(&asking, sockopt::PeerCredentials)
}

fn is_own(peer: &UnixCredentials) -> bool {
    peer.uid() == Uid::effective().as_raw()
}

fn describe(peer: &UnixCredentials) -> String {
    match peer.pid() {
        // One of another PID namespace.
        0 => format!("a process of user {}", peer.uid()),
        pid => format!("process {pid} of user {}", peer.uid()),
    }
}

/// The parent of this process, its parent, and so on. A process that entered this PID namespace from
/// outside has the parent 0, and a listener outside has the number 0 too: neither is an ancestor.
fn ancestors() -> Vec<i32> {
    let parent = getppid();
    let all = std::iter::once(parent).chain(proc::ancestors(parent));
    all.map(Pid::as_raw).filter(|&pid| pid > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::{FOR_ANSWERS, Name, ask, lease, listen, take};
    use cobre_shm::topology::{CpuList, Machine, Node, Processor};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
    use std::os::fd::AsRawFd;

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
        let (one, held) = take().picked.expect("two cores");
        let (other, also_held) = take().picked.expect("two more");
        assert!(one.iter().all(|cpu| !other.contains(cpu)));
        let none = take();
        assert_eq!(none.picked.map(|_| ()), Err(0));
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(none.others, [me].into());
        drop(held);
        let (again, _held) = take().picked.expect("two cores again");
        assert_eq!(again, one);
        drop(also_held);
    }

    fn name(test: &str) -> String {
        format!("cobre-launch-test/{}/{test}", std::process::id())
    }

    #[test]
    fn a_name_whose_holder_goes_away_is_free() {
        let name = name("goes away");
        let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        bind(socket.as_raw_fd(), &address).unwrap();
        // Bound, but not listening: there is somebody.
        let stays = take(&name, &mut || false).unwrap();
        assert!(matches!(stays, Name::Strangers(who) if who.contains("does not listen")));
        let mut socket = Some(socket);
        let freed = take(&name, &mut || socket.take().is_some()).unwrap();
        assert!(matches!(freed, Name::Ours(_)));
    }

    #[test]
    fn a_name_that_many_have_asked_for_is_still_held() {
        let name = name("asked for");
        let lease = super::Lease {
            cores: vec![listen(&name).unwrap().unwrap()],
        };
        while ask(&name).is_ok() {}
        // Whoever asks now waits until the holder has cleared.
        let mut naps = 0..FOR_ANSWERS;
        let mut wait = || {
            lease.clear();
            naps.next().is_some()
        };
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(take(&name, &mut wait).unwrap(), Name::Own(pid) if pid == me));
        assert_eq!(naps.len(), FOR_ANSWERS as usize - 1);
    }
}
