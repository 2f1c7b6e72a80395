//! The kernel's futex as the model checker sees it: one queue for all words.

use core::time::Duration;

use loom::sync::{Condvar, Mutex, atomic::AtomicU32, atomic::Ordering};

loom::lazy_static! {
    static ref QUEUE: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
}

/// Sleeps while `word` holds `expected`. There is no timeout: a lost wake-up is a deadlock here.
pub(crate) fn wait(word: &AtomicU32, expected: u32, _timeout: Duration) {
    let (queue, sleeping) = &*QUEUE;
    let locked = queue.lock().unwrap();
    if word.load(Ordering::Relaxed) == expected {
        drop(sleeping.wait(locked).unwrap());
    }
}

/// Wakes every sleeper, of whatever word: a futex may wake for no reason.
pub(crate) fn wake_all(_word: &AtomicU32) {
    let (queue, sleeping) = &*QUEUE;
    let locked = queue.lock().unwrap();
    sleeping.notify_all();
    drop(locked);
}
