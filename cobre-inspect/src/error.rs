//! What can go wrong, and what to do about it.

use std::{io, net::SocketAddr, path::PathBuf};

use cobre_profile::ReadError;
use cobre_shm::{board::standing::BoardError, inspect::Unreadable};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "no job of this user runs here (a program started without a launcher is a job of one, in private memory)"
    )]
    NoJobs,
    #[error("which job? there are {}", list(.0))]
    WhichJob(Vec<String>),
    #[error("there is no job {wanted:?}; {}", there_are(jobs))]
    NoSuchJob { wanted: String, jobs: Vec<String> },
    #[error("{wanted} belongs to user {uid}: a job can be seen by its own user only")]
    Foreign { wanted: String, uid: u32 },
    #[error("job {name} cannot be read: {why}")]
    Unreadable { name: String, why: String },
    #[error("the job cannot be read any more: {0}")]
    Gone(#[from] Unreadable),
    #[error(
        "there is no board of this user here (a board is there from its first member's joining to its last one's leaving)"
    )]
    NoBoards,
    #[error("which board? there are {}", list(.0))]
    WhichBoard(Vec<String>),
    #[error("{why}{}", other_boards(names))]
    Board { why: BoardError, names: Vec<String> },
    #[error("{0}")]
    BoardGone(#[from] BoardError),
    #[error("nobody who was asked on board {0} takes work")]
    NobodyTakesWork(String),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {why}", path.display())]
    NoProfile { path: PathBuf, why: ReadError },
    #[error("{what}: {source}")]
    System {
        what: &'static str,
        source: io::Error,
    },
    #[error("{0}: metrics are served on a loopback address only, for example 127.0.0.1:9100")]
    NotLoopback(SocketAddr),
    #[error("{0}; `cobre-inspect watch` shows the same line by line")]
    NoScreen(&'static str),
}

impl Error {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

fn list(names: &[String]) -> String {
    names.join(", ")
}

fn other_boards(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("; there are {}", list(names)),
    }
}

fn there_are(jobs: &[String]) -> String {
    match jobs {
        [] => "no job of this user runs here".to_owned(),
        jobs => format!("there are {}", list(jobs)),
    }
}
