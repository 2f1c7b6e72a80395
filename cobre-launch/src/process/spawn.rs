//! Starting the ranks.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigHandler;
use nix::unistd::{Pid, getpid};

use crate::error::LaunchError;
use crate::plan::cli::StdinMode;
use crate::plan::program;
use crate::plan::{Identity, Plan};
use crate::process::guard::Started;
use crate::process::signal::Signals;
use crate::sys::{self, Inheritance};

/// Prepares the launcher for starting many ranks, and returns what those shall not notice of it.
///
/// Three pipes for each of many ranks need more than the customary 1024 descriptors.
pub(crate) fn prepare(signals: &Signals) -> Inheritance {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let (soft, hard) = limits.unwrap_or((libc::RLIM_INFINITY, libc::RLIM_INFINITY));
    // Where it is refused, a start that needs it fails with the kernel's own message.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    Inheritance {
        mask: signals.original,
        open_files: (soft, hard),
        on_file_size: sys::survive_file_size().unwrap_or(SigHandler::SigDfl),
    }
}

/// Starts `rank` of the job `identity`.
pub(crate) fn start(
    plan: &Plan,
    identity: &Identity,
    rank: usize,
    inheritance: Inheritance,
) -> io::Result<Started> {
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
        .envs(plan.identity(rank, identity))
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
    sys::die_with_parent(&mut command, getpid(), inheritance);
    pipes(command.spawn()?)
}

/// Tells a program that cannot be executed from a process that cannot be had.
pub(crate) fn refused(plan: &Plan, rank: usize, source: io::Error) -> LaunchError {
    let program = plan.program(rank);
    let why = match source.raw_os_error().map(Errno::from_raw) {
        // It was there when we looked: what it names as its interpreter is not.
        Some(Errno::ENOENT) => {
            let file = program.folder.as_deref().unwrap_or(Path::new(""));
            match program::interpreter(&file.join(&program.path)) {
                Some(name) => format!("its interpreter `{name}` does not exist"),
                None => "the interpreter that it names does not exist".to_owned(),
            }
        }
        Some(
            Errno::EACCES
            | Errno::EPERM
            | Errno::ENOEXEC
            | Errno::ELIBBAD
            | Errno::ELOOP
            | Errno::E2BIG,
        ) => source.to_string(),
        errno => {
            let hint = match errno {
                Some(Errno::EMFILE) => " (each rank takes two or three; see `ulimit -Hn`)",
                Some(Errno::EAGAIN) => " (see `ulimit -u`, and `pids.max` of the cgroup)",
                _ => "",
            };
            return LaunchError::Spawn { rank, source, hint };
        }
    };
    LaunchError::Exec {
        rank,
        path: program.path.clone(),
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
