//! Jobs without a launcher.

use std::process::Command;

use crate::{Process, job_name, left_behind};

/// A job whose ranks are started by hand, without a launcher.
#[derive(Debug)]
pub struct Job {
    program: String,
    name: String,
    ranks: Vec<Vec<String>>,
    variables: Vec<(String, String)>,
}

impl Job {
    /// As many ranks of `program`, with the same arguments.
    #[must_use]
    pub fn of<A: AsRef<str>>(program: &str, ranks: usize, arguments: &[A]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|a| a.as_ref().to_owned()).collect();
        Self::ranks(program, vec![arguments; ranks])
    }

    /// One rank of `program` for each list of arguments.
    #[must_use]
    pub fn ranks(program: &str, ranks: Vec<Vec<String>>) -> Self {
        Self {
            program: program.to_owned(),
            name: job_name(),
            ranks,
            variables: Vec::new(),
        }
    }

    /// Sets a variable for every rank.
    #[must_use]
    pub fn env(mut self, variable: &str, value: &str) -> Self {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// The job's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The command that starts one rank.
    #[must_use]
    pub fn command(&self, rank: usize) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.ranks[rank])
            .env("COBRE_SHM_NAME", &self.name)
            .env("COBRE_SHM_RANK", rank.to_string())
            .env("COBRE_SHM_SIZE", self.ranks.len().to_string())
            .env("COBRE_SHM_ATTACH_TIMEOUT", "50")
            .envs(self.variables.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Starts one rank.
    #[must_use]
    pub fn start_rank(&self, rank: usize) -> Process {
        Process::start(&format!("rank {rank}"), &mut self.command(rank))
    }

    /// Starts every rank.
    #[must_use]
    pub fn start(&self) -> Vec<Process> {
        (0..self.ranks.len())
            .map(|rank| self.start_rank(rank))
            .collect()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(left_behind(&self.name), [""; 0], "left in /dev/shm");
        }
    }
}
