//! `list`: the jobs and boards of this user.

use serde::Serialize;

use crate::{
    board::{self, Board},
    diagnosis,
    handle::{self, Unknown},
    job::{Doing, Job},
    text,
};

#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    jobs: Vec<Job>,
    boards: Vec<Board>,
    unreadable: Vec<Unknown>,
}

pub(crate) fn list() -> Listed {
    let (handles, mut unreadable) = handle::find();
    let mut jobs = Vec::new();
    for handle in &handles {
        match handle.look() {
            Ok(job) => jobs.push(job),
            Err(error) => unreadable.push(Unknown {
                name: handle.name.clone(),
                why: error.to_string(),
                holders: Vec::new(),
            }),
        }
    }
    let mut boards = Vec::new();
    for board in board::find() {
        match board {
            Ok(board) => boards.push(board),
            Err((name, why)) => unreadable.push(Unknown {
                name,
                why,
                holders: Vec::new(),
            }),
        }
    }
    Listed {
        jobs,
        boards,
        unreadable,
    }
}

impl Listed {
    pub(crate) fn show(&self) -> String {
        if self.jobs.is_empty() && self.boards.is_empty() && self.unreadable.is_empty() {
            return "no jobs, no boards\n".to_owned();
        }
        let mut said = String::new();
        if !self.jobs.is_empty() {
            let columns = text::columns();
            said += &text::table(HEADER, self.jobs.iter().map(|job| row(job, columns)));
        }
        if !self.jobs.is_empty() && !self.boards.is_empty() {
            said.push('\n');
        }
        if !self.boards.is_empty() {
            let header = ["BOARD", "MEMBERS", "STATE", "WHO IS THERE"];
            said += &text::table(header, self.boards.iter().map(board_row));
        }
        for Unknown { name, why, holders } in &self.unreadable {
            said += &format!("{} cannot be read: {why}", text::clean(name));
            if !holders.is_empty() {
                let holders: Vec<String> = holders.iter().map(u32::to_string).collect();
                said += &format!(" (open in {})", holders.join(", "));
            }
            said.push('\n');
        }
        said
    }
}

fn board_row(board: &Board) -> [String; 4] {
    let here = board.members.iter().filter(|member| member.alive);
    let names: Vec<&str> = here.map(|member| member.name.as_str()).collect();
    let state = if board.left_over {
        "left over"
    } else {
        "in use"
    };
    [
        board.name.clone(),
        board.members.len().to_string(),
        state.to_owned(),
        match names.len() {
            0 => "nobody".to_owned(),
            _ => text::front(&names.join(", "), 60),
        },
    ]
}

/// The titles of a table of jobs.
pub(crate) const HEADER: [&str; 7] = [
    "JOB", "RANKS", "STATE", "LAUNCHER", "UP", "MEMORY", "COMMAND",
];

/// What a table of jobs needs at most, and besides names and commands.
const WIDE: usize = 124;
const NUMBERS: usize = 48;

/// A job in a table of at most so many `columns`.
pub(crate) fn row(job: &Job, columns: Option<usize>) -> [String; 7] {
    // The front of a name is as good, wherever a job is named.
    let (name, room) = match columns.filter(|&columns| columns < WIDE) {
        None => (job.name.clone(), 40),
        Some(columns) => {
            let name = text::front(&job.name, 16);
            let room = columns.saturating_sub(NUMBERS + name.chars().count());
            (name, room.max(8))
        }
    };
    let resident = job.ranks.iter().filter_map(|rank| rank.process.as_ref());
    let resident: u64 = resident.map(|facts| facts.resident).sum();
    let command = job.ranks.iter().find_map(|rank| rank.process.as_ref());
    let command = command.map_or("", |facts| &facts.command);
    let joined = job.ranks.iter().filter(|rank| rank.doing != Doing::Absent);
    let state = match job.state {
        "running" if !diagnosis::sentences(job).is_empty() => "waiting".to_owned(),
        "forming" => format!("{} joined", joined.count()),
        state => state.to_owned(),
    };
    [
        name,
        job.ranks.len().to_string(),
        state,
        match job.founder.is_launcher {
            true if job.founder.pid != 0 => job.founder.pid.to_string(),
            _ => "-".to_owned(),
        },
        job.uptime.map_or_else(|| "-".to_owned(), text::seconds),
        text::bytes(resident),
        text::front(command, room),
    ]
}
