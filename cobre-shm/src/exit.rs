//! Leaving when the process exits without running destructors.
//!
//! `std::process::exit` and a return from `main` with the communicator in a static or leaked skip
//! `Drop`; to the peers that would look like a death.

use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use crate::{
    cell::LEFT,
    core::Core,
    primitive::{AtomicU32, Ordering},
    sys::process,
};

static LIVE: Mutex<Vec<Weak<Core>>> = Mutex::new(Vec::new());

/// The process generation that joined last. In a forked child that never joined, the list and its
/// lock are the parent's, and the lock may be held for ever.
static JOINED_IN: AtomicU32 = AtomicU32::new(0);

/// Makes `core` leave its job when the process exits, if it has not by then.
pub(crate) fn watch(core: &Arc<Core>) {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| process::at_exit(leave_all));
    // Relaxed: read by this process' exit, which comes after.
    JOINED_IN.store(process::generation(), Ordering::Relaxed);
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    live.retain(|core| core.strong_count() > 0);
    live.push(Arc::downgrade(core));
}

/// Calls `f` on every live communicator of this process, which is about to end.
pub(crate) fn for_each_live(mut f: impl FnMut(&Core)) {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    for core in live.iter().filter_map(Weak::upgrade) {
        f(&core);
        // Not dropped: this may be the last reference by now, and the process is about to end.
        core::mem::forget(core);
    }
}

extern "C" fn leave_all() {
    if JOINED_IN.load(Ordering::Relaxed) != process::generation() {
        return;
    }
    for_each_live(|core| core.leave(LEFT));
}
