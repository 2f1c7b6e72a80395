//! What is said, and written to `--report`, when a job has ended: first cause first.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use cobre_comm_trait::{CommError, FailureCause, text};
use cobre_shm::duration;
use cobre_shm::observer::NotFormed;
use nix::sys::signal::Signal;
use serde::Serialize;

use crate::JobExit;
use crate::plan::Plan;
use crate::process::signal;
use crate::relay::files::STREAMS;
use crate::relay::output::Output;
use crate::report::text::paragraph;
use crate::report::verdict::{End, Facts, RankEnd, Verdict, common_code, named};
use crate::watch::ending::Reason;
use crate::watch::job::Membership;
use crate::watch::scene::{self, Doing};

/// How many of a rank's last lines are shown ...
const LAST_LINES: usize = 10;
/// ... of these: a panic's message stands before its backtrace.
const SEARCHED: usize = 60;

/// Everything that there is to say about an attempt.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) attempt: u32,
    pub(crate) facts: Facts<'a>,
    pub(crate) verdict: Verdict,
    /// What has been sent to the job from outside.
    pub(crate) received: &'a [Signal],
    /// Ranks that could not be killed.
    pub(crate) unkilled: &'a [usize],
    /// What each rank was doing when the job failed.
    pub(crate) scene: Option<&'a [Doing]>,
    /// What kept the job from forming, other than the end of a rank.
    pub(crate) not_formed: Option<NotFormed>,
    /// What the kernel's counters say about a rank that was killed.
    pub(crate) out_of_memory: Option<&'static str>,
    pub(crate) started: SystemTime,
    pub(crate) output: &'a Output,
}

/// The outcome of an attempt, as `--report` has it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Of this format.
    version: u32,
    exit_code: u8,
    /// Why the launcher ended the job; `null` if it ended by itself.
    reason: Option<Reason>,
    /// The first of the last words, or nothing if there were none.
    summary: Option<String>,
    attempt: u32,
    started: String,
    /// When the launcher began to end the job.
    failed: Option<String>,
    first_cause: Option<Cause>,
    ranks: Vec<RankReport>,
}

#[derive(Debug, Serialize)]
struct Cause {
    rank: usize,
    pid: i32,
    time: String,
    /// In words: how it ended.
    how: String,
    out_of_memory: Option<&'static str>,
    /// `stdout` or `stderr`.
    stream: Option<&'static str>,
    last_lines: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RankReport {
    rank: usize,
    pid: i32,
    /// One of these two.
    exit_code: Option<i32>,
    signal: Option<String>,
    ended_after_seconds: f64,
    ended_by_launcher: bool,
    doing: Option<Doing>,
}

impl Report {
    /// The exit code has changed since: the output could not be written.
    pub(crate) fn set_exit(&mut self, exit: JobExit) {
        self.exit_code = exit.code();
    }
}

impl Known<'_> {
    /// What is to be said, if the job did not simply end; and the same for programs.
    pub(crate) fn tell(&self) -> (Option<String>, Report) {
        let cause = self.cause();
        let mut text = self.text(cause.as_ref());
        if !self.unkilled.is_empty() {
            text.get_or_insert_default().push_str(&self.left());
        }
        let first = text.as_deref().and_then(|text| text.lines().next());
        let summary = first.map(|line| line.trim_start_matches("cobre-launch: ").to_owned());
        let report = Report {
            version: 1,
            exit_code: self.verdict.exit.code(),
            reason: self.facts.ending.map(|(reason, _)| reason),
            summary,
            attempt: self.attempt,
            started: self.clock(Duration::ZERO),
            failed: self.facts.ending.map(|(_, since)| self.clock(since)),
            first_cause: cause,
            ranks: self.facts.ends.iter().map(|end| self.rank(end)).collect(),
        };
        (text, report)
    }

    /// Who goes on after the job.
    fn left(&self) -> String {
        let pid = |&rank: &usize| self.facts.ends[rank].pid.to_string();
        let pids: Vec<String> = self.unkilled.iter().map(pid).collect();
        format!(
            "cobre-launch: {} could not be killed and may go on (pid {}): another user's process, or one \
             that hangs in the kernel\n",
            text::ranks(self.unkilled),
            pids.join(", ")
        )
    }

    fn text(&self, cause: Option<&Cause>) -> Option<String> {
        let code = self.verdict.exit.code();
        let Some((reason, _)) = self.facts.ending else {
            return self.kept_going();
        };
        match reason {
            Reason::BrokenPipe => None,
            Reason::Interrupt => {
                Some("cobre-launch: the job was killed by a second SIGINT\n".to_owned())
            }
            Reason::GuardLost => Some(format!(
                "cobre-launch: the guard of the job was killed, without which nothing would end the \
                 job if the launcher were killed too; so the job was ended; exit code {code}\n"
            )),
            Reason::Timeout => {
                let limit = duration::show(self.plan.timeout.unwrap_or_default());
                let late = self.ranks(|end| end.by_launcher);
                let mut text = format!(
                    "cobre-launch: the job did not end within {limit} (--timeout); {} still ran\n",
                    text::ranks(&late)
                );
                text.push_str(&self.stuck());
                let _ = writeln!(text, "  exit code {code}");
                Some(text)
            }
            Reason::Hang => {
                let limit = duration::show(self.plan.hang_after.unwrap_or_default());
                let mut text =
                    format!("cobre-launch: no rank got any further for {limit} (--hang-after)\n");
                text.push_str(&self.stuck());
                let _ = writeln!(text, "  exit code {code}");
                Some(text)
            }
            Reason::Failure => Some(match cause {
                Some(cause) => self.failure(cause),
                None => {
                    let mut text = format!("cobre-launch: {}\n", self.without_cause());
                    text.push_str(&self.others(None));
                    let _ = writeln!(text, "  exit code {code}");
                    text
                }
            }),
        }
    }

    /// With `--keep-going`: who failed, and how.
    fn kept_going(&self) -> Option<String> {
        if !self.plan.keep_going {
            return None;
        }
        let text = each_failure(self.facts.ends, self.received)?;
        let killed = |end: &RankEnd| end.end == End::Signal(libc::SIGKILL);
        let memory = self
            .out_of_memory
            .filter(|_| self.facts.ends.iter().any(killed));
        let memory = memory
            .map(|verdict| paragraph(2, verdict))
            .unwrap_or_default();
        let code = self.verdict.exit.code();
        Some(format!("{text}{memory}  exit code {code}\n"))
    }

    /// Why the job failed if nobody is to blame.
    fn without_cause(&self) -> String {
        match (self.facts.told, self.not_formed) {
            (Some(told), _) => told.to_string(),
            (None, Some(why)) => format!("the job could not form: {why}"),
            (None, None) => "the job failed".to_owned(),
        }
    }

    fn failure(&self, cause: &Cause) -> String {
        let code = self.verdict.exit.code();
        if let End::Signal(number) = self.facts.ends[cause.rank].end
            && self.received.iter().any(|&signal| signal as i32 == number)
        {
            let name = signal::name(number);
            return format!("cobre-launch: the job was ended by {name}; exit code {code}\n");
        }
        let mut text = format!("cobre-launch: {}\n", cause.how);
        let end = &self.facts.ends[cause.rank];
        let _ = writeln!(
            text,
            "  at {}, {:.1} s after the start",
            cause.time,
            end.at.as_secs_f64()
        );
        if let Some(verdict) = cause.out_of_memory {
            text.push_str(&paragraph(2, verdict));
        }
        let alike = ended_alike(self.facts.ends);
        if let Some(stream) = cause.stream
            && !(alike && self.all_complained_alike(cause.rank))
        {
            let whose = match alike {
                true => format!("rank {}'s", cause.rank),
                false => "its".to_owned(),
            };
            let _ = writeln!(text, "  {whose} last lines on {stream}:");
            for line in &cause.last_lines {
                let _ = writeln!(text, "    | {line}");
            }
        }
        text.push_str(&self.others((!alike).then_some(cause.rank)));
        let ended = self.ranks(|end| end.by_launcher);
        if !ended.is_empty() {
            text.push_str(&paragraph(
                2,
                &format!("{} had to be ended", text::ranks(&ended)),
            ));
        }
        let _ = writeln!(text, "  exit code {code}");
        text
    }

    /// Whether all have written to standard error what `rank` has: then it stands there already.
    fn all_complained_alike(&self, rank: usize) -> bool {
        let last = |rank| self.output.last_lines(rank, SEARCHED);
        let one = last(rank);
        let is_error = one
            .as_ref()
            .is_some_and(|(stream, _)| *stream == STREAMS[1]);
        is_error && self.facts.ends.iter().all(|end| last(end.rank) == one)
    }

    /// What the ranks were doing when the job failed, the `cause` first, if it is one rank.
    fn others(&self, cause: Option<usize>) -> String {
        let Some(scene) = self.joined() else {
            return String::new();
        };
        let one = |rank: usize| scene::describe(std::iter::once((rank, &scene[rank])));
        let others = (0..scene.len()).filter(|&rank| Some(rank) != cause);
        let others = scene::describe(others.map(|rank| (rank, &scene[rank])));
        let heading = |title: &str, what: String| match what.is_empty() {
            true => what,
            false => format!("  {title}:\n{what}"),
        };
        match cause {
            None => heading("the ranks were, at that moment", others),
            Some(rank) => {
                heading("it was", one(rank)) + &heading("the others were, at that moment", others)
            }
        }
    }

    /// What ranks that do not get on are doing, and who is missing.
    fn stuck(&self) -> String {
        self.joined().map(stand).unwrap_or_default()
    }

    /// The scene, if any rank has ever been in the job: otherwise there is nothing to see.
    fn joined(&self) -> Option<&[Doing]> {
        self.scene
            .filter(|scene| scene.iter().any(|doing| doing.what != scene::What::Absent))
    }

    fn cause(&self) -> Option<Cause> {
        let end = &self.facts.ends[self.verdict.cause?];
        let (stream, lines) = self.output.last_lines(end.rank, SEARCHED).unzip();
        Some(Cause {
            rank: end.rank,
            pid: end.pid,
            time: self.clock(end.at),
            how: first_line(&self.facts, end),
            out_of_memory: self
                .out_of_memory
                .filter(|_| end.end == End::Signal(libc::SIGKILL)),
            stream,
            last_lines: telling(&lines.unwrap_or_default()).to_vec(),
        })
    }

    fn rank(&self, end: &RankEnd) -> RankReport {
        let (exit_code, signal) = match end.end {
            End::Code(code) => (Some(code), None),
            End::Signal(number) => (None, Some(signal::name(number))),
        };
        RankReport {
            rank: end.rank,
            pid: end.pid,
            exit_code,
            signal,
            ended_after_seconds: end.at.as_secs_f64(),
            ended_by_launcher: end.by_launcher,
            doing: self.scene.and_then(|scene| scene.get(end.rank)).cloned(),
        }
    }

    fn ranks(&self, which: impl Fn(&RankEnd) -> bool) -> Vec<usize> {
        let those = self.facts.ends.iter().filter(|end| which(end));
        those.map(|end| end.rank).collect()
    }

    /// The machine's time, in UTC, so long after the start.
    fn clock(&self, after: Duration) -> String {
        humantime::format_rfc3339_millis(self.started + after).to_string()
    }
}

/// Who is where, and who is missing.
pub(crate) fn stand(scene: &[Doing]) -> String {
    let all = scene.iter().enumerate();
    format!("{}{}", scene::describe(all), scene::diagnose(scene))
}

/// The lines to show: the last, or those from the last panic on.
fn telling(lines: &[String]) -> &[String] {
    let last = lines.len().saturating_sub(LAST_LINES);
    let panic = lines.iter().rposition(|line| line.contains("panicked at "));
    let start = panic.map_or(last, |panic| panic.min(last));
    let lines = &lines[start..lines.len().min(start + LAST_LINES)];
    let blank = lines.iter().take_while(|line| line.is_empty()).count();
    &lines[blank..]
}

fn first_line(facts: &Facts<'_>, cause: &RankEnd) -> String {
    if let Some(code) = common_code(facts.ends)
        && ended_alike(facts.ends)
    {
        return format!("all {} ranks exited with code {code}", facts.ends.len());
    }
    let who = format!("rank {} (pid {})", cause.rank, cause.pid);
    let told = facts.told.filter(|_| named(facts.told) == Some(cause.rank));
    let (how, noticed) = match (told, cause.end) {
        (Some(CommError::Aborted { code, .. }), _) => {
            (format!("aborted the job with code {code}"), None)
        }
        (Some(CommError::RankFailed { operation, .. }), _) => {
            let how = end_of(cause, cause.failure().is_none());
            (how, operation.map(|operation| operation.name()))
        }
        (Some(told), _) => (format!("{}: {told}", end_of(cause, false)), None),
        (None, _) => (end_of(cause, cause.failure().is_none()), None),
    };
    match (noticed, facts.told) {
        (Some(operation), _) => format!("{who} {how}, noticed in {operation}"),
        (None, Some(other)) if told.is_none() => {
            format!("{who} {how}; the others were told: {other}")
        }
        _ => format!("{who} {how}"),
    }
}

/// Who failed, and how; those that ended alike together. Nothing if nobody did.
fn each_failure(ends: &[RankEnd], received: &[Signal]) -> Option<String> {
    let is_bad = |end: &&RankEnd| end.end != End::Code(0);
    let failed: Vec<&RankEnd> = ends.iter().filter(is_bad).collect();
    let first = failed.first()?.end;
    if let End::Signal(number) = first
        && received.iter().any(|&signal| signal as i32 == number)
        && failed.iter().all(|end| end.end == first)
    {
        let name = signal::name(number);
        return Some(format!("cobre-launch: the job was ended by {name}\n"));
    }
    let (some, all) = (failed.len(), ends.len());
    let mut text = match some == all {
        true => format!(
            "cobre-launch: {} failed (--keep-going)\n",
            text::count(all, "rank")
        ),
        false => format!("cobre-launch: {some} of {all} ranks failed (--keep-going)\n"),
    };
    let mut kinds: Vec<String> = Vec::new();
    let mut who: Vec<Vec<usize>> = Vec::new();
    for end in failed {
        let how = match (end.end, end.failure()) {
            (End::Signal(number), _) => {
                format!("killed by {} (signal {number})", signal::name(number))
            }
            (End::Code(code), Some(FailureCause::Panicked)) => format!("panicked (code {code})"),
            (End::Code(code), _) => format!("exited with code {code}"),
        };
        let at = kinds
            .iter()
            .position(|kind| *kind == how)
            .unwrap_or_else(|| {
                kinds.push(how);
                who.push(Vec::new());
                kinds.len() - 1
            });
        who[at].push(end.rank);
    }
    for (how, ranks) in kinds.iter().zip(&who) {
        text.push_str(&paragraph(2, &format!("{}: {how}", text::ranks(ranks))));
    }
    Some(text)
}

/// Whether several ranks all ended with the same code, none because of another.
fn ended_alike(ends: &[RankEnd]) -> bool {
    let by_itself = |end: &RankEnd| !end.saw_failure && !end.by_launcher;
    ends.len() > 1 && common_code(ends).is_some() && ends.iter().all(by_itself)
}

/// How a rank ended, in words; `awaited` if nothing was wrong with it but that others needed it.
fn end_of(end: &RankEnd, awaited: bool) -> String {
    match (end.end, end.failure()) {
        (End::Signal(number), _) => {
            format!("was killed by {} (signal {number})", signal::name(number))
        }
        (End::Code(code), Some(FailureCause::Panicked)) => format!("panicked (code {code})"),
        (End::Code(code), Some(_)) if end.membership == Membership::Aborted => {
            format!("aborted the job with code {code}")
        }
        (End::Code(code), Some(_)) => format!("exited with code {code} before it joined the job"),
        (End::Code(code), None) if awaited => {
            format!("exited with code {code} while others waited for it")
        }
        (End::Code(code), None) => format!("exited with code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{LAST_LINES, telling};

    #[test]
    fn a_panic_is_shown_from_its_message_on() {
        let mut lines: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        assert_eq!(telling(&lines), &lines[20..]);
        lines[5] = "thread 'main' panicked at src/main.rs:1:1:".to_owned();
        assert_eq!(telling(&lines), &lines[5..5 + LAST_LINES]);
        lines[25] = lines[5].clone();
        assert_eq!(telling(&lines), &lines[20..]);
        assert_eq!(telling(&[String::new(), "a".to_owned()]), ["a"]);
    }
}
