//! Sleeping until another process changes a word: the seam behind which systems differ.
//!
//! [`wait`] returns at the latest after `timeout`, and may return early for no reason.
//! [`wake_all`] wakes everybody who slept when it was called. A sleeper that finds the word
//! different from `expected` does not sleep: the check and the falling asleep are one step as far
//! as `wake_all` can see.

#[cfg(all(not(loom), target_os = "linux", not(feature = "portable-park")))]
mod imp {
    #![allow(unsafe_code)]
    use core::{ptr, sync::atomic::AtomicU32, time::Duration};

    // FUTEX_PRIVATE_FLAG is left out: the sleepers are other processes.

    pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: `word` is a live, aligned 32-bit word and `timeout` a valid timespec; the kernel
        // reads both and writes neither. Every error (EAGAIN, EINTR, ETIMEDOUT) means: look again.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT,
                expected,
                &raw const timeout,
            )
        };
    }

    pub(crate) fn wake_all(word: &AtomicU32) {
        // SAFETY: `word` is a live, aligned 32-bit word; the kernel uses its address only.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAKE,
                libc::c_int::MAX,
                ptr::null::<libc::timespec>(),
            )
        };
    }
}

#[cfg(all(not(loom), any(not(target_os = "linux"), feature = "portable-park")))]
mod imp {
    use core::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };
    use std::{thread, time::Instant};

    const FIRST_NAP: Duration = Duration::from_micros(20);
    const LONGEST_NAP: Duration = Duration::from_millis(1);

    /// Naps of growing length until the word changes.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut nap = FIRST_NAP;
        // Relaxed: the caller looks again, with its own ordering, at what it really waits for.
        while word.load(Ordering::Relaxed) == expected && Instant::now() < deadline {
            thread::sleep(nap);
            nap = (nap * 2).min(LONGEST_NAP);
        }
    }

    /// Sleepers look for themselves.
    pub(crate) fn wake_all(_word: &AtomicU32) {}
}

#[cfg(loom)]
pub(crate) use crate::model::park::{wait, wake_all};
#[cfg(not(loom))]
pub(crate) use imp::{wait, wake_all};

#[cfg(all(test, not(loom)))]
mod tests {
    use core::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    #[test]
    fn a_word_that_already_changed_is_not_waited_for() {
        let word = AtomicU32::new(1);
        super::wait(&word, 0, Duration::from_secs(3600));
    }

    #[test]
    fn a_sleeper_is_woken() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while word.load(Ordering::Acquire) == 0 {
                    super::wait(&word, 0, Duration::from_secs(3600));
                }
            });
            word.store(1, Ordering::Release);
            super::wake_all(&word);
        });
    }
}
