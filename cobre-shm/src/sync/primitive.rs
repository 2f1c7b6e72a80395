//! The atomics and cells that ranks share, from the standard library or, under `--cfg loom`, from
//! the model checker, so that it checks the code that runs.

#[cfg(not(loom))]
mod imp {
    pub(crate) use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

    use crate::{sys::affinity, topology};

    /// Bytes that one rank writes and others read, at times that the round protocol separates.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct SharedBytes<const N: usize>(core::cell::UnsafeCell<[u8; N]>);

    impl<const N: usize> SharedBytes<N> {
        /// Runs `f` on the bytes, for reading.
        #[inline]
        pub(crate) fn read<R>(&self, f: impl FnOnce(*const u8) -> R) -> R {
            f(self.0.get().cast())
        }

        /// Runs `f` on the bytes, for writing.
        #[inline]
        pub(crate) fn write<R>(&self, f: impl FnOnce(*mut u8) -> R) -> R {
            f(self.0.get().cast())
        }
    }

    #[inline]
    pub(crate) fn spin_hint() {
        core::hint::spin_loop();
    }

    /// The processor on which the caller runs just now, plus one; 0 if the system does not say.
    #[inline]
    pub(crate) fn this_processor() -> u32 {
        nix::sched::sched_getcpu().map_or(0, |processor| processor as u32 + 1)
    }

    /// The processors on which the caller may run, as [`this_processor`] says them.
    pub(crate) fn usable_processors() -> Vec<u32> {
        affinity::usable().into_iter().map(|p| p + 1).collect()
    }

    /// Moves the caller to one of these.
    pub(crate) fn move_to(processor: u32) {
        affinity::move_to(processor - 1, topology::is_everywhere);
    }

    #[inline]
    pub(crate) fn yield_now() {
        std::thread::yield_now();
    }
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use loom::thread::yield_now;

    #[derive(Debug)]
    pub(crate) struct SharedBytes<const N: usize>(loom::cell::UnsafeCell<[u8; N]>);

    impl<const N: usize> SharedBytes<N> {
        pub(crate) fn new() -> Self {
            Self(loom::cell::UnsafeCell::new([0; N]))
        }

        pub(crate) fn read<R>(&self, f: impl FnOnce(*const u8) -> R) -> R {
            self.0.with(|bytes| f(bytes.cast()))
        }

        pub(crate) fn write<R>(&self, f: impl FnOnce(*mut u8) -> R) -> R {
            self.0.with_mut(|bytes| f(bytes.cast()))
        }
    }

    pub(crate) fn this_processor() -> u32 {
        0
    }

    pub(crate) fn usable_processors() -> Vec<u32> {
        Vec::new()
    }

    pub(crate) fn move_to(_: u32) {}

    pub(crate) fn spin_hint() {
        loom::thread::yield_now();
    }
}

pub(crate) use imp::*;
