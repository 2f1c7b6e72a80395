//! What launcher and guard say to each other: one message per packet, pipes travel with it.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};
use nix::unistd::Pid;

use cobre_shm::MAX_RANKS;

use crate::process::missed::Missed;
use crate::sys::{self, Usage};

/// A set of ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RankSet([u8; MAX_RANKS / 8]);

impl FromIterator<usize> for RankSet {
    fn from_iter<I: IntoIterator<Item = usize>>(ranks: I) -> Self {
        let mut set = [0; MAX_RANKS / 8];
        for rank in ranks {
            set[rank / 8] |= 1 << (rank % 8);
        }
        Self(set)
    }
}

impl RankSet {
    pub(crate) fn contains(&self, rank: usize) -> bool {
        self.0[rank / 8] & 1 << (rank % 8) != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|&byte| byte == 0)
    }
}

/// What the launcher wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Start the ranks, which get these signals too.
    Start(Missed),
    /// Send a signal to those of these ranks that have not ended.
    Signal {
        signal: Signal,
        ranks: RankSet,
        /// It is sent to end them, not passed on.
        to_end: bool,
    },
}

/// What the guard tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The next rank runs; with it come our ends of its pipes.
    Started(Pid),
    /// The next rank could not be started.
    Refused(Errno),
    /// A rank has ended.
    Ended {
        rank: usize,
        status: ExitStatus,
        /// It had been signalled to end it.
        by_order: bool,
        usage: Usage,
    },
}

impl Order {
    const LENGTH: usize = 2 + MAX_RANKS / 8;

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Start(missed) => [&[0][..], &missed.to_bytes()].concat(),
            Self::Signal {
                signal,
                ranks,
                to_end,
            } => {
                // Signals are numbers below 65.
                let mut bytes = vec![1 + u8::from(*to_end), *signal as u8];
                bytes.extend(ranks.0);
                bytes
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0, missed @ ..] => {
                let missed = Missed::from_bytes(missed.try_into().ok()?);
                Some(Self::Start(missed))
            }
            [kind @ (1 | 2), signal, ranks @ ..] => Some(Self::Signal {
                signal: Signal::try_from(i32::from(*signal)).ok()?,
                ranks: RankSet(ranks.try_into().ok()?),
                to_end: *kind == 2,
            }),
            _ => None,
        }
    }
}

impl News {
    const LENGTH: usize = 6 * 8;

    fn encode(self) -> [u8; Self::LENGTH] {
        let words = match self {
            Self::Started(pid) => [0, i64::from(pid.as_raw()), 0, 0, 0, 0],
            Self::Refused(errno) => [1, errno as i64, 0, 0, 0, 0],
            Self::Ended {
                rank,
                status,
                by_order,
                usage,
            } => [
                2 + i64::from(by_order),
                rank as i64,
                status.into_raw().into(),
                usage.user_micros.cast_signed(),
                usage.system_micros.cast_signed(),
                usage.peak_bytes.cast_signed(),
            ],
        };
        let mut bytes = [0; Self::LENGTH];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let words: Vec<i64> = bytes
            .chunks_exact(8)
            .map(|word| i64::from_ne_bytes(word.try_into().unwrap_or_default()))
            .collect();
        let small = |word: i64| i32::try_from(word).ok();
        match words[..] {
            [0, pid, ..] => Some(Self::Started(Pid::from_raw(small(pid)?))),
            [1, errno, ..] => Some(Self::Refused(Errno::from_raw(small(errno)?))),
            [kind @ (2 | 3), rank, status, user, system, peak] => Some(Self::Ended {
                rank: usize::try_from(rank).ok()?,
                status: ExitStatus::from_raw(small(status)?),
                by_order: kind == 3,
                usage: Usage {
                    user_micros: user.cast_unsigned(),
                    system_micros: system.cast_unsigned(),
                    peak_bytes: peak.cast_unsigned(),
                },
            }),
            _ => None,
        }
    }
}

/// Whether to wait for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Forever,
    No,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Received<M> {
    Message(M, Vec<OwnedFd>),
    /// Nothing yet.
    Nothing,
    /// The other side is gone.
    Closed,
}

/// The launcher's end.
#[derive(Debug)]
pub(crate) struct LauncherEnd(OwnedFd);

/// The guard's end.
#[derive(Debug)]
pub(crate) struct GuardEnd(OwnedFd);

/// Both ends of a new channel.
pub(crate) fn pair() -> nix::Result<(LauncherEnd, GuardEnd)> {
    let kind = SockType::SeqPacket;
    let (one, other) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((LauncherEnd(one), GuardEnd(other)))
}

impl LauncherEnd {
    /// Never waits: a guard that takes no orders is stopped, or dead, which comes out otherwise.
    pub(crate) fn send(&self, order: &Order) {
        let _ = send(&self.0, &order.encode(), &[], MsgFlags::MSG_DONTWAIT);
    }

    pub(crate) fn receive(&self, wait: Wait) -> nix::Result<Received<News>> {
        receive::<_, { News::LENGTH }>(&self.0, wait, News::decode)
    }
}

impl AsFd for LauncherEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl GuardEnd {
    /// Waits for a launcher that is behind; one that is gone does not hear it.
    pub(crate) fn send(&self, news: News, pipes: &[BorrowedFd<'_>]) {
        let _ = send(&self.0, &news.encode(), pipes, MsgFlags::empty());
    }

    pub(crate) fn receive(&self, wait: Wait) -> nix::Result<Received<Order>> {
        receive::<_, { Order::LENGTH }>(&self.0, wait, Order::decode)
    }
}

impl AsFd for GuardEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn send(
    socket: &OwnedFd,
    bytes: &[u8],
    pipes: &[BorrowedFd<'_>],
    flags: MsgFlags,
) -> nix::Result<()> {
    let fds: Vec<RawFd> = pipes.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let with = if fds.is_empty() { &[][..] } else { &rights };
    loop {
        let flags = flags | MsgFlags::MSG_NOSIGNAL;
        match sendmsg::<()>(
            socket.as_raw_fd(),
            &[IoSlice::new(bytes)],
            with,
            flags,
            None,
        ) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

fn receive<M, const LENGTH: usize>(
    socket: &OwnedFd,
    wait: Wait,
    decode: impl Fn(&[u8]) -> Option<M>,
) -> nix::Result<Received<M>> {
    let mut bytes = [0; LENGTH];
    let mut space = nix::cmsg_space!([RawFd; 3]);
    let flags = match wait {
        Wait::Forever => MsgFlags::MSG_CMSG_CLOEXEC,
        Wait::No => MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT,
    };
    loop {
        let (length, pipes) = {
            let mut into = [IoSliceMut::new(&mut bytes)];
            let fd = socket.as_raw_fd();
            match recvmsg::<()>(fd, &mut into, Some(&mut space), flags) {
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(Received::Nothing),
                Err(Errno::ECONNRESET) => return Ok(Received::Closed),
                Err(errno) => return Err(errno),
                Ok(message) => {
                    // Some of the pipes found no place among the open files of this process.
                    let rights = message.cmsgs().map_err(|_| Errno::EMFILE)?;
                    let pipes = rights
                        .filter_map(|message| match message {
                            ControlMessageOwned::ScmRights(fds) => Some(fds),
                            _ => None,
                        })
                        .flatten()
                        .map(sys::own);
                    (message.bytes, pipes.collect())
                }
            }
        };
        return match length {
            0 => Ok(Received::Closed),
            _ => match decode(&bytes[..length]) {
                Some(message) => Ok(Received::Message(message, pipes)),
                None => Err(Errno::EBADMSG),
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{News, Order, RankSet, Received, Usage, Wait, pair};
    use nix::errno::Errno;
    use nix::sys::signal::Signal;
    use nix::unistd::Pid;
    use std::os::fd::AsFd;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn every_message_arrives_as_it_was_sent() {
        let (launcher, guard) = pair().unwrap();
        let ranks: RankSet = [0, 7, 8, 1023].into_iter().collect();
        for order in [
            Order::Start([Signal::SIGINT, Signal::SIGUSR2].into_iter().collect()),
            Order::Signal {
                signal: Signal::SIGUSR2,
                ranks,
                to_end: false,
            },
            Order::Signal {
                signal: Signal::SIGKILL,
                ranks,
                to_end: true,
            },
        ] {
            launcher.send(&order);
            match guard.receive(Wait::No).unwrap() {
                Received::Message(got, _) => assert_eq!(got, order),
                other => panic!("{other:?}"),
            }
        }
        for news in [
            News::Started(Pid::from_raw(i32::MAX)),
            News::Refused(Errno::ENOENT),
            News::Ended {
                rank: 1023,
                status: ExitStatus::from_raw(0x8b),
                by_order: true,
                usage: Usage {
                    user_micros: 1,
                    system_micros: u64::MAX,
                    peak_bytes: 3 << 40,
                },
            },
        ] {
            guard.send(news, &[guard.as_fd(), guard.as_fd()]);
            match launcher.receive(Wait::No).unwrap() {
                Received::Message(got, pipes) => {
                    assert_eq!((got, pipes.len()), (news, 2));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn silence_and_the_end_differ() {
        let (launcher, guard) = pair().unwrap();
        assert!(matches!(guard.receive(Wait::No), Ok(Received::Nothing)));
        drop(launcher);
        assert!(matches!(guard.receive(Wait::Forever), Ok(Received::Closed)));
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: RankSet = [3, 900].into_iter().collect();
        assert!(set.contains(3) && set.contains(900));
        assert!(!set.contains(4) && !set.contains(899));
        assert!(!set.is_empty() && RankSet::from_iter([]).is_empty());
    }
}
