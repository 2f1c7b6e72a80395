//! What is measured, as written on the command line: `op:bytes`.

use std::fmt;
use std::str::FromStr;

use crate::{plan::Plan, sddp};

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `barrier`.
    Barrier,
    /// `allreduce:BYTES` and the like.
    Message(Message),
    /// `sddp:STAGES` or `sddp-work:STAGES`: the collectives of one SDDP iteration.
    Sddp {
        /// Stages of the problem, at least 2.
        stages: usize,
        /// Whether ranks compute, unevenly, between the collectives.
        work: bool,
    },
}

/// A collective that carries bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it does.
    pub op: Op,
    /// Of each rank; of the root of a broadcast.
    pub bytes: usize,
    /// `win-..`: the data lives in a window.
    pub window: bool,
    /// `..-read`: every rank then reads a byte of each line of what it received.
    pub read: bool,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A sum of `f64`.
    Allreduce,
    /// A gather of as many bytes from each rank.
    Allgatherv,
    /// A broadcast: the root moves on by one rank every call.
    Broadcast,
}

impl Op {
    const ALL: [Self; 3] = [Self::Allreduce, Self::Allgatherv, Self::Broadcast];

    fn name(self) -> &'static str {
        match self {
            Self::Allreduce => "allreduce",
            Self::Allgatherv => "allgatherv",
            Self::Broadcast => "broadcast",
        }
    }
}

impl Message {
    /// `win-allreduce-read` and so on.
    fn name(self) -> String {
        let window = if self.window { "win-" } else { "" };
        let read = if self.read { "-read" } else { "" };
        format!("{window}{}{read}", self.op.name())
    }

    /// Of a name without the bytes.
    fn named(name: &str, bytes: usize) -> Option<Self> {
        let (window, rest) = match name.strip_prefix("win-") {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        let (read, rest) = match rest.strip_suffix("-read") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let op = Op::ALL.into_iter().find(|op| op.name() == rest)?;
        Some(Self {
            op,
            bytes,
            window,
            read,
        })
    }

    /// The collective on private buffers.
    fn plan(self) -> Plan {
        let plan = match self.op {
            Op::Allreduce => Plan::allreduce(self.bytes),
            Op::Allgatherv => Plan::allgatherv(self.bytes),
            Op::Broadcast => Plan::broadcast(self.bytes),
        };
        Plan {
            read: self.read,
            ..plan
        }
    }
}

/// A case nobody knows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot measure {text:?}: {reason}")]
pub struct UnknownCase {
    text: String,
    reason: &'static str,
}

impl Case {
    /// The sequence of collectives that is repeated, on private buffers.
    #[must_use]
    pub fn plan(self) -> Plan {
        match self {
            Self::Barrier => Plan::barrier(),
            Self::Message(message) => message.plan(),
            Self::Sddp { stages, work } => sddp::iteration(stages, work),
        }
    }

    /// The operation, without the length of its message.
    #[must_use]
    pub fn op(self) -> String {
        match self {
            Self::Message(message) => message.name(),
            Self::Barrier | Self::Sddp { .. } => self.to_string(),
        }
    }

    /// The length of a message, 0 where there is no single one.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Barrier | Self::Sddp { .. } => 0,
            Self::Message(message) => message.bytes,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Barrier => write!(f, "barrier"),
            Self::Message(message) => write!(f, "{}:{}", message.name(), message.bytes),
            Self::Sddp {
                stages,
                work: false,
            } => write!(f, "sddp:{stages}"),
            Self::Sddp { stages, work: true } => write!(f, "sddp-work:{stages}"),
        }
    }
}

impl FromStr for Case {
    type Err = UnknownCase;

    fn from_str(text: &str) -> Result<Self, UnknownCase> {
        let unknown = |reason| UnknownCase {
            text: text.to_owned(),
            reason,
        };
        let (op, number) = match text.split_once(':') {
            Some((op, number)) => (op, Some(number)),
            None => (text, None),
        };
        let number = match (op, number) {
            ("barrier", None | Some("0")) => return Ok(Self::Barrier),
            ("barrier", Some(_)) => return Err(unknown("a barrier carries no bytes")),
            (_, None) => return Err(unknown("expected op:bytes, such as allreduce:1024")),
            (_, Some(number)) => number
                .parse::<usize>()
                .map_err(|_| unknown("what follows the colon is not a number"))?,
        };
        if let Some(message) = Message::named(op, number) {
            let sums = message.op == Op::Allreduce;
            if sums && (number == 0 || !number.is_multiple_of(8)) {
                return Err(unknown("an allreduce sums f64: a positive multiple of 8"));
            }
            return Ok(Self::Message(message));
        }
        match op {
            "sddp" | "sddp-work" if number < 2 => {
                Err(unknown("an SDDP problem has at least 2 stages"))
            }
            "sddp" | "sddp-work" => Ok(Self::Sddp {
                stages: number,
                work: op == "sddp-work",
            }),
            _ => Err(unknown(
                "the operations are barrier, allreduce, allgatherv, broadcast (win- before and -read \
                 behind them), sddp, sddp-work",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in [
            "barrier",
            "allreduce:8",
            "allgatherv:0",
            "allgatherv:61",
            "broadcast:1048576",
            "broadcast-read:64",
            "win-allreduce:1048576",
            "win-allgatherv-read:61",
            "sddp:12",
            "sddp-work:120",
        ] {
            let case: Case = text.parse().unwrap();
            assert_eq!(case.to_string(), text);
        }
        assert_eq!("barrier:0".parse(), Ok(Case::Barrier));
    }

    #[test]
    fn what_cannot_be_measured_is_named() {
        for (text, reason) in [
            ("allreduce", "expected op:bytes"),
            ("allreduce:12", "multiple of 8"),
            ("allreduce:0", "multiple of 8"),
            ("allreduce:x", "not a number"),
            ("barrier:8", "no bytes"),
            ("sddp:1", "at least 2"),
            ("alltoall:8", "the operations are"),
            ("win-barrier:8", "the operations are"),
            ("win-allreduce:12", "multiple of 8"),
        ] {
            let message = text.parse::<Case>().unwrap_err().to_string();
            assert!(
                message.contains(text) && message.contains(reason),
                "{message}"
            );
        }
    }
}
