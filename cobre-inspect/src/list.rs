//! `list`: the jobs of this user.

use serde::Serialize;

use crate::{
    diagnosis,
    job::{self, Job, Unknown},
    text,
};

#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    jobs: Vec<Job>,
    unreadable: Vec<Unknown>,
}

pub(crate) fn list() -> Listed {
    let (handles, mut unreadable) = job::find();
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
    Listed { jobs, unreadable }
}

impl Listed {
    pub(crate) fn show(&self) -> String {
        if self.jobs.is_empty() && self.unreadable.is_empty() {
            return "no jobs\n".to_owned();
        }
        let mut said = String::new();
        if !self.jobs.is_empty() {
            let header = [
                "JOB", "RANKS", "STATE", "LAUNCHER", "UP", "MEMORY", "COMMAND",
            ];
            said += &text::table(header, self.jobs.iter().map(row));
        }
        for Unknown { name, why, holders } in &self.unreadable {
            said += &format!("{name} cannot be read: {why} (processes {holders:?})\n");
        }
        said
    }
}

fn row(job: &Job) -> [String; 7] {
    let resident = job.ranks.iter().filter_map(|rank| rank.process.as_ref());
    let resident: u64 = resident.map(|facts| facts.resident).sum();
    let command = job.ranks.iter().find_map(|rank| rank.process.as_ref());
    let command = command.map_or("", |facts| &facts.command);
    let stuck = job.state == "running" && !diagnosis::sentences(job).is_empty();
    [
        job.name.clone(),
        job.ranks.len().to_string(),
        if stuck {
            "waiting".to_owned()
        } else {
            job.state.to_owned()
        },
        match job.founder.is_launcher {
            true => job.founder.pid.to_string(),
            false => "-".to_owned(),
        },
        text::seconds(job.uptime),
        text::bytes(resident),
        text::front(command, 60),
    ]
}
