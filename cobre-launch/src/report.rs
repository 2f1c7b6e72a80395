//! Everything that the launcher itself says.

use std::fmt::Write as _;
use std::time::Duration;

use cobre_comm_trait::{CommError, FailureCause};
use nix::sys::signal::Signal;

use crate::JobExit;
use crate::ending::Reason;
use crate::error::LaunchError;
use crate::job::Membership;
use crate::output::Output;
use crate::plan::Plan;
use crate::verdict::{End, Facts, RankEnd, Verdict, common_code, named};
use crate::{duration, signal};

/// How many of a rank's last lines are shown ...
const LAST_LINES: usize = 10;
/// ... of these: a panic's message stands before its backtrace.
const SEARCHED: usize = 60;

/// Says what is wrong with the command line.
pub(crate) fn usage(error: &clap::Error) -> JobExit {
    // Without standard error there is nobody to tell.
    let _ = error.print();
    JobExit::Usage
}

/// Says what stopped the launcher.
#[allow(clippy::print_stderr)]
pub(crate) fn complain(error: &LaunchError) {
    eprintln!("cobre-launch: {error}");
}

/// Shows what would be started.
#[allow(clippy::print_stdout)]
pub(crate) fn dry_run(plan: &Plan, bindings: Option<&str>) -> JobExit {
    print!("{}{}", describe_plan(plan), bindings.unwrap_or_default());
    JobExit::Success
}

/// With `--report-bindings`: the machine with the ranks in it.
#[allow(clippy::print_stderr)]
pub(crate) fn bindings(picture: &str) {
    eprint!("{picture}");
}

fn describe_plan(plan: &Plan) -> String {
    let mut text = String::new();
    let ranks = count(plan.ranks.len(), "rank");
    let _ = writeln!(text, "{ranks} on {}", count(plan.cores, "usable core"));
    for rank in 0..plan.ranks.len() {
        let program = plan.program(rank);
        let _ = write!(text, "rank {rank}:");
        if let Some(folder) = &program.folder {
            let _ = write!(text, " cd {} &&", quote(&folder.to_string_lossy()));
        }
        let identity = plan.identity(rank, "/cobre-RANDOM", "PID").into_iter();
        let identity = identity.map(|(name, value)| (name.to_owned(), value));
        let threads = plan.ranks[rank].threads.iter();
        let threads = threads.map(|(name, n)| ((*name).to_owned(), n.to_string()));
        let lossy = |text: &std::ffi::OsString| text.to_string_lossy().into_owned();
        let own = program
            .env
            .iter()
            .map(|(name, value)| (lossy(name), lossy(value)));
        for (name, value) in own.chain(identity).chain(threads) {
            let _ = write!(text, " {name}={}", quote(&value));
        }
        for word in std::iter::once(&program.name).chain(&program.args) {
            let _ = write!(text, " {}", quote(&word.to_string_lossy()));
        }
        text.push('\n');
    }
    text
}

/// `word` as a shell would read it back.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `1 rank`, `2 ranks`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// With `-v`: the job that begins.
pub(crate) fn begin(plan: &Plan, name: &str, pids: impl Iterator<Item = i32>) -> String {
    let ranks = count(plan.ranks.len(), "rank");
    let cores = count(plan.cores, "usable core");
    let mut text = format!("cobre-launch: job {name}: {ranks} on {cores}\n");
    for (rank, pid) in pids.enumerate() {
        let program = plan.program(rank).path.display();
        let _ = writeln!(text, "cobre-launch: rank {rank} is pid {pid}, {program}");
    }
    text
}

/// With `-v`: a rank that has ended.
pub(crate) fn ended(end: &RankEnd) -> String {
    let how = match end.end {
        End::Code(code) => format!("exited with code {code}"),
        End::Signal(signal) => format!("was ended by {}", signal::name(signal)),
    };
    let after = end.at.as_secs_f64();
    format!(
        "cobre-launch: rank {} (pid {}) {how} after {after:.3}s\n",
        end.rank, end.pid
    )
}

/// The last words, if the job did not simply end.
pub(crate) fn last_words(
    facts: &Facts<'_>,
    verdict: Verdict,
    received: &[Signal],
    timeout: Option<Duration>,
    output: &Output,
) -> Option<String> {
    let code = verdict.exit.code();
    match facts.ending?.0 {
        Reason::BrokenPipe => None,
        Reason::Interrupt => Some("cobre-launch: the job was killed by a second SIGINT\n".into()),
        Reason::GuardLost => Some(format!(
            "cobre-launch: the guard of the job was killed, without which nothing would end the \
             job if the launcher were killed too; so the job was ended; exit code {code}\n"
        )),
        Reason::Timeout => {
            let limit = duration::show(timeout.unwrap_or_default());
            let late: Vec<usize> = ranks(facts, |end| end.by_launcher);
            Some(format!(
                "cobre-launch: the job did not end within {limit} (--timeout); {} still ran; \
                 exit code {code}\n",
                list(&late)
            ))
        }
        Reason::Failure => match verdict.cause {
            Some(cause) => Some(failure(facts, &facts.ends[cause], code, received, output)),
            None => Some(match facts.told {
                Some(told) => format!("cobre-launch: {told}; exit code {code}\n"),
                None => format!("cobre-launch: the job failed; exit code {code}\n"),
            }),
        },
    }
}

fn failure(
    facts: &Facts<'_>,
    cause: &RankEnd,
    code: u8,
    received: &[Signal],
    output: &Output,
) -> String {
    if let End::Signal(number) = cause.end
        && received.iter().any(|&signal| signal as i32 == number)
    {
        let name = signal::name(number);
        return format!("cobre-launch: the job was ended by {name}; exit code {code}\n");
    }
    let mut text = format!("cobre-launch: {}\n", first_line(facts, cause));
    if let Some((stream, lines)) = output.last_lines(cause.rank, SEARCHED) {
        let _ = writeln!(text, "  its last lines on {stream}:");
        for line in telling(&lines) {
            let _ = writeln!(text, "    | {line}");
        }
    }
    let ended = ranks(facts, |end| end.by_launcher);
    if !ended.is_empty() {
        let _ = writeln!(text, "  {} had to be ended", list(&ended));
    }
    let _ = writeln!(text, "  exit code {code}");
    text
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
        && facts.ends.len() > 1
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

fn ranks(facts: &Facts<'_>, which: impl Fn(&RankEnd) -> bool) -> Vec<usize> {
    let those = facts.ends.iter().filter(|end| which(end));
    those.map(|end| end.rank).collect()
}

/// `rank 3`, `ranks 0-2, 5`.
fn list(ranks: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &rank in ranks {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == rank => *last = rank,
            _ => runs.push((rank, rank)),
        }
    }
    let runs: Vec<String> = runs
        .iter()
        .map(|&(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        })
        .collect();
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("{noun} {}", runs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{LAST_LINES, list, quote, telling};

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

    #[test]
    fn words_are_quoted_only_where_a_shell_needs_it() {
        for (word, quoted) in [
            ("./a-b_c.d", "./a-b_c.d"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$X", "'$X'"),
        ] {
            assert_eq!(quote(word), quoted);
        }
    }

    #[test]
    fn ranks_are_listed_in_runs() {
        assert_eq!(list(&[3]), "rank 3");
        assert_eq!(list(&[0, 1, 2, 5, 7, 8]), "ranks 0-2, 5, 7-8");
    }
}
