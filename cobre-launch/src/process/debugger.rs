//! `--debug`: a debugger for each of some ranks, in a pane of tmux. See
//! `specs/src/protocol/debugging.md`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use cobre_comm_trait::text;
use nix::unistd::Pid;

use crate::error::LaunchError;
use crate::plan::program;
use crate::report::shell::quote;
use crate::sys::{self, Inheritance};

/// Waits for a debugger, then becomes the program. What stands in its place until then is no
/// program of the user's, so none of theirs has run before the debugger is there.
pub(crate) const WAIT: &str =
    "until grep -q '^TracerPid:.*[1-9]' /proc/$$/status; do sleep 0.1; done; exec \"$0\" \"$@\"";

/// What each of these ranks runs under.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Debugger {
    Gdb,
    Lldb,
}

impl Debugger {
    /// The first that is installed, and tmux with it.
    pub(crate) fn find() -> Result<Self, LaunchError> {
        let path = std::env::var_os("PATH");
        let has = |name: &str| program::find(OsStr::new(name), Path::new(""), path.clone()).is_ok();
        let debugger = match (has("gdb"), has("lldb")) {
            (true, _) => Self::Gdb,
            (false, true) => Self::Lldb,
            (false, false) => {
                let message = "--debug: neither gdb nor lldb is installed";
                return Err(LaunchError::Usage(message.to_owned()));
            }
        };
        match has("tmux") {
            true => Ok(debugger),
            false => Err(LaunchError::Usage(
                "--debug: tmux is not installed, in which each debugger gets a pane; by hand: `cobre-launch \
                 -v` shows the process of each rank, and `gdb -p PID` attaches to it"
                    .to_owned(),
            )),
        }
    }

    /// What runs in the pane of `rank`.
    fn command(self, rank: usize, pid: Pid) -> String {
        let words = match self {
            Self::Gdb => vec![
                "gdb".to_owned(),
                "-q".to_owned(),
                "-iex".to_owned(),
                "set debuginfod enabled off".to_owned(),
                "-p".to_owned(),
                pid.to_string(),
                // From the shell that waits to the program.
                "-ex".to_owned(),
                "tcatch exec".to_owned(),
                "-ex".to_owned(),
                "continue".to_owned(),
                "-ex".to_owned(),
                format!(
                    "echo rank {rank} is at its first instruction: set breakpoints, then continue\\n"
                ),
            ],
            // It stops at the execution of a program by itself.
            Self::Lldb => vec![
                "lldb".to_owned(),
                "-p".to_owned(),
                pid.to_string(),
                "-o".to_owned(),
                "continue".to_owned(),
            ],
        };
        let words: Vec<String> = words.iter().map(quote).collect();
        format!("exec {}", words.join(" "))
    }

    /// Opens a pane for each of `ranks`; says where they are.
    pub(crate) fn open(
        self,
        ranks: &[(usize, Pid)],
        inheritance: Inheritance,
    ) -> Result<String, LaunchError> {
        let failed = LaunchError::system("opening a pane of tmux for a debugger");
        self.panes(ranks, inheritance).map_err(failed)
    }

    fn panes(self, ranks: &[(usize, Pid)], inheritance: Inheritance) -> io::Result<String> {
        let numbers: Vec<usize> = ranks.iter().map(|(rank, _)| *rank).collect();
        let who = text::ranks(&numbers);
        let is_inside = std::env::var_os("TMUX").is_some_and(|value| !value.is_empty());
        let session = format!("cobre-{}", std::process::id());
        let mut window = None;
        for &(rank, pid) in ranks {
            let command = self.command(rank, pid);
            let begin: &[&str] = match (&window, is_inside) {
                (Some(_), _) => &["split-window", "-d"],
                (None, true) => &["new-window", "-n", "ranks"],
                (None, false) => &["new-session", "-d", "-x", "200", "-y", "50", "-s", &session],
            };
            let mut words: Vec<OsString> = begin.iter().map(OsString::from).collect();
            if let Some(window) = &window {
                words.extend(["-t".into(), OsString::from(window)]);
            }
            words.extend(["-P", "-F", "#{window_id}", &command].map(OsString::from));
            let opened = tmux(&words, inheritance)?;
            let id = String::from_utf8_lossy(&opened.stdout).trim().to_owned();
            let id = window.get_or_insert(id);
            // So that the next one has room.
            let layout = ["select-layout", "-t", id, "tiled"].map(OsString::from);
            tmux(&layout, inheritance)?;
        }
        Ok(match is_inside {
            true => format!("{who}: debugged in the window `ranks` of this tmux"),
            false => format!("{who}: debugged in tmux, see `tmux attach -t {session}`"),
        })
    }
}

/// The first call may start the server, and with it all that will ever run in its panes: it must
/// not get the signals blocked that the launcher has blocked for itself.
fn tmux(words: &[OsString], inheritance: Inheritance) -> io::Result<Output> {
    let mut command = Command::new("tmux");
    command.args(words).stdin(Stdio::null());
    sys::give_back(&mut command, inheritance);
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("tmux: {}", said.trim())))
}
