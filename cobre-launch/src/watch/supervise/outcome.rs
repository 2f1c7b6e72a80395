//! What a job has come to.

use std::time::SystemTime;

use nix::sys::signal::Signal;

use super::{Finished, Supervisor};
use crate::JobExit;
use crate::report::last_words::Known;
use crate::report::verdict::{Facts, RankEnd, decide};
use crate::watch::ending::Reason;

impl Supervisor<'_> {
    /// The exit of the job, and its last words.
    pub(super) fn conclude(&mut self) -> JobExit {
        let ends: Vec<RankEnd> = self.ranks.iter().filter_map(|rank| rank.end).collect();
        self.forget_needless_end(&ends);
        let told = self.job.first_failure();
        let facts = Facts {
            ends: &ends,
            told: told.as_ref(),
            ending: self
                .ending
                .as_ref()
                .map(|ending| (ending.reason, ending.since.duration_since(self.started))),
            keep_going: self.plan.keep_going,
        };
        let verdict = decide(&facts);
        let elapsed = self.started.elapsed();
        let known = Known {
            plan: self.plan,
            attempt: self.number,
            facts,
            verdict,
            received: &self.received,
            unkilled: &self.unkilled,
            scene: self.scene.as_deref(),
            not_formed: self.job.not_formed(),
            out_of_memory: self.oom_kills.verdict(),
            started: SystemTime::now() - elapsed,
            elapsed,
            job: &self.job.name,
            output: &self.output,
        };
        let (words, report) = known.tell();
        self.report = Some(report);
        if let Some(words) = words {
            self.output.say(&words);
        }
        if self.may_restart() && self.number < self.plan.max_restarts {
            let (next, most) = (self.number + 1, self.plan.max_restarts);
            self.output.say(&format!(
                "cobre-launch: starting the job again: restart {next} of at most {most}\n"
            ));
        }
        verdict.exit
    }

    /// A limit that passed when everybody had ended by themselves has ended nobody.
    fn forget_needless_end(&mut self, ends: &[RankEnd]) {
        let limit = |reason| matches!(reason, Reason::Timeout | Reason::Hang);
        if ends.iter().all(|end| !end.by_launcher) {
            self.ending.take_if(|ending| limit(ending.reason));
        }
    }

    pub(super) fn finished(mut self, exit: JobExit) -> Finished {
        let exit = exit.unless(self.output.is_lost());
        if let Some(report) = &mut self.report {
            report.set_exit(exit, "output of the ranks could not be written");
        }
        Finished {
            exit,
            may_restart: self.may_restart(),
            records: self.job.records(),
            report: self.report,
        }
    }

    /// Whether the job failed, and nobody wanted it to end.
    fn may_restart(&self) -> bool {
        let wanted = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ];
        let reason = self.ending.as_ref().map(|ending| ending.reason);
        reason.is_some_and(Reason::calls_for_a_restart)
            && !self.received.iter().any(|signal| wanted.contains(signal))
    }
}
