//! Leaving when the process exits without running destructors.
//!
//! `std::process::exit` and a return from `main` with the communicator in a static or leaked skip
//! `Drop`; to the peers that would look like a death. Members of standing boards leave in the same way.

use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use crate::{
    call::core::Core,
    sync::{
        cell::LEFT,
        primitive::{AtomicU32, Ordering},
    },
    sys::process,
};

static LIVE: Live<Core> = Live::new(leave_all);

/// What this process has joined and not left.
#[derive(Debug)]
pub(crate) struct Live<T> {
    joined: Mutex<Vec<Weak<T>>>,
    /// The process generation that joined last. In a forked child that never joined, the list and
    /// its lock are the parent's, and the lock may be held for ever.
    joined_in: AtomicU32,
    register: Once,
    at_exit: extern "C" fn(),
}

impl<T> Live<T> {
    /// `at_exit` is called when the process exits, if anything has been added by then.
    pub(crate) const fn new(at_exit: extern "C" fn()) -> Self {
        Self {
            joined: Mutex::new(Vec::new()),
            joined_in: AtomicU32::new(0),
            register: Once::new(),
            at_exit,
        }
    }

    pub(crate) fn add(&self, joined: &Arc<T>) {
        self.register.call_once(|| process::at_exit(self.at_exit));
        // Relaxed: read by this process' exit, which comes after.
        self.joined_in
            .store(process::generation(), Ordering::Relaxed);
        let mut live = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|one| one.strong_count() > 0);
        live.push(Arc::downgrade(joined));
    }

    /// Calls `f` on all that live in this process, which is about to end.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&T)) {
        let live = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        for one in live.iter().filter_map(Weak::upgrade) {
            f(&one);
            // Not dropped: this may be the last reference by now, and the process is about to end.
            core::mem::forget(one);
        }
    }

    /// As [`for_each`](Self::for_each), unless it was the parent of this forked child that joined.
    pub(crate) fn for_each_own(&self, f: impl FnMut(&T)) {
        if self.joined_in.load(Ordering::Relaxed) == process::generation() {
            self.for_each(f);
        }
    }
}

/// Makes `core` leave its job when the process exits, if it has not by then.
pub(crate) fn watch(core: &Arc<Core>) {
    LIVE.add(core);
}

/// Calls `f` on every live communicator of this process, which is about to end.
pub(crate) fn for_each_live(f: impl FnMut(&Core)) {
    LIVE.for_each(f);
}

extern "C" fn leave_all() {
    LIVE.for_each_own(|core| core.leave(LEFT));
}
