//! `show`: one job, everything that can be seen of it, in the columns that there are.

use std::fmt::Write as _;

use crate::{
    diagnosis,
    job::{Doing, Job, Memory, Rank, Said},
    memory::Window,
    text,
};

/// The job, in lines of at most so many `columns`.
pub(crate) fn show(job: &Job, columns: Option<usize>) -> String {
    let mut said = String::new();
    let _ = writeln!(
        said,
        "job {}: {}, {}, up {}",
        job.name,
        text::count(job.ranks.len(), "rank"),
        job.state,
        text::seconds(job.uptime)
    );
    let founder = &job.founder;
    let role = if founder.is_launcher {
        "launcher"
    } else {
        "founded by"
    };
    let gone = if founder.alive { "" } else { " (gone)" };
    let founder = format!("{role} {}{gone}: {}", founder.pid, founder.command);
    said += &text::front(&founder, columns.unwrap_or(usize::MAX));
    said.push_str("\n\n");
    // First what somebody who is worried looks for.
    let counts = format!("{}\n", summary(job));
    said += &counts;
    for sentence in diagnosis::sentences(job) {
        said += &text::paragraph(&sentence, columns);
    }
    said.push('\n');
    said += &Ranks::of(job).show(columns);
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

/// `1 computing, 7 waiting`.
pub(crate) fn summary(job: &Job) -> String {
    let count = |doing: Doing| job.ranks.iter().filter(|rank| rank.doing == doing).count();
    let counts: Vec<String> = Doing::ALL
        .into_iter()
        .map(|doing| (count(doing), doing))
        .filter(|(count, _)| *count > 0)
        .map(|(count, doing)| format!("{count} {}", doing.name()))
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

/// The table of the ranks, by columns.
struct Ranks(Vec<(&'static str, Vec<String>)>);

impl Ranks {
    fn of(job: &Job) -> Self {
        let column = |title, cell: fn(&Rank) -> String| {
            let cells = job.ranks.iter().map(cell);
            (title, cells.collect())
        };
        Self(vec![
            column("RANK", |rank| rank.rank.to_string()),
            column("PID", |rank| {
                or_dash((rank.pid != 0).then(|| rank.pid.to_string()))
            }),
            column("STATE", |rank| state(rank).to_owned()),
            column("OPERATION", |rank| {
                or_dash(rank.operation.as_ref().map(|op| op.show()))
            }),
            column("AT", |rank| {
                let at = rank
                    .operation
                    .as_ref()
                    .and_then(|op| op.location.as_deref());
                or_dash(at.map(|at| text::tail(at, 40)))
            }),
            column("WAITS FOR", |rank| {
                or_dash(rank.waits.map(|wait| format!("rank {}", wait.rank)))
            }),
            column("SINCE", |rank| {
                or_dash(rank.waits.map(|wait| text::seconds(wait.seconds)))
            }),
            column("DONE", |rank| {
                or_dash(rank.said.as_ref().and_then(Said::done))
            }),
            column("CALLS", |rank| rank.calls.to_string()),
            column("QUEUE", |rank| {
                or_dash(rank.said.as_ref().map(|said| said.queue.to_string()))
            }),
            column("CPU", |rank| {
                or_dash(rank.process.as_ref().map(|facts| text::seconds(facts.cpu)))
            }),
            column("MEMORY", |rank| {
                let facts = rank.process.as_ref();
                or_dash(facts.map(|facts| text::bytes(facts.resident)))
            }),
            column("CORES", |rank| {
                let facts = rank.process.as_ref();
                or_dash(facts.and_then(|facts| facts.allowed.clone()))
            }),
        ])
    }

    fn show(mut self, columns: Option<usize>) -> String {
        // What says nothing about any rank.
        self.0
            .retain(|(title, cells)| *title != "DONE" || cells.iter().any(|cell| cell != "-"));
        // What can be done without, from the least on.
        let narrower: [fn(&mut Self); 8] = [
            |ranks| ranks.change("AT", |at| at.rsplit('/').next().unwrap_or(at).to_owned()),
            |ranks| ranks.drop("CORES"),
            |ranks| ranks.drop("QUEUE"),
            |ranks| ranks.change("OPERATION", without_arguments),
            |ranks| ranks.drop("CALLS"),
            |ranks| ranks.drop("CPU"),
            |ranks| ranks.drop("MEMORY"),
            |ranks| ranks.drop("PID"),
        ];
        let fits = |ranks: &Self| columns.is_none_or(|columns| ranks.width() <= columns);
        for narrow in narrower {
            if fits(&self) {
                break;
            }
            narrow(&mut self);
        }
        let header: Vec<&str> = self.0.iter().map(|(title, _)| *title).collect();
        let ranks = self.0.first().map_or(0, |(_, cells)| cells.len());
        let row = |rank: usize| self.0.iter().map(move |(_, cells)| cells[rank].clone());
        text::table_in(header, (0..ranks).map(row), columns)
    }

    /// Of the whole table, in characters.
    fn width(&self) -> usize {
        let widest = |(title, cells): &(&str, Vec<String>)| {
            let cells = cells.iter().map(|cell| cell.chars().count());
            cells.max().unwrap_or(0).max(title.len()) + text::GAP
        };
        self.0.iter().map(widest).sum::<usize>() - text::GAP
    }

    fn drop(&mut self, title: &str) {
        self.0.retain(|(other, _)| *other != title);
    }

    fn change(&mut self, title: &str, change: fn(&str) -> String) {
        for (_, cells) in self.0.iter_mut().filter(|(other, _)| *other == title) {
            cells.iter_mut().for_each(|cell| *cell = change(cell));
        }
    }
}

/// `allreduce #17` of `allreduce(f64[3], sum) #17`.
fn without_arguments(operation: &str) -> String {
    match (operation.split_once('('), operation.rsplit_once(')')) {
        (Some((name, _)), Some((_, number))) => format!("{name}{number}"),
        _ => operation.to_owned(),
    }
}

fn state(rank: &Rank) -> &'static str {
    match &rank.process {
        Some(facts) if facts.state == 'T' => "stopped",
        _ => rank.doing.name(),
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::without_arguments;

    #[test]
    fn operations_are_known_without_their_arguments() {
        assert_eq!(
            without_arguments("allreduce(f64[3], Sum) #17"),
            "allreduce #17"
        );
        assert_eq!(
            without_arguments("barrier() #5 of split 2"),
            "barrier #5 of split 2"
        );
        assert_eq!(without_arguments("-"), "-");
    }
}
