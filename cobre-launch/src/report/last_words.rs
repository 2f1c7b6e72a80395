//! What is said, and written to `--report`, when a job has ended: first cause first.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use cobre_comm_trait::{CommError, FailureCause, text};
use cobre_shm::duration;
use cobre_shm::observer::NotFormed;
use nix::sys::signal::Signal;

use crate::plan::Plan;
use crate::process::signal;
use crate::relay::fit::line;
use crate::relay::output::Output;
use crate::report::attempt::{Cause, Report};
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
    /// How long ago that was.
    pub(crate) elapsed: Duration,
    /// The name of the job.
    pub(crate) job: &'a str,
    pub(crate) output: &'a Output,
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
        let report = Report::new(self, summary, cause);
        // A pipe's reader that has seen enough, like `head`, is nothing to complain of.
        let is_reader = matches!(self.facts.ending, Some((Reason::BrokenPipe, _)));
        (
            text.filter(|_| !is_reader || !self.unkilled.is_empty()),
            report,
        )
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
            return match self.plan.keep_going {
                true => self.kept_going(),
                false => self.codes(),
            };
        };
        match reason {
            Reason::BrokenPipe => Some(
                "cobre-launch: the reader of standard output went away, so the job was ended\n"
                    .to_owned(),
            ),
            Reason::Interrupt => {
                Some("cobre-launch: the job was killed by a second SIGINT\n".to_owned())
            }
            Reason::GuardLost => Some(format!(
                "cobre-launch: the guard of the job was killed. Without it nothing would end the job \
                 if the launcher were killed too, so the job was ended; exit code {code}\n"
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
                    format!("cobre-launch: no rank made progress for {limit} (--hang-after)\n");
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
        let text = each_failure(self.facts.ends, self.received)?;
        let killed = |end: &RankEnd| end.end == End::Signal(libc::SIGKILL);
        let memory = self
            .out_of_memory
            .filter(|_| self.facts.ends.iter().any(killed));
        let memory = memory.map(|verdict| line(2, verdict)).unwrap_or_default();
        let code = self.verdict.exit.code();
        Some(format!("{text}{memory}  exit code {code}\n"))
    }

    /// Who ended with which code, if all ended by themselves and not all with 0.
    fn codes(&self) -> Option<String> {
        let ends = self.facts.ends;
        let failed: Vec<&RankEnd> = failed(ends).collect();
        let first = failed.first()?;
        let said = match &kinds(&failed)[..] {
            _ if ended_alike(ends) => first_line(&self.facts, first),
            [(how, ranks)] if ranks.len() == 1 => {
                format!("rank {} (pid {}) {how}", first.rank, first.pid)
            }
            [(how, ranks)] => format!("{} {how}", text::ranks(ranks)),
            kinds => {
                let kind =
                    |(how, ranks): &(String, Vec<usize>)| format!("{} {how}", text::ranks(ranks));
                let kinds: Vec<String> = kinds.iter().map(kind).collect();
                let code = self.verdict.exit.code();
                format!("{}; exit code {code}", kinds.join(", "))
            }
        };
        Some(format!("cobre-launch: {said}\n"))
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
            "  at {}, {} after the start",
            cause.time,
            text::duration(end.at)
        );
        if let Some(verdict) = cause.out_of_memory {
            text.push_str(&line(2, verdict));
        }
        let alike = ended_alike(self.facts.ends);
        if let Some(stream) = cause.stream {
            let whose = match alike {
                true => format!("the last lines of rank {} on {stream}", cause.rank),
                false => format!("its last lines on {stream}"),
            };
            let whose = match &cause.same_lines[..] {
                [] => format!("{whose}:"),
                same => format!("{whose} ({} wrote the same):", text::ranks(same)),
            };
            text.push_str(&line(2, &whose));
            for line in &cause.last_lines {
                let _ = writeln!(text, "    | {line}");
            }
        }
        text.push_str(&self.others((!alike).then_some(cause.rank)));
        let ended = self.ranks(|end| end.by_launcher);
        if !ended.is_empty() {
            text.push_str(&line(
                2,
                &format!("{} had to be ended", text::ranks(&ended)),
            ));
        }
        let _ = writeln!(text, "  exit code {code}");
        text
    }

    /// The last lines that `rank` wrote, as far as they tell something, and to which stream.
    fn last_lines(&self, rank: usize) -> Option<(&'static str, Vec<String>)> {
        let (stream, lines) = self.output.last_lines(rank, SEARCHED)?;
        Some((stream, telling(&lines).to_vec()))
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
            None => heading("the ranks were, when the failure was noticed", others),
            Some(rank) => {
                heading("it was", one(rank))
                    + &heading("the others were, when the failure was noticed", others)
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
        let last = self.last_lines(end.rank);
        let said = |end: &RankEnd| {
            let (stream, lines) = self.last_lines(end.rank)?;
            let lines = lines.iter().map(|line| without_self(line, end));
            Some((stream, lines.collect::<Vec<String>>()))
        };
        let its = said(end);
        let says_the_same = |other: &RankEnd| other.rank != end.rank && said(other) == its;
        let same_lines = match last {
            Some(_) => self.ranks(says_the_same),
            None => Vec::new(),
        };
        let (stream, last_lines) = last.unzip();
        Some(Cause {
            rank: end.rank,
            pid: end.pid,
            time: self.clock(end.at),
            how: first_line(&self.facts, end),
            out_of_memory: self
                .out_of_memory
                .filter(|_| end.end == End::Signal(libc::SIGKILL)),
            stream,
            last_lines: last_lines.unwrap_or_default(),
            same_lines,
        })
    }

    fn ranks(&self, which: impl Fn(&RankEnd) -> bool) -> Vec<usize> {
        let those = self.facts.ends.iter().filter(|end| which(end));
        those.map(|end| end.rank).collect()
    }

    /// The machine's time, in UTC, so long after the start.
    pub(crate) fn clock(&self, after: Duration) -> String {
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

/// `line` without the numbers of the rank that wrote it, its own and its process'.
fn without_self(line: &str, end: &RankEnd) -> String {
    let (rank, pid) = (end.rank.to_string(), end.pid.to_string());
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(begin) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(begin);
        let length = number.find(|c: char| !c.is_ascii_digit());
        let (number, after) = number.split_at(length.unwrap_or(number.len()));
        out.push_str(before);
        match number == pid || (number == rank && before.ends_with("rank ")) {
            true => out.push('#'),
            false => out.push_str(number),
        }
        rest = after;
    }
    out.push_str(rest);
    out
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
    let failed: Vec<&RankEnd> = failed(ends).collect();
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
        true => format!("cobre-launch: {} failed\n", text::count(all, "rank")),
        false => format!("cobre-launch: {some} of {all} ranks failed\n"),
    };
    for (how, ranks) in kinds(&failed) {
        text.push_str(&line(2, &format!("{}: {how}", text::ranks(&ranks))));
    }
    Some(text)
}

fn failed(ends: &[RankEnd]) -> impl Iterator<Item = &RankEnd> {
    ends.iter().filter(|end| end.end != End::Code(0))
}

/// How these ranks ended, each way once, with all ranks that did.
fn kinds(ends: &[&RankEnd]) -> Vec<(String, Vec<usize>)> {
    let mut kinds: Vec<(String, Vec<usize>)> = Vec::new();
    for end in ends {
        let how = match (end.end, end.failure()) {
            (End::Signal(number), _) => {
                format!("killed by {} (signal {number})", signal::name(number))
            }
            (End::Code(code), Some(FailureCause::Panicked)) => format!("panicked (code {code})"),
            (End::Code(code), _) => format!("exited with code {code}"),
        };
        match kinds.iter_mut().find(|(known, _)| *known == how) {
            Some((_, ranks)) => ranks.push(end.rank),
            None => kinds.push((how, vec![end.rank])),
        }
    }
    kinds
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
        (End::Code(code), None) if awaited && end.membership == Membership::Absent => {
            format!("exited with code {code} without joining while others waited for it")
        }
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
