//! `show`: one job, everything that can be seen of it.

use std::fmt::Write as _;

use crate::{
    diagnosis,
    job::{Job, Rank, Said},
    text,
};

pub(crate) fn show(job: &Job) -> String {
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
    let _ = writeln!(said, "{role} {}{gone}: {}", founder.pid, founder.command);
    said.push('\n');
    let header = [
        "RANK",
        "PID",
        "STATE",
        "OPERATION",
        "AT",
        "WAITS FOR",
        "SINCE",
        "CALLS",
        "QUEUE",
        "CPU",
        "MEMORY",
        "CORES",
    ];
    said += &text::table(header, job.ranks.iter().map(row));
    for rank in &job.ranks {
        let words = rank.said.as_ref().map(Said::show);
        if let Some(words) = words.filter(|words| !words.is_empty()) {
            let _ = writeln!(said, "rank {}: {words}", rank.rank);
        }
    }
    let sentences = diagnosis::sentences(job);
    if !sentences.is_empty() {
        said.push('\n');
    }
    for sentence in sentences {
        let _ = writeln!(said, "{sentence}");
    }
    said.push('\n');
    let memory = &job.memory;
    let splits = match job.splits {
        0 => String::new(),
        n => format!(", of {} communicators", n + 1),
    };
    let _ = writeln!(
        said,
        "control regions {}{splits}, staging {} among it; layout version {}",
        text::bytes(memory.control),
        text::bytes(memory.staging),
        job.layout_version
    );
    for window in &memory.windows {
        let nodes: Vec<String> = window
            .nodes
            .iter()
            .map(|(node, bytes)| format!("node {node}: {}", text::bytes(*bytes)))
            .collect();
        let nodes = if nodes.is_empty() {
            "no page touched".to_owned()
        } else {
            nodes.join(", ")
        };
        let _ = writeln!(
            said,
            "window #{}: {}, mapped by {}; {nodes}",
            window.inode,
            text::bytes(window.bytes),
            text::count(window.ranks, "rank")
        );
    }
    said
}

fn row(rank: &Rank) -> [String; 12] {
    let operation = rank.operation.as_ref();
    let process = rank.process.as_ref();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let state = match process {
        Some(facts) if facts.state == 'T' => "stopped",
        _ => rank.doing.name(),
    };
    [
        rank.rank.to_string(),
        or_dash((rank.pid != 0).then(|| rank.pid.to_string())),
        state.to_owned(),
        or_dash(operation.map(|op| op.show())),
        or_dash(
            operation
                .and_then(|op| op.location.as_deref())
                .map(|at| text::tail(at, 40)),
        ),
        or_dash(rank.waits.map(|wait| format!("rank {}", wait.rank))),
        or_dash(rank.waits.map(|wait| text::seconds(wait.seconds))),
        rank.calls.to_string(),
        or_dash(rank.said.as_ref().map(|said| said.queue.to_string())),
        or_dash(process.map(|facts| text::seconds(facts.cpu))),
        or_dash(process.map(|facts| text::bytes(facts.resident))),
        or_dash(process.and_then(|facts| facts.allowed.clone())),
    ]
}
