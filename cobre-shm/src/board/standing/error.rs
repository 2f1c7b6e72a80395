//! What can be wrong with a board, and what to do about it.

use core::fmt;
use std::io;

use crate::{memory::room, sys::ours::NotOurs};

/// A board could not be configured, joined or read.
///
/// `Debug` prints the same sentence as `Display`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// The configuration cannot be read or says something impossible.
    #[error("{what}: {problem}")]
    Config {
        /// The file, or `configuration`.
        what: String,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// No board has such a member.
    #[error("no board has a member {member:?}; there are {}", known.join(", "))]
    UnknownMember {
        /// The name asked for.
        member: String,
        /// All members, as `board: name, name`.
        known: Vec<String>,
    },
    /// The name stands for members of several boards.
    #[error("{member:?} is a member of several boards ({}): say which", boards.join(", "))]
    Ambiguous {
        /// The name asked for.
        member: String,
        /// The boards.
        boards: Vec<String>,
    },
    /// No such board in the configuration.
    #[error("there is no board {board:?} in the configuration; there are {}", known.join(", "))]
    UnknownBoard {
        /// The name asked for.
        board: String,
        /// The boards configured.
        known: Vec<String>,
    },
    /// No such team on the board.
    #[error("board {board} has no team {team:?}; there are {}", list(known))]
    UnknownTeam {
        /// The board.
        board: String,
        /// The team asked for.
        team: String,
        /// The teams configured.
        known: Vec<String>,
    },
    /// Another process is this member.
    #[error("{member:?} is on board {board} already, as process {pid}: start each member once")]
    MemberTaken {
        /// The board.
        board: String,
        /// The member.
        member: String,
        /// Who holds it.
        pid: u32,
    },
    /// Members that live have joined with another configuration.
    #[error(
        "board {board} is in use with another configuration ({difference}): give all members the same, or stop them all first"
    )]
    ConfigDiffers {
        /// The board.
        board: String,
        /// What differs.
        difference: String,
    },
    /// Nobody has made the board.
    #[error("there is no board {board}: nobody has joined it on this machine, or all have left")]
    NotFound {
        /// The board.
        board: String,
    },
    /// The name stands for something else, or for a board that is damaged.
    #[error("{name} is not a board that this program can read: {found}")]
    NotABoard {
        /// The name.
        name: String,
        /// What is there.
        found: String,
    },
    /// Somebody else holds the gate for so long that it must be stopped.
    #[error("the gate of board {board} stays closed: a member was stopped while it joined or left")]
    GateClosed {
        /// The board.
        board: String,
    },
    /// A system call failed.
    #[error("cannot {action} board {board}: {source}{left}")]
    System {
        /// The board.
        board: String,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
        /// If it lacks something: what limits it, and what to do.
        left: String,
    },
}

/// What the largest board maps, to tell whether a limit on address space is why one cannot.
const MAPPING: u64 = 64 << 20;

impl fmt::Debug for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl BoardError {
    pub(super) fn system(board: &str, action: &'static str, source: io::Error) -> Self {
        let left = match source.raw_os_error() {
            Some(libc::ENOMEM | libc::ENOSPC | libc::EFBIG | libc::EMFILE | libc::ENFILE) => {
                room::left(&source, MAPPING)
            }
            _ => String::new(),
        };
        Self::System {
            board: board.to_owned(),
            action,
            source,
            left,
        }
    }

    pub(super) fn not_opened(name: &str, why: NotOurs) -> Self {
        match why {
            NotOurs::Refused(found) => Self::not_a_board(name, found),
            NotOurs::System(source) => Self::system(name, "open", source),
        }
    }

    pub(super) fn not_a_board(name: &str, found: impl Into<String>) -> Self {
        Self::NotABoard {
            name: name.to_owned(),
            found: found.into(),
        }
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::BoardError;
    use std::io;

    #[test]
    fn what_the_system_lacks_is_said_with_a_remedy() {
        let told = |errno| {
            let source = io::Error::from_raw_os_error(errno);
            BoardError::system("/b", "join", source).to_string()
        };
        assert!(told(libc::EMFILE).contains("(ulimit -n)"));
        assert!(told(libc::EACCES).ends_with("(os error 13)"));
    }
}
