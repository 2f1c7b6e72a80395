//! The exit code, in one place.

/// How the launcher ends.
///
/// | code | meaning |
/// |---|---|
/// | 0 | every rank ended with 0 |
/// | N | every rank ended with N; or the first cause of a failure did, or aborted with it; or no rank failed and N is the lowest rank's that is not 0 |
/// | 128+S | the first cause was ended by signal S (137 is SIGKILL); 130 also after a second SIGINT |
/// | | with `--keep-going`: the highest of N and 128+S of all ranks |
/// | 1 | the launcher could not do its work (write the ranks' output, for example); or a rank ended with 0 while others waited for it |
/// | 2 | usage: the command line makes no job |
/// | 123 | `--hang-after`: no rank made progress |
/// | 124 | `--timeout` passed |
/// | 126 | a program was found but cannot be executed |
/// | 127 | a program was not found |
/// | 141 | whoever read the launcher's standard output went away (128 + SIGPIPE) |
///
/// "First cause" is defined by the rules of the module `verdict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobExit {
    /// Every rank ended with 0.
    Success,
    /// The launcher could not do its work.
    Launcher,
    /// The command line makes no job.
    Usage,
    /// The job was ended because no rank made progress.
    Hang,
    /// The job was ended because its time was up.
    Timeout,
    /// A program was found but cannot be executed.
    NotExecutable,
    /// A program was not found.
    NotFound,
    /// The reader of standard output went away.
    BrokenPipe,
    /// The code of a rank.
    Code(u8),
    /// A rank, or the whole job, was ended by this signal.
    Signal(i32),
}

impl JobExit {
    /// The table as `--help` shows it.
    pub(crate) const TABLE: &str = "\
Exit code:
  0      every rank ended with 0
  N      every rank ended with N, or the first cause of a failure did, or aborted
         with it; if nothing failed: the lowest rank's code that is not 0
  128+S  the first cause was ended by signal S (137: killed)
         (--keep-going: the highest of N and 128+S of all ranks)
  1      the launcher could not do its work (no shared memory, no processes), or a
         rank ended with 0 while others waited for it
  2      usage
  123    --hang-after: no rank made progress
  124    --timeout passed
  126    program found but not executable
  127    program not found
  141    the reader of the launcher's standard output went away";

    /// The exit of a rank that asked for `code`: what the kernel keeps of it.
    pub(crate) fn from_code(code: i32) -> Self {
        match u8::try_from(code & 0xff) {
            Ok(0) | Err(_) => Self::Success,
            Ok(code) => Self::Code(code),
        }
    }

    /// The same, but no success if the launcher has `failed` to write something.
    pub(crate) fn unless(self, failed: bool) -> Self {
        match self {
            Self::Success if failed => Self::Launcher,
            exit => exit,
        }
    }

    /// The number that the launcher's parent sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Launcher => 1,
            Self::Usage => 2,
            Self::Hang => 123,
            Self::Timeout => 124,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::BrokenPipe => 141,
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

impl From<JobExit> for std::process::ExitCode {
    fn from(exit: JobExit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::JobExit;

    #[test]
    fn codes_are_those_of_the_table() {
        for (exit, code) in [
            (JobExit::from_code(0), 0),
            (JobExit::from_code(256), 0),
            (JobExit::from_code(-1), 255),
            (JobExit::from_code(5), 5),
            (JobExit::Signal(9), 137),
            (JobExit::Signal(64), 192),
            (JobExit::Hang, 123),
            (JobExit::Timeout, 124),
            (JobExit::BrokenPipe, 141),
        ] {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
