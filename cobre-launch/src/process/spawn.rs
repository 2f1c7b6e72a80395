//! Starting the ranks.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigHandler;
use nix::unistd::{Pid, getpid};

use rustix::process::PTracer;

use crate::error::LaunchError;
use crate::plan::cli::StdinMode;
use crate::plan::program;
use crate::plan::{Identity, Plan};
use crate::process::child;
use crate::process::debugger;
use crate::process::guard::Started;
use crate::process::missed::Missed;
use crate::process::pty;
use crate::process::signal::Signals;
use crate::sys::{self, Inheritance};

/// How often a rank that does not get to its program is looked at, in milliseconds.
const LOOK: u8 = 10;

/// Prepares the launcher for starting many ranks, and returns what ranks get back of its settings.
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
        on_children: signals.on_children,
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
    let (stdin, our_stdin) = match (plan.stdin, rank) {
        (StdinMode::Zero, 0) => (Stdio::inherit(), None),
        (StdinMode::All, _) => {
            let (theirs, ours) = io::pipe()?;
            (theirs.into(), Some(unblock(ours.into())?))
        }
        (StdinMode::Zero | StdinMode::None, _) => (Stdio::null(), None),
    };
    let (stdout, their_stdout) = outlet(plan)?;
    let (stderr, their_stderr) = outlet(plan)?;
    let mut command = if plan.is_debugged(rank) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", debugger::WAIT]).arg(&program.path);
        command
    } else {
        let mut command = Command::new(&program.path);
        command.arg0(&program.name);
        command
    };
    command
        .args(&program.args)
        .envs(&program.env)
        .envs(
            plan.ranks[rank]
                .threads
                .iter()
                .map(|(name, n)| (name, n.to_string())),
        )
        .envs(plan.identity(rank, identity))
        .stdin(stdin)
        .stdout(their_stdout)
        .stderr(their_stderr);
    if let Some(folder) = &program.folder {
        command.current_dir(folder);
    }
    if let Some(processors) = plan.ranks[rank].processors {
        sys::keep_on(&mut command, processors);
    }
    if let Some(tracer) = tracer(plan.is_debugged(rank), plan.stacks) {
        sys::allow_tracing(&mut command, tracer);
    }
    sys::die_with_parent(&mut command, getpid());
    sys::give_back(&mut command, inheritance);
    Ok(Started {
        pid: execute(command)?,
        stdin: our_stdin,
        stdout: unblock(stdout)?,
        stderr: unblock(stderr)?,
    })
}

/// Who may look into a rank's process, beside its ancestors; the kernel keeps one answer. Nobody
/// knows who will start the debugger in its pane. With `--stacks` it is the launcher, the parent of
/// this process.
fn tracer(is_debugged: bool, stacks: bool) -> Option<PTracer> {
    if is_debugged {
        return Some(PTracer::Any);
    }
    let launcher = rustix::process::getppid().filter(|_| stacks);
    launcher.map(PTracer::ProcessID)
}

/// What a rank writes to, a pipe or a terminal: our end, and the rank's.
fn outlet(plan: &Plan) -> io::Result<(OwnedFd, OwnedFd)> {
    if plan.pty {
        return pty::open(pty::size(plan));
    }
    let (ours, theirs) = io::pipe()?;
    Ok((ours.into(), theirs.into()))
}

/// Runs `command` in a child, which gets each signal of the job once: those that came before the
/// fork from this process, in which all are pending, and later ones like everybody.
fn execute(mut command: Command) -> io::Result<Pid> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut ours = Some(ours);
    let pid = sys::fork(|| {
        drop(ours.take());
        // A program that runs closes it, and so does a process that is killed.
        let _ = become_rank(&mut command, &theirs);
    })?;
    drop((theirs, command));
    let mut ours = ours.ok_or_else(|| io::Error::other("the parent runs"))?;
    // A child that has been killed does not read it.
    let _ = ours.write_all(&Missed::by_child().to_bytes());
    match refusal(pid, &mut ours)? {
        None => Ok(pid),
        Some(error) => {
            child::wait_for(pid);
            Err(error)
        }
    }
}

/// Waits until the child `pid` runs its program, or says why not.
fn refusal(pid: Pid, from: &mut UnixStream) -> io::Result<Option<io::Error>> {
    loop {
        let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, LOOK) {
            // Stopped with the others (Ctrl-Z) before it was the program that it is to be: it will
            // be stopped again when all have started.
            Ok(0) => child::keep_going(pid),
            Ok(_) => {
                let mut errno = [0; 4];
                let said = from.read_exact(&mut errno);
                let errno = i32::from_ne_bytes(errno);
                return Ok(said.ok().map(|()| io::Error::from_raw_os_error(errno)));
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Returns only if the program cannot be executed, or the guard is gone.
fn become_rank(command: &mut Command, mut guard: &UnixStream) -> io::Result<()> {
    let mut missed = [0; Missed::LENGTH];
    guard.read_exact(&mut missed)?;
    Missed::from_bytes(missed).make_up();
    let error = command.exec();
    let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
    guard.write_all(&errno.to_ne_bytes())
}

/// Tells a program that cannot be executed from a process that is unavailable.
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
                Some(Errno::ENOSPC) if plan.pty => " (see /proc/sys/kernel/pty/max)",
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

/// Makes our end non-blocking; the rank's end is another open file and stays as it is.
fn unblock(pipe: OwnedFd) -> io::Result<OwnedFd> {
    fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(pipe)
}

#[cfg(test)]
mod tests {
    use super::tracer;
    use rustix::process::PTracer;

    #[test]
    fn stacks_take_nothing_from_a_debugger() {
        assert_eq!(tracer(true, true), Some(PTracer::Any));
        assert_eq!(tracer(true, false), Some(PTracer::Any));
        let parent = rustix::process::getppid().map(PTracer::ProcessID);
        assert_eq!(tracer(false, true), parent);
        assert_eq!(tracer(false, false), None);
    }
}
