//! `metrics`: the text format of Prometheus (version 0.0.4).

use std::fmt::Write as _;

use crate::job::{Doing, Job, Rank};

/// Name, help and value of a gauge.
type OfJob = (&'static str, &'static str, fn(&Job) -> f64);
/// Name, kind, help and value, if the rank has one.
type OfRank<'a> = (
    &'static str,
    &'static str,
    &'static str,
    &'a dyn Fn(&Rank) -> Option<f64>,
);

/// The metrics of `jobs`.
pub(crate) fn text(jobs: &[Job]) -> String {
    let mut out = Page(String::new());
    out.family("cobre_jobs", "gauge", "Jobs of this user.");
    out.sample("cobre_jobs", &[], jobs.len() as f64);
    out.family(
        "cobre_job_info",
        "gauge",
        "1 for the state that the job is in.",
    );
    for job in jobs {
        out.sample(
            "cobre_job_info",
            &[("job", &job.name), ("state", job.state)],
            1.0,
        );
    }
    let of_job: [OfJob; 5] = [
        ("cobre_job_ranks", "Ranks of the job.", |job| {
            job.ranks.len() as f64
        }),
        (
            "cobre_job_uptime_seconds",
            "Since its first process started.",
            |job| job.uptime,
        ),
        ("cobre_job_failed", "1 if the job has failed.", |job| {
            f64::from(job.failure.is_some())
        }),
        (
            "cobre_job_control_bytes",
            "Control regions with their staging.",
            |job| job.memory.control as f64,
        ),
        (
            "cobre_job_window_bytes",
            "Windows that ranks have mapped.",
            |job| {
                job.memory
                    .windows
                    .iter()
                    .map(|window| window.bytes as f64)
                    .sum()
            },
        ),
    ];
    for (name, help, value) in of_job {
        out.family(name, "gauge", help);
        for job in jobs {
            out.sample(name, &[("job", &job.name)], value(job));
        }
    }
    out.family("cobre_rank_state", "gauge", "1 for what the rank does.");
    out.each(jobs, |out, labels, rank| {
        for doing in Doing::ALL {
            let labels = [labels[0], labels[1], ("state", doing.name())];
            out.sample("cobre_rank_state", &labels, f64::from(rank.doing == doing));
        }
    });
    let process =
        |rank: &Rank, value: fn(&crate::process::Facts) -> f64| rank.process.as_ref().map(value);
    let of_rank: [OfRank<'_>; 5] = [
        (
            "cobre_rank_collectives_total",
            "counter",
            "Collectives begun.",
            &|rank| Some(rank.calls as f64),
        ),
        (
            "cobre_rank_wait_seconds",
            "gauge",
            "How long the rank has slept for a peer, 0 if it does not.",
            &|rank| Some(rank.waits.map_or(0.0, |wait| wait.seconds)),
        ),
        (
            "cobre_rank_cpu_seconds_total",
            "counter",
            "CPU time of all its threads.",
            &|rank| process(rank, |facts| facts.cpu),
        ),
        (
            "cobre_rank_resident_bytes",
            "gauge",
            "Resident memory.",
            &|rank| process(rank, |facts| facts.resident as f64),
        ),
        (
            "cobre_rank_peak_bytes",
            "gauge",
            "The most resident memory so far.",
            &|rank| process(rank, |facts| facts.peak as f64),
        ),
    ];
    for (name, kind, help, value) in of_rank {
        out.family(name, kind, help);
        out.each(jobs, |out, labels, rank| {
            if let Some(value) = value(rank) {
                out.sample(name, &labels, value);
            }
        });
    }
    out.0
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let begin = if at == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('\n', r"\n");
            let _ = write!(self.0, "{begin}{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn each(&mut self, jobs: &[Job], mut sample: impl FnMut(&mut Self, [(&str, &str); 2], &Rank)) {
        for job in jobs {
            for rank in &job.ranks {
                let number = rank.rank.to_string();
                sample(self, [("job", &job.name), ("rank", &number)], rank);
            }
        }
    }
}
