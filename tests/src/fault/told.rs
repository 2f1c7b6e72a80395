//! What ranks say of a failure: the lines of `workload-rank`.

use std::io::Write;

use nix::time::{ClockId, clock_gettime};

/// The monotonic clock in nanoseconds, which all processes of a machine share.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a monotonic clock");
    now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs()
}

/// A rank says something, by one system call, so that ranks that share a pipe do not mix their
/// lines.
pub fn say(what: &str) {
    let rank = std::env::var("COBRE_SHM_RANK").unwrap_or_else(|_| "0".to_owned());
    let line = format!("@{rank} {what}\n");
    // Nobody may be left who listens.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// What one rank has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) pid: Option<u32>,
    pub(super) job: String,
    pub(super) brood: Option<u32>,
    /// When and why it could not join.
    pub(super) refused: Option<(u64, String)>,
    pub(super) joined: bool,
    /// When, in which step, and how a call failed.
    pub(super) error: Option<(u64, String, String)>,
    /// What the next call said.
    pub(super) again: Option<String>,
    pub(super) finished: bool,
    /// Received what nobody sent.
    pub(super) wrong: bool,
}

/// The end of a rank, as an error of its peers tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) rank: usize,
    pub(super) pid: u32,
    pub(super) cause: String,
}

impl Told {
    /// Reads what `rank` said out of lines of everybody.
    pub(super) fn by(rank: usize, lines: &str) -> Self {
        let mut told = Self::default();
        let mark = format!("@{rank} ");
        // A rank may die within a line, and whoever shares its pipe goes on in it.
        for line in lines.lines().filter_map(|line| line.split_once(&mark)) {
            told.hear(line.1);
        }
        told
    }

    fn hear(&mut self, line: &str) {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.splitn(2, ' ');
        let mut word = || words.next().unwrap_or_default();
        match what {
            "start" => {
                self.pid = word().parse().ok();
                word().clone_into(&mut self.job);
            }
            "brood" => self.brood = word().parse().ok(),
            "refused" => self.refused = Some((word().parse().unwrap_or(0), word().to_owned())),
            "joined" => self.joined = true,
            "error" => {
                let at = word().parse().unwrap_or(0);
                let (step, error) = word().split_once(' ').unwrap_or_default();
                self.error = Some((at, step.to_owned(), error.to_owned()));
            }
            "again" => self.again = Some(rest.to_owned()),
            "wrong" => self.wrong = true,
            "finished" => self.finished = true,
            _ => {}
        }
    }

    /// When it knew that something was wrong.
    pub(super) fn knew(&self) -> Option<u64> {
        let error = self.error.as_ref().map(|(at, ..)| *at);
        error.or(self.refused.as_ref().map(|(at, _)| *at))
    }
}

impl Named {
    /// Reads `RankFailed { rank: 1, pid: 23, cause: Died, .. }`.
    pub(super) fn in_error(debug: &str) -> Option<Self> {
        let fields = debug.strip_prefix("RankFailed { rank: ")?;
        let (rank, fields) = fields.split_once(", pid: ")?;
        let (pid, fields) = fields.split_once(", cause: ")?;
        let (cause, _) = fields.split_once(", operation: ")?;
        Some(Self {
            rank: rank.parse().ok()?,
            pid: pid.parse().ok()?,
            cause: cause.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Named, Told};

    #[test]
    fn lines_are_read_back() {
        let lines = "> @0 start 12 /cobre-x\n> @1 start 13 /cobre-x\n> @0 joi> @1 joined\n\
            > @0 joined\n> @0 error 5 publish RankFailed { rank: 1, pid: 13, cause: \
            Exited(Some(7)), operation: Some(Fence) }\n> @0 again ok\n";
        let told = Told::by(0, lines);
        assert_eq!((told.pid, told.job.as_str()), (Some(12), "/cobre-x"));
        assert!(told.joined && !told.finished);
        let (at, step, error) = told.error.expect("an error");
        assert_eq!((at, step.as_str()), (5, "publish"));
        let named = Named::in_error(&error).expect("names a rank");
        assert_eq!((named.rank, named.pid), (1, 13));
        assert_eq!(named.cause, "Exited(Some(7))");
        assert_eq!(told.again.as_deref(), Some("ok"));
        assert!(Told::by(1, lines).joined);
    }
}
