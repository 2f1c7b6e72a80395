//! Who is on a board: locks of the kernel on bytes of its segment.

use core::time::Duration;
use std::{fs::File, io, thread};

use super::error::BoardError;
use crate::sys::{
    lock::{self, LockFile},
    waited::Waited,
};

/// The byte of the gate, which whoever joins or leaves holds; members lock the byte of their number.
const GATE: usize = 1 << 20;

/// The gate is held for a few system calls; who holds it longer has been stopped.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_micros(200);
/// Longer than a pause takes on a busy machine.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Holds the gate of a board, until it is dropped.
#[derive(Debug)]
pub(super) struct Gate<'a>(&'a LockFile);

impl<'a> Gate<'a> {
    /// Waits for the gate of `board`.
    pub(super) fn enter(locks: &'a LockFile, board: &str) -> Result<Self, BoardError> {
        let waited = Waited::begin();
        loop {
            match locks.try_lock(GATE) {
                Ok(true) => return Ok(Self(locks)),
                Ok(false) if waited.time(LONGEST_PAUSE) < PATIENCE => thread::sleep(PAUSE),
                Ok(false) => {
                    return Err(BoardError::GateClosed {
                        board: board.to_owned(),
                    });
                }
                Err(source) => return Err(BoardError::system(board, "lock", source)),
            }
        }
    }

    /// Whether anybody else is a member.
    pub(super) fn is_anybody_here(&self) -> io::Result<bool> {
        is_anybody_here(self.0.file())
    }
}

/// Whether anybody is a member of the board `file`, through other open files than this.
pub(super) fn is_anybody_here(file: &File) -> io::Result<bool> {
    lock::is_any_held(file, GATE)
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        // If it cannot be given back here, it goes with the open file.
        let _ = self.0.unlock(GATE);
    }
}
