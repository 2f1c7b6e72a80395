//! Starting the ranks.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Pid, getpid};

use crate::cli::StdinMode;
use crate::error::LaunchError;
use crate::job::Job;
use crate::plan::Plan;
use crate::signal::Signals;
use crate::sys::{self, Inheritance};

/// A rank that has been started, with our ends of its pipes.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Starts every rank of `plan`, or none: if one cannot be started, those before it are killed.
pub(crate) fn all(plan: &Plan, job: &Job, signals: &Signals) -> Result<Vec<Started>, LaunchError> {
    set_child_subreaper(true).map_err(LaunchError::system("adopting orphans"))?;
    let inheritance = Inheritance {
        mask: signals.original,
        open_files: raise_open_files(),
    };
    let mut started = Vec::with_capacity(plan.ranks.len());
    for rank in 0..plan.ranks.len() {
        match start(plan, job, rank, inheritance) {
            Ok(one) => started.push(one),
            Err(error) => {
                crate::descendants::kill_all();
                return Err(error);
            }
        }
    }
    Ok(started)
}

/// Three pipes for each of many ranks need more than the customary 1024 descriptors. Returns the
/// limits to give back to the ranks.
fn raise_open_files() -> (u64, u64) {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let (soft, hard) = limits.unwrap_or((libc::RLIM_INFINITY, libc::RLIM_INFINITY));
    // Where it is refused, a start that needs it fails with the kernel's own message.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    (soft, hard)
}

fn start(
    plan: &Plan,
    job: &Job,
    rank: usize,
    inheritance: Inheritance,
) -> Result<Started, LaunchError> {
    let program = plan.program(rank);
    let mut command = Command::new(&program.path);
    command
        .arg0(&program.name)
        .args(&program.args)
        .envs(&program.env)
        .envs(
            plan.ranks[rank]
                .threads
                .iter()
                .map(|(name, n)| (name, n.to_string())),
        )
        .envs(plan.identity(rank, &job.name, &getpid().to_string()))
        .stdin(match (plan.stdin, rank) {
            (StdinMode::Zero, 0) => Stdio::inherit(),
            (StdinMode::All, _) => Stdio::piped(),
            (StdinMode::Zero | StdinMode::None, _) => Stdio::null(),
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(folder) = &program.folder {
        command.current_dir(folder);
    }
    if let Some(processors) = plan.ranks[rank].processors {
        sys::keep_on(&mut command, processors);
    }
    sys::die_with_launcher(&mut command, getpid(), inheritance);
    let child = command
        .spawn()
        .map_err(|error| refused(plan, rank, error))?;
    pipes(child).map_err(|source| LaunchError::Spawn { rank, source })
}

/// Tells a program that cannot be executed from a process that cannot be had.
fn refused(plan: &Plan, rank: usize, source: io::Error) -> LaunchError {
    let why = match source.raw_os_error().map(Errno::from_raw) {
        // It was there when we looked: what it names as its interpreter is not.
        Some(Errno::ENOENT) => "the interpreter that it names does not exist".to_owned(),
        Some(
            Errno::EACCES
            | Errno::EPERM
            | Errno::ENOEXEC
            | Errno::ELIBBAD
            | Errno::ELOOP
            | Errno::E2BIG,
        ) => source.to_string(),
        _ => return LaunchError::Spawn { rank, source },
    };
    LaunchError::Exec {
        rank,
        path: plan.program(rank).path.clone(),
        why,
    }
}

fn pipes(mut child: Child) -> io::Result<Started> {
    let missing = || io::Error::other("a pipe is missing");
    Ok(Started {
        pid: Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?),
        stdin: match child.stdin.take() {
            Some(pipe) => Some(unblock(pipe.into())?),
            None => None,
        },
        stdout: unblock(child.stdout.take().ok_or_else(missing)?.into())?,
        stderr: unblock(child.stderr.take().ok_or_else(missing)?.into())?,
    })
}

/// Makes our end non-blocking; the rank's end is another open file and stays as it is.
fn unblock(pipe: OwnedFd) -> io::Result<OwnedFd> {
    fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(pipe)
}
