//! `metrics`: the text format of Prometheus (version 0.0.4).

mod page;

use cobre_shm::board::State;

use crate::{
    board::{Board, Row},
    job::{self, Job, Rank},
    process::Facts,
};
use page::{Family, Page, gauge};

/// The metrics of `jobs` and `boards`.
pub(crate) fn text(jobs: &[Job], boards: &[Board]) -> String {
    let mut page = Page::default();
    page.family(gauge("cobre_jobs", "Jobs of this user."));
    page.sample(&[], jobs.len() as f64);
    of_jobs(&mut page, jobs);
    of_ranks(&mut page, jobs);
    page.family(gauge("cobre_boards", "Standing boards of this user."));
    page.sample(&[], boards.len() as f64);
    of_boards(&mut page, boards);
    page.text()
}

/// What a job or a rank has of a family; `None` if nothing is known.
type Value<T> = fn(&T) -> Option<f64>;

fn of_jobs(page: &mut Page, jobs: &[Job]) {
    page.family(gauge(
        "cobre_job_info",
        "1 for the state that the job is in.",
    ));
    for job in jobs {
        page.sample(&[("job", &job.name), ("state", job.state)], 1.0);
    }
    page.family(gauge(
        "cobre_job_failure_info",
        "1 for the first failure of a job that has failed, in words.",
    ));
    for job in jobs {
        if let Some(cause) = &job.failure {
            page.sample(&[("job", &job.name), ("cause", cause)], 1.0);
        }
    }
    let families: [(Family, Value<Job>); 5] = [
        (gauge("cobre_job_ranks", "Ranks of the job."), |job| {
            Some(job.ranks.len() as f64)
        }),
        (
            gauge(
                "cobre_job_uptime_seconds",
                "Since its first process started.",
            ),
            |job| job.uptime,
        ),
        (
            gauge("cobre_job_failed", "1 if the job has failed."),
            |job| Some(f64::from(job.failure.is_some())),
        ),
        (
            gauge(
                "cobre_job_control_bytes",
                "Control regions with their staging.",
            ),
            |job| Some(job.memory.control as f64),
        ),
        (
            gauge("cobre_job_window_bytes", "Windows that ranks have mapped."),
            |job| {
                let windows = job.memory.windows.iter().map(|window| window.bytes);
                Some(windows.fold(0, u64::saturating_add) as f64)
            },
        ),
    ];
    for (family, value) in families {
        page.family(family);
        for job in jobs {
            page.sample_if(&[("job", &job.name)], value(job));
        }
    }
}

fn of_ranks(page: &mut Page, jobs: &[Job]) {
    let ranks = || {
        jobs.iter()
            .flat_map(|job| job.ranks.iter().map(move |rank| (job, rank)))
    };
    page.family(gauge("cobre_rank_state", "1 for what the rank does."));
    for (job, rank) in ranks() {
        let number = rank.rank.to_string();
        for state in job::states() {
            let labels = [("job", &*job.name), ("rank", &number), ("state", state)];
            page.sample(&labels, f64::from(rank.state() == state));
        }
    }
    let families: [(Family, Value<Rank>); 7] = [
        (
            Family::counter("cobre_rank_collectives_total", "Collectives begun."),
            |rank| Some(rank.calls as f64),
        ),
        (
            gauge(
                "cobre_rank_wait_seconds",
                "How long the rank has slept for a peer, 0 if it does not.",
            ),
            |rank| Some(rank.waits.map_or(0.0, |wait| wait.seconds)),
        ),
        (
            gauge(
                "cobre_rank_progress_done",
                "Units of work done, as the rank reports.",
            ),
            |rank| Some(progress(rank)?.0 as f64),
        ),
        (
            gauge(
                "cobre_rank_progress_goal",
                "Units of work in all, as the rank reports; 0 if it does not know.",
            ),
            |rank| Some(progress(rank)?.1 as f64),
        ),
        (
            Family::counter(
                "cobre_rank_cpu_seconds_total",
                "CPU time of all its threads.",
            ),
            |rank| process(rank, |facts| facts.cpu),
        ),
        (
            gauge("cobre_rank_resident_bytes", "Resident memory."),
            |rank| process(rank, |facts| facts.resident as f64),
        ),
        (
            gauge("cobre_rank_peak_bytes", "The most resident memory so far."),
            |rank| process(rank, |facts| facts.peak as f64),
        ),
    ];
    for (family, value) in families {
        page.family(family);
        for (job, rank) in ranks() {
            let number = rank.rank.to_string();
            page.sample_if(&[("job", &job.name), ("rank", &number)], value(rank));
        }
    }
}

fn progress(rank: &Rank) -> Option<(u64, u64)> {
    rank.said.as_ref()?.progress
}

fn process(rank: &Rank, value: fn(&Facts) -> f64) -> Option<f64> {
    rank.process.as_ref().map(value)
}

fn of_boards(page: &mut Page, boards: &[Board]) {
    let members = || {
        let boards = boards.iter();
        boards.flat_map(|board| board.members.iter().map(move |member| (board, member)))
    };
    page.family(gauge(
        "cobre_member_state",
        "1 for what a member of a board that is there says it does.",
    ));
    for (board, member) in members() {
        let said = member.said.as_ref().filter(|_| member.alive);
        for state in State::ALL.map(State::name) {
            let labels = [
                ("board", &*board.name),
                ("member", &member.name),
                ("state", state),
            ];
            let is = said.is_some_and(|said| said.state == state);
            page.sample(&labels, f64::from(is));
        }
    }
    let families: [(Family, Value<Row>); 6] = [
        (
            gauge("cobre_member_up", "1 if the member is there."),
            |member| Some(f64::from(member.alive)),
        ),
        (
            gauge("cobre_member_queue", "Requests that wait at it."),
            |member| Some(member.said.as_ref()?.queue as f64),
        ),
        (
            Family::counter("cobre_member_items_total", "Items done since it joined."),
            |member| Some(member.said.as_ref()?.items as f64),
        ),
        (
            gauge("cobre_member_age_seconds", "Since its last update."),
            |member| Some(member.said.as_ref()?.age),
        ),
        (
            Family::counter("cobre_member_cpu_seconds_total", "CPU time, as it says."),
            |member| member.cpu,
        ),
        (
            gauge(
                "cobre_member_resident_bytes",
                "Resident memory, as it says.",
            ),
            |member| Some(member.resident? as f64),
        ),
    ];
    for (family, value) in families {
        page.family(family);
        for (board, member) in members() {
            let labels = [("board", &*board.name), ("member", &member.name)];
            page.sample_if(&labels, value(member));
        }
    }
}
