//! Code of the program that runs while the library holds something: which thread runs it, so that a call
//! back into the library is refused instead of waiting for itself.

use core::sync::atomic::{AtomicUsize, Ordering};

/// Whether such code runs, and on which thread.
#[derive(Debug, Default)]
pub(crate) struct Callback(AtomicUsize);

impl Callback {
    /// Runs `code`. One thread at a time: whoever calls this holds what the code must not call for.
    pub(crate) fn run<R>(&self, code: impl FnOnce() -> R) -> R {
        /// Takes the mark away, also if the code panics.
        struct Marked<'a>(&'a AtomicUsize);
        impl Drop for Marked<'_> {
            fn drop(&mut self) {
                self.0.store(0, Ordering::Relaxed);
            }
        }
        let marked = Marked(&self.0);
        // Relaxed: a thread looks for nothing but what it has stored itself.
        marked.0.store(this_thread(), Ordering::Relaxed);
        code()
    }

    /// Whether the caller is that code.
    pub(crate) fn is_here(&self) -> bool {
        self.0.load(Ordering::Relaxed) == this_thread()
    }
}

/// A number that no other living thread of this process has; not 0.
fn this_thread() -> usize {
    thread_local! {
        // Without a destructor, so that it is there until the thread has ended.
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| core::ptr::from_ref(here).addr())
}

#[cfg(test)]
mod tests {
    use super::Callback;

    #[test]
    fn the_thread_that_runs_the_code_is_known_until_it_ends() {
        let callback = Callback::default();
        let elsewhere = || std::thread::scope(|scope| scope.spawn(|| callback.is_here()).join());
        assert!(!callback.is_here());
        let inside = callback.run(|| (callback.is_here(), elsewhere().unwrap()));
        assert_eq!(inside, (true, false));
        let panics = || callback.run(|| panic!("on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert!(!callback.is_here());
    }
}
