//! `--profile` and `--trace`: what is made of the ranks' records at the end.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use cobre_profile::{Profile, Results, Run};
use cobre_shm::recording::RankRecord;

use crate::error::LaunchError;
use crate::plan::Plan;
use crate::plan::recording::{RecordingArgs, STANDARD_ERROR};
use crate::report::patient::Patient;
use crate::{JobExit, report};

/// Where the report of a recorded job goes.
#[derive(Debug)]
pub(crate) struct Reports {
    profile: Option<Target>,
    trace: Option<Target>,
}

#[derive(Debug)]
struct Target {
    path: PathBuf,
    /// `None` for standard error.
    file: Option<Results>,
}

impl Target {
    /// Opened before the job starts, so that nobody runs for hours for nothing.
    fn open(option: &'static str, path: &Path) -> Result<Self, LaunchError> {
        let file = (path != Path::new(STANDARD_ERROR)).then(|| Results::create(path));
        let file = file.transpose().map_err(|source| LaunchError::ReportFile {
            option,
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }
}

impl Reports {
    /// Creates the files.
    pub(crate) fn open(args: &RecordingArgs) -> Result<Self, LaunchError> {
        let open = |option, path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map(|path| Target::open(option, path)).transpose()
        };
        Ok(Self {
            profile: open("--profile", &args.profile)?,
            trace: open("--trace", &args.trace)?,
        })
    }

    /// Says and writes what the ranks of the job, which has ended, have recorded. Returns its exit,
    /// which is no success if that failed.
    pub(crate) fn write(
        self,
        plan: &Plan,
        records: &[Option<RankRecord>],
        exit: JobExit,
    ) -> JobExit {
        let written = [
            self.profile
                .map(|target| write_profile(target, plan, exit, records)),
            self.trace.map(|target| write_trace(target, records)),
        ];
        let failed = written.into_iter().flatten().any(|done| !done);
        exit.unless(failed)
    }
}

fn write_profile(
    target: Target,
    plan: &Plan,
    exit: JobExit,
    records: &[Option<RankRecord>],
) -> bool {
    let run = Run {
        program: plan.program(0).name.to_string_lossy().into_owned(),
        cores: plan.cores,
        exit_code: exit.code(),
    };
    let profile = Profile::new(run, records);
    let Some(file) = target.file else {
        say(&cobre_profile::table(&profile));
        return true;
    };
    for line in &profile.verdict {
        say(&format!("{line}\n"));
    }
    let mut out = BufWriter::new(file);
    let written = profile.to_json(&mut out).and_then(|()| out.flush());
    told("profile", &target.path, written)
}

fn write_trace(target: Target, records: &[Option<RankRecord>]) -> bool {
    let written = match target.file {
        Some(file) => cobre_profile::trace(BufWriter::new(file), records),
        None => cobre_profile::trace(Patient(io::stderr().lock()), records),
    };
    told("trace", &target.path, written)
}

fn told(what: &str, path: &Path, written: io::Result<()>) -> bool {
    match &written {
        Ok(()) => say(&format!("the {what} is in {}\n", path.display())),
        Err(error) => say(&format!(
            "the {what} cannot be written to {}: {error}\n",
            path.display()
        )),
    }
    written.is_ok()
}

/// On standard error: the ranks have written everything by now.
fn say(text: &str) {
    report::say(&format!("cobre-launch: {text}"));
}
