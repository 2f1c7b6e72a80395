//! The thread that keeps memory and CPU time current.

use core::time::Duration;
use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
};

use nix::sys::signal::{SigSet, SigmaskHow};

use super::publisher::Publisher;
use crate::sys::process;

/// Refreshes a record in the background, until it is dropped.
#[derive(Debug)]
pub(crate) struct Refresher {
    /// The thread ends when this is gone.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    generation: u32,
}

impl Refresher {
    /// Refreshes through `publisher` now and every `interval`. Does nothing if the system has no
    /// thread to spare.
    pub(crate) fn start(publisher: &Publisher, interval: Duration) -> Self {
        let (stop, stopped) = mpsc::channel();
        let publisher = publisher.clone();
        // Signals are for the program's own threads.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
        let thread = thread::Builder::new()
            .name("cobre-status".to_owned())
            .spawn(move || {
                publisher.refresh();
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    publisher.refresh();
                }
            });
        if let Ok(before) = before {
            // A mask that was read just now.
            let _ = before.thread_set_mask();
        }
        Self {
            stop: Some(stop),
            thread: thread.ok(),
            generation: process::generation(),
        }
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        if self.generation != process::generation() {
            // A forked child does not have the thread.
            core::mem::forget((self.stop.take(), self.thread.take()));
            return;
        }
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked: refreshing does not.
            let _ = thread.join();
        }
    }
}
