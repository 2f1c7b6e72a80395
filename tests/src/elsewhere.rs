//! Programs that see another machine: namespaces of their own.

use std::any::type_name_of_val;
use std::process::Command;

use crate::{End, Process, patience};

/// Namespaces for programs, which a shell script sets up first.
#[derive(Debug)]
pub struct Elsewhere {
    /// Options of unshare(1).
    namespaces: &'static [&'static str],
    setup: String,
}

const MOUNTS: &[&str] = &["-m"];
/// The end of the program is that of everything it has started.
const PROCESSES: &[&str] = &["-m", "--pid", "--fork", "--kill-child"];

impl Elsewhere {
    /// What `setup` makes of this machine. Where that is not allowed: `None`, and a line that says so.
    #[must_use]
    pub fn with(setup: &str) -> Option<Self> {
        Self::or_skipped(MOUNTS, setup)
    }

    /// A place from which no other process is seen.
    #[must_use]
    pub fn alone() -> Option<Self> {
        Self::or_skipped(PROCESSES, "mount -t proc proc /proc")
    }

    fn or_skipped(namespaces: &'static [&'static str], setup: &str) -> Option<Self> {
        let made = Self::try_with(namespaces, setup);
        let told = |why: String| skipped(&format!("no namespace of its own here: {why}"));
        made.map_err(told).ok()
    }

    fn try_with(namespaces: &'static [&'static str], setup: &str) -> Result<Self, String> {
        let elsewhere = Self {
            namespaces,
            setup: setup.to_owned(),
        };
        match elsewhere.command(&["true"]).output() {
            Ok(output) if output.status.success() => Ok(elsewhere),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A `/dev/shm` mounted with these options.
    #[must_use]
    pub fn dev_shm(options: &str) -> Option<Self> {
        Self::with(&new_dev_shm(options))
    }

    /// `program` there, with its arguments.
    #[must_use]
    pub fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(self.namespaces);
        if !nix::unistd::geteuid().is_root() {
            command.args(["-U", "-r"]);
        }
        let script = format!("{} && exec \"$@\"", self.setup);
        command.args(["sh", "-c", &script, "sh"]).args(program);
        command
    }
}

fn new_dev_shm(options: &str) -> String {
    format!("mount -t tmpfs -o {options} tmpfs /dev/shm")
}

/// Says that a test does not run, or not all of it.
#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
pub fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Set for a test that runs apart.
const APART: &str = "COBRE_TEST_APART";

/// Runs `test`, the closure that is all of the test which calls this, with a `/dev/shm` that nobody else
/// uses: what it cleans is no other test's, and no other test cleans what it has left there.
///
/// The test runs in a process of its own, in a mount namespace. Where these are not allowed (in many
/// containers), it is skipped, and a line says so.
///
/// # Panics
/// If the test fails.
pub fn apart(test: impl FnOnce()) {
    if std::env::var_os(APART).is_some() {
        return test();
    }
    let Some(elsewhere) = Elsewhere::dev_shm("mode=1777") else {
        return;
    };
    // The path of the closure: crate::module::test::{{closure}}.
    let path = type_name_of_val(&test);
    let name = path.split_once("::").map_or(path, |(_, name)| name);
    let name = name.trim_end_matches("::{{closure}}");
    let this = std::env::current_exe().expect("a test has a program");
    let this = this.to_str().expect("its path is text");
    let arguments = [this, name, "--exact", "--include-ignored", "--nocapture"];
    let test = Process::start(name, elsewhere.command(&arguments).env(APART, "1"));
    // It has watchdogs of its own; from here it is silent for as long as it runs.
    let mut test = test.silent_for(20 * patience());
    let end = test.end();
    let heard = test.heard();
    let passed = end == End::Code(0) && heard.contains("1 passed");
    assert!(passed, "{name}, apart:\n{heard}");
    let skips = heard
        .lines()
        .filter_map(|line| line.split_once("SKIPPED: "));
    skips.for_each(|(_, why)| skipped(why));
}
