//! `watch`: a line about a job, again and again, for logs and plain terminals.

use crate::{diagnosis, job::Job, show, text};

/// One line about the job now.
pub(crate) fn line(job: &Job) -> String {
    let calls = job.ranks.iter().map(|rank| rank.calls).max().unwrap_or(0);
    let cpu = job.ranks.iter().filter_map(|rank| rank.process.as_ref());
    let cpu: f64 = cpu.map(|facts| facts.cpu).sum();
    let why = diagnosis::sentences(job);
    let why = why
        .first()
        .map_or_else(String::new, |why| format!("; {}", text::clean(why)));
    format!(
        "{} {}{}: {}; call {calls}, cpu {}{why}\n",
        text::clean(&job.name),
        job.state,
        show::up(job, " "),
        show::summary(job),
        text::seconds(cpu)
    )
}
