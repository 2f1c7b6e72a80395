//! `--stacks`: where the threads of each rank are, as gdb finds them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cobre_comm_trait::text::{clean, duration};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid};

use crate::process::child;
use crate::sys::{self, Inheritance};

/// How long all of them may take together: a debugger that reads the symbols of a large program
/// takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a debugger may take to let go of its rank.
const LETTING_GO: Duration = Duration::from_secs(2);
/// How often it is asked whether one has finished.
const LOOK: Duration = Duration::from_millis(5);
/// Lines for one rank.
const LINES: usize = 60;

/// The process of a rank.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) rank: usize,
    pub(crate) pid: Pid,
}

/// A debugger that looks at one of them.
struct Look {
    process: Process,
    child: Child,
    output: File,
    errors: File,
}

/// The stacks of `processes`, indented, each stopped for as long as it takes. At most `at_once` are
/// looked at together. A signal that is to end or stop the job breaks it off, and stays pending.
pub(crate) fn of(processes: &[Process], at_once: usize, inheritance: Inheritance) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut text = String::new();
    for some in processes.chunks(at_once.max(1)) {
        let begin = |&process| start(process, inheritance);
        let looks: Vec<_> = some.iter().map(begin).collect();
        for (look, process) in looks.into_iter().zip(some) {
            let (rank, pid) = (process.rank, process.pid);
            let _ = writeln!(text, "  rank {rank} (pid {pid}):");
            match look.and_then(|look| look.finish(deadline)) {
                Ok(stack) => text.push_str(&stack),
                Err(error) => {
                    let _ = writeln!(text, "    no stacks: {}{}", why(&error), kernel(pid));
                }
            }
        }
    }
    text
}

/// Whether something has come that cannot wait for a debugger.
fn is_in_a_hurry() -> bool {
    let urgent = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGTSTP,
    ];
    let pending = sys::pending();
    pending.is_ok_and(|pending| urgent.into_iter().any(|signal| pending.contains(signal)))
}

fn start(process: Process, inheritance: Inheritance) -> io::Result<Look> {
    if is_in_a_hurry() {
        return Err(ErrorKind::Interrupted.into());
    }
    let file = || memfd_create(c"stacks", MFdFlags::MFD_CLOEXEC).map(File::from);
    let (output, errors) = (file()?, file()?);
    let mut command = Command::new("gdb");
    command
        // No start-up files, no symbols from the network, no questions.
        .args([
            "-nx",
            "-batch",
            "-iex",
            "set debuginfod enabled off",
            "-iex",
            "set width 0",
        ])
        .args(["-p", &process.pid.to_string(), "-ex", "thread apply all bt"])
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(errors.try_clone()?)
        // A Ctrl-C is for the ranks: it would leave one of them stopped.
        .process_group(0);
    sys::die_with_parent(&mut command, getpid());
    sys::give_back(&mut command, inheritance);
    Ok(Look {
        process,
        child: command.spawn()?,
        output,
        errors,
    })
}

impl Look {
    fn finish(mut self, deadline: Instant) -> io::Result<String> {
        while !self.has_ended_before(Instant::now() + LOOK)? {
            let why = match is_in_a_hurry() {
                true => ErrorKind::Interrupted,
                false if Instant::now() >= deadline => ErrorKind::TimedOut,
                false => continue,
            };
            self.break_off()?;
            return Err(why.into());
        }
        match frames(&said(&mut self.output)?) {
            stack if stack.is_empty() => Err(io::Error::other(complaint(
                self.process.pid,
                &said(&mut self.errors)?,
            ))),
            stack => Ok(stack),
        }
    }

    fn has_ended_before(&mut self, deadline: Instant) -> io::Result<bool> {
        loop {
            if self.child.try_wait()?.is_some() {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            thread::sleep(LOOK);
        }
    }

    /// Its rank goes on.
    fn break_off(&mut self) -> io::Result<()> {
        child::signal(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        );
        if !self.has_ended_before(Instant::now() + LETTING_GO)? {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }
}

fn said(file: &mut File) -> io::Result<String> {
    let mut said = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// What gdb has against a process of which it shows nothing: the last that it said.
fn complaint(pid: Pid, errors: &str) -> String {
    let mut lines = errors.lines().rev().map(str::trim);
    match lines.find(|line| !line.is_empty()) {
        Some(last) => format!("gdb shows none of process {pid}: {}", clean(last)),
        None => format!("gdb shows none of process {pid}, and does not say why"),
    }
}

/// Of what gdb says the threads and their frames.
fn frames(said: &str) -> String {
    let is_told = |line: &&str| line.starts_with("Thread ") || line.starts_with('#');
    let mut lines = said.lines().filter(is_told);
    let mut text = String::new();
    for line in lines.by_ref().take(LINES) {
        let _ = writeln!(text, "    {}", clean(line));
    }
    match lines.count() {
        0 => {}
        more => {
            let _ = writeln!(text, "    and {more} more lines");
        }
    }
    text
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "gdb is not installed".to_owned(),
        ErrorKind::TimedOut => format!("gdb did not finish within {}", duration(PATIENCE)),
        ErrorKind::Interrupted => "a signal came before gdb had finished".to_owned(),
        _ => error.to_string(),
    }
}

/// What the kernel says without any debugger: what the process waits for.
fn kernel(pid: Pid) -> String {
    match std::fs::read_to_string(format!("/proc/{pid}/wchan")) {
        Ok(place) if !["", "0"].contains(&place.as_str()) => {
            format!("; it waits in the kernel's {}", clean(&place))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES, complaint, frames};
    use nix::unistd::Pid;

    #[test]
    fn threads_and_frames_are_kept_and_long_stacks_cut() {
        let said = "[New LWP 7]\n0x7f in read () from libc\n\nThread 2 (LWP 7):\n#0  a ()\n#1  b ()\n\
                    [Inferior 1 (process 6) detached]\n";
        assert_eq!(
            frames(said),
            "    Thread 2 (LWP 7):\n    #0  a ()\n    #1  b ()\n"
        );
        assert!(!frames("#0  a\x1b[2J ()").contains('\x1b'));
        let long = "#0 f ()\n".repeat(LINES + 5);
        assert!(frames(&long).ends_with("    #0 f ()\n    and 5 more lines\n"));
    }

    #[test]
    fn the_last_that_gdb_said_is_quoted() {
        let pid = Pid::from_raw(7);
        let said = "warning: x\nptrace: Operation not permitted.\n\n";
        let told = "gdb shows none of process 7: ptrace: Operation not permitted.";
        assert_eq!(complaint(pid, said), told);
        assert!(complaint(pid, "\n").ends_with("does not say why"));
    }
}
