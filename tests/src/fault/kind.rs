//! What a rank suffers at a point: what it is called, how it is done, what must come of it.

use std::io::Write;
use std::os::unix::fs::FileExt;

use nix::sys::signal::{Signal, raise};

use cobre_comm_trait::conformance::Random;

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL from outside.
    Kill,
    /// SIGSTOP from outside, until everybody waits; then SIGCONT: no fault at all.
    Stop,
    /// SIGSEGV.
    Segv,
    /// A Rust panic.
    Panic,
    /// `exit(7)`, which runs the exit hooks.
    Exit,
    /// `_exit(7)`, which does not.
    QuickExit,
    /// SIGABRT.
    Abort,
    /// Random bytes over everything it writes for its peers, then SIGKILL.
    Corrupt,
}

/// The code of the two exits.
pub(super) const CODE: i32 = 7;

impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Kill,
        Self::Stop,
        Self::Segv,
        Self::Panic,
        Self::Exit,
        Self::QuickExit,
        Self::Abort,
        Self::Corrupt,
    ];

    /// As it stands in tables and on command lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Segv => "segv",
            Self::Panic => "panic",
            Self::Exit => "exit",
            Self::QuickExit => "_exit",
            Self::Abort => "abort",
            Self::Corrupt => "corrupt",
        }
    }

    /// The fault of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// The launcher's exit code if this is the first cause.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Stop => 0,
            Self::Exit | Self::QuickExit => CODE,
            Self::Panic => 101,
            Self::Kill | Self::Corrupt => 128 + Signal::SIGKILL as i32,
            Self::Segv => 128 + Signal::SIGSEGV as i32,
            Self::Abort => 128 + Signal::SIGABRT as i32,
        }
    }

    /// Whether survivors may be told this cause (as `Debug` prints it).
    ///
    /// Without a launcher nobody knows how a process died; with one, a waiter may still be first.
    #[must_use]
    pub fn explains(self, launched: bool, cause: &str) -> bool {
        let known = match self {
            Self::Stop => return false,
            Self::Kill | Self::Corrupt => "Signaled(9)",
            Self::Segv => "Signaled(11)",
            Self::Abort => "Signaled(6)",
            Self::Panic => "Panicked",
            Self::Exit | Self::QuickExit => "Exited(Some(7))",
        };
        match self {
            // Its last words say that it unwinds, whoever reads them.
            Self::Panic => [known, "Died"].contains(&cause),
            Self::Exit => ["Exited(None)", "Died"].contains(&cause) || launched && cause == known,
            _ => cause == "Died" || launched && cause == known,
        }
    }

    /// Does it to this process, for those that a process does to itself.
    pub(super) fn suffer(self, seed: u64) {
        match self {
            Self::Kill | Self::Stop => {}
            Self::Segv => die_by(Signal::SIGSEGV),
            Self::Abort => std::process::abort(),
            Self::Panic => panic!("a fault on purpose"),
            Self::Exit => std::process::exit(CODE),
            Self::QuickExit => quick_exit(),
            Self::Corrupt => {
                // Before there is anything to corrupt it is a death like another.
                let _ = corrupt_own_block(seed);
                die_by(Signal::SIGKILL);
            }
        }
    }
}

fn die_by(signal: Signal) -> ! {
    loop {
        // The runtime's handler of SIGSEGV takes the first as none of its business, and restores
        // the default.
        let _ = raise(signal);
    }
}

fn quick_exit() -> ! {
    #![allow(unsafe_code)]
    // SAFETY: `_exit` may be called anywhere; it touches no memory of this process.
    unsafe { libc::_exit(CODE) }
}

/// Overwrites what this rank shows to its peers in the first control segment that it has mapped.
fn corrupt_own_block(seed: u64) -> Option<()> {
    let number = |variable| std::env::var(variable).ok()?.parse::<usize>().ok();
    let (rank, size) = (number("COBRE_SHM_RANK")?, number("COBRE_SHM_SIZE")?);
    let name = std::env::var("COBRE_SHM_NAME").ok()?;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mapping = maps.lines().find(|line| line.contains(&name))?;
    let start = usize::from_str_radix(mapping.split('-').next()?, 16).ok()?;
    let block = cobre_shm::block_of(rank, size);
    let mut random = Random::new(seed);
    let mut garbage = Vec::with_capacity(block.len());
    while garbage.len() < block.len() {
        // Zeros and ones too: words that look like something.
        let word = match random.below(4) {
            0 => random.below(8) as u64,
            _ => random.word(),
        };
        garbage.write_all(&word.to_ne_bytes()).ok()?;
    }
    // A file instead of a pointer: nothing here need be unsafe.
    let memory = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/mem");
    let at = (start + block.start) as u64;
    memory.ok()?.write_all_at(&garbage[..block.len()], at).ok()
}
