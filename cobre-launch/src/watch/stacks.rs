//! `--stacks`: where the threads of each rank are, as gdb finds them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cobre_comm_trait::text::clean;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// How long all of them may take together: a debugger that reads the symbols of a large program takes
/// seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked whether one has finished.
const LOOK: Duration = Duration::from_millis(5);
/// Lines for one rank.
const LINES: usize = 60;

/// The process of a rank.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) rank: usize,
    pub(crate) pid: i32,
}

/// A debugger that looks at one of them.
struct Look {
    process: Process,
    child: Child,
    output: File,
}

/// The stacks of `processes`, indented, each stopped for as long as it takes. At most `at_once` are looked
/// at together.
pub(crate) fn of(processes: &[Process], at_once: usize) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut text = String::new();
    for some in processes.chunks(at_once.max(1)) {
        let looks: Vec<_> = some.iter().map(|&process| start(process)).collect();
        for (look, process) in looks.into_iter().zip(some) {
            let (rank, pid) = (process.rank, process.pid);
            let _ = writeln!(text, "  rank {rank} (pid {pid}):");
            match look.and_then(|look| finish(look, deadline)) {
                Ok(stack) => text.push_str(&stack),
                Err(error) => {
                    let _ = writeln!(text, "    no stacks: {}{}", why(&error), kernel(pid));
                }
            }
        }
    }
    text
}

fn start(process: Process) -> io::Result<Look> {
    let output = File::from(memfd_create(c"stacks", MFdFlags::MFD_CLOEXEC)?);
    let pid = process.pid.to_string();
    let child = Command::new("gdb")
        // No start-up files, no symbols from the network, no questions.
        .args([
            "-nx",
            "-batch",
            "-iex",
            "set debuginfod enabled off",
            "-iex",
            "set width 0",
        ])
        .args(["-p", &pid, "-ex", "thread apply all bt"])
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Look {
        process,
        child,
        output,
    })
}

fn finish(mut look: Look, deadline: Instant) -> io::Result<String> {
    while look.child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            // Its rank goes on.
            look.child.kill()?;
            look.child.wait()?;
            return Err(ErrorKind::TimedOut.into());
        }
        thread::sleep(LOOK);
    }
    let mut said = Vec::new();
    look.output.rewind()?;
    look.output.read_to_end(&mut said)?;
    match frames(&String::from_utf8_lossy(&said)) {
        stack if stack.is_empty() => Err(io::Error::other(format!(
            "gdb may not look at process {}",
            look.process.pid
        ))),
        stack => Ok(stack),
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
        ErrorKind::TimedOut => format!("gdb did not finish within {} s", PATIENCE.as_secs()),
        _ => error.to_string(),
    }
}

/// What the kernel says without any debugger: what the process waits for.
fn kernel(pid: i32) -> String {
    match std::fs::read_to_string(format!("/proc/{pid}/wchan")) {
        Ok(place) if !["", "0"].contains(&place.as_str()) => {
            format!("; it waits in the kernel's {}", clean(&place))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES, frames};

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
}
