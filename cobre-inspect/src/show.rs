//! `show`: one job, everything that can be seen of it, in the columns that there are.

use std::fmt::Write as _;

use crate::{
    columns::{self, Columns, Narrower, column},
    diagnosis,
    job::{self, Job, Memory, Said},
    memory::Window,
    text,
};

/// The job, in lines of at most so many `columns`.
pub(crate) fn show(job: &Job, columns: Option<usize>) -> String {
    let mut said = String::new();
    let _ = writeln!(
        said,
        "job {}: {}, {}{}",
        text::clean(&job.name),
        text::count(job.ranks.len(), "rank"),
        job.state,
        up(job, ", ")
    );
    let founder = &job.founder;
    let role = match founder.is_launcher {
        true => "launcher",
        false => "founder",
    };
    let founder = match (founder.pid, founder.alive) {
        (0, false) => format!("{role} (gone)"),
        (0, true) => format!("{role} (in another PID namespace)"),
        (pid, _) => format!("{role} {pid}: {}", founder.command),
    };
    said += &text::front(&founder, columns.unwrap_or(usize::MAX));
    said.push_str("\n\n");
    // First what somebody who is worried looks for.
    let counts = format!("{}\n", summary(job));
    said += &counts;
    for sentence in diagnosis::sentences(job) {
        said += &text::paragraph(&sentence, columns);
    }
    said.push('\n');
    said += &ranks(job, columns);
    for rank in &job.ranks {
        let words = rank.said.as_ref().map(Said::words).unwrap_or_default();
        if !words.is_empty() {
            said += &text::paragraph(&format!("rank {}: {words}", rank.rank), columns);
        }
    }
    said.push('\n');
    said += &text::paragraph(&memory(job), columns);
    if !job.memory.windows.is_empty() {
        said.push('\n');
        said += &windows(&job.memory, columns);
    }
    said
}

/// `up 3m05s` behind `comma`, if anything of the job still runs.
pub(crate) fn up(job: &Job, comma: &str) -> String {
    let show = |uptime| format!("{comma}up {}", text::seconds(uptime));
    job.uptime.map_or_else(String::new, show)
}

/// `1 computing, 7 waiting`.
pub(crate) fn summary(job: &Job) -> String {
    let count = |state| {
        job.ranks
            .iter()
            .filter(|rank| rank.state() == state)
            .count()
    };
    let counts: Vec<String> = job::states()
        .map(|state| (count(state), state))
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    counts.join(", ")
}

fn memory(job: &Job) -> String {
    let splits = match job.splits {
        0 => String::new(),
        n => format!(" of {} communicators", n + 1),
    };
    format!(
        "control regions{splits}: {}, of which staging {}; layout version {}",
        text::bytes(job.memory.control),
        text::bytes(job.memory.staging),
        job.layout_version
    )
}

fn windows(memory: &Memory, columns: Option<usize>) -> String {
    let header = ["WINDOW", "SIZE", "MAPPED BY", "TOUCHED", "NUMA PLACEMENT"];
    let rows = memory.windows.iter().enumerate().map(|(number, window)| {
        [
            (number + 1).to_string(),
            text::bytes(window.bytes),
            text::count(window.ranks, "rank"),
            text::bytes(window.touched),
            placement(window),
        ]
    });
    text::table_in(header, rows, columns)
}

/// `node 0: 50 %, node 1: 50 %`.
fn placement(window: &Window) -> String {
    let all = window.touched.max(1) as f64;
    let nodes = window.nodes.iter().map(|(node, &bytes)| {
        let percent = 100.0 * bytes as f64 / all;
        format!("node {node}: {percent:.0} %")
    });
    let nodes: Vec<String> = nodes.collect();
    match nodes.len() {
        0 => "-".to_owned(),
        _ => nodes.join(", "),
    }
}

/// The table of the ranks.
fn ranks(job: &Job, columns: Option<usize>) -> String {
    let narrower: [Narrower; 9] = [
        |ranks| ranks.change("AT", columns::without_folders),
        |ranks| ranks.drop("CORES"),
        |ranks| ranks.drop("QUEUE"),
        |ranks| ranks.change("OPERATION", columns::without_arguments),
        |ranks| ranks.drop("CALLS"),
        |ranks| ranks.drop("CPU"),
        |ranks| ranks.drop("MEMORY"),
        |ranks| ranks.drop("PID"),
        |ranks| ranks.drop("SINCE"),
    ];
    let all = [
        column("RANK", job, |rank| Some(rank.rank.to_string())),
        column("PID", job, |rank| {
            (rank.pid != 0).then(|| rank.pid.to_string())
        }),
        column("STATE", job, columns::state),
        column("OPERATION", job, columns::operation),
        column("AT", job, columns::place),
        column("WAITS FOR", job, columns::awaited),
        column("SINCE", job, columns::since),
        column("DONE", job, columns::done),
        column("CALLS", job, |rank| Some(rank.calls.to_string())),
        column("QUEUE", job, columns::queue),
        column("CPU", job, |rank| {
            Some(text::seconds(rank.process.as_ref()?.cpu))
        }),
        column("MEMORY", job, columns::memory),
        column("CORES", job, columns::cores),
    ];
    let ranks = Columns::new(text::GAP, all)
        .without_silent(&["DONE", "QUEUE"])
        .fit(&narrower, columns);
    let rows = (0..job.ranks.len()).map(|rank| ranks.row(rank).map(str::to_owned));
    text::table_in(ranks.titles(), rows, columns)
}
