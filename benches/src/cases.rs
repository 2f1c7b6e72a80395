//! What is measured, as written on the command line: `op:bytes`.

use std::fmt;
use std::str::FromStr;

use crate::{plan::Plan, sddp};

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `barrier`.
    Barrier,
    /// `allreduce:BYTES`: a sum of `f64`.
    Allreduce {
        /// Length of a rank's operands, a multiple of 8.
        bytes: usize,
    },
    /// `allgatherv:BYTES`.
    Allgatherv {
        /// What each rank contributes.
        bytes: usize,
    },
    /// `broadcast:BYTES`: the root moves on by one rank every call.
    Broadcast {
        /// Length of the message.
        bytes: usize,
    },
    /// `sddp:STAGES` or `sddp-work:STAGES`: the collectives of one SDDP iteration.
    Sddp {
        /// Stages of the problem, at least 2.
        stages: usize,
        /// Whether ranks compute, unevenly, between the collectives.
        work: bool,
    },
}

/// A case nobody knows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot measure {text:?}: {reason}")]
pub struct UnknownCase {
    text: String,
    reason: &'static str,
}

impl Case {
    /// The sequence of collectives that is repeated.
    #[must_use]
    pub fn plan(self) -> Plan {
        match self {
            Self::Barrier => Plan::barrier(),
            Self::Allreduce { bytes } => Plan::allreduce(bytes),
            Self::Allgatherv { bytes } => Plan::allgatherv(bytes),
            Self::Broadcast { bytes } => Plan::broadcast(bytes),
            Self::Sddp { stages, work } => sddp::iteration(stages, work),
        }
    }

    /// The operation, without the length of its message.
    #[must_use]
    pub fn op(self) -> String {
        match self {
            Self::Barrier => "barrier".to_owned(),
            Self::Allreduce { .. } => "allreduce".to_owned(),
            Self::Allgatherv { .. } => "allgatherv".to_owned(),
            Self::Broadcast { .. } => "broadcast".to_owned(),
            Self::Sddp { .. } => self.to_string(),
        }
    }

    /// The length of a message, 0 where there is no single one.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Barrier | Self::Sddp { .. } => 0,
            Self::Allreduce { bytes } | Self::Allgatherv { bytes } | Self::Broadcast { bytes } => {
                bytes
            }
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Barrier => write!(f, "barrier"),
            Self::Allreduce { bytes } => write!(f, "allreduce:{bytes}"),
            Self::Allgatherv { bytes } => write!(f, "allgatherv:{bytes}"),
            Self::Broadcast { bytes } => write!(f, "broadcast:{bytes}"),
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
        match op {
            "allreduce" if number == 0 || !number.is_multiple_of(8) => {
                Err(unknown("an allreduce sums f64: a positive multiple of 8"))
            }
            "allreduce" => Ok(Self::Allreduce { bytes: number }),
            "allgatherv" => Ok(Self::Allgatherv { bytes: number }),
            "broadcast" => Ok(Self::Broadcast { bytes: number }),
            "sddp" | "sddp-work" if number < 2 => {
                Err(unknown("an SDDP problem has at least 2 stages"))
            }
            "sddp" | "sddp-work" => Ok(Self::Sddp {
                stages: number,
                work: op == "sddp-work",
            }),
            _ => Err(unknown(
                "the operations are barrier, allreduce, allgatherv, broadcast, sddp, sddp-work",
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
        ] {
            let message = text.parse::<Case>().unwrap_err().to_string();
            assert!(
                message.contains(text) && message.contains(reason),
                "{message}"
            );
        }
    }
}
