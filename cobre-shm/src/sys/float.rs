//! The state of the calling thread's floating-point unit that changes results: rounding, and whether
//! subnormal numbers count as zero.
//!
//! Programs leave it alone. But a library that was linked with `-ffast-math` sets it when it is loaded,
//! and some numerical code sets it for speed; then one rank of a job computes other bits than the rest.

#![allow(unsafe_code)]

/// The bits of the state that deviate from the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Modes(imp::State);

impl Modes {
    pub(crate) const DEFAULT: Self = Self(0);

    /// Those of the calling thread. Reading them takes some twenty cycles, which cost nothing where the
    /// thread waits anyway. (Sums that reveal them are no way round: a subnormal one may take two
    /// hundred.)
    #[inline]
    pub(crate) fn now() -> Self {
        Self(imp::read() & imp::MODES)
    }
}

/// Runs `fold` under the default state, rounding to nearest with subnormal numbers, and puts back what
/// it found.
///
/// The arithmetic is behind a call through a pointer, so that the compiler moves none of it to where
/// the state is another.
#[cold]
#[inline(never)]
pub(crate) fn under_default(fold: &mut dyn FnMut()) {
    let found = imp::read();
    imp::write(found & !imp::MODES);
    fold();
    // What was raised meanwhile stays raised.
    imp::write(imp::read() & !imp::MODES | found & imp::MODES);
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use core::arch::asm;

    /// The register MXCSR.
    pub(super) type State = u32;

    /// Flush to zero (15), rounding (13..15), denormals are zeros (6).
    pub(super) const MODES: State = 1 << 15 | 3 << 13 | 1 << 6;

    #[inline]
    pub(super) fn read() -> State {
        let mut state = 0;
        // SAFETY: stores four bytes where they belong, and changes nothing else.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut state, options(nostack, preserves_flags)) };
        state
    }

    pub(super) fn write(state: State) {
        // SAFETY: loads a state that `read` has returned, but for the modes: exceptions are masked as
        // they were. Either the modes become what compiled code expects, or again what the program
        // has set.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const state, options(nostack, preserves_flags))
        };
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    use core::arch::asm;

    /// The register FPCR.
    pub(super) type State = u64;

    /// Flush to zero (24), rounding (22..24), flush of inputs (0), alternative handling (1).
    pub(super) const MODES: State = 1 << 24 | 3 << 22 | 3;

    #[inline]
    pub(super) fn read() -> State {
        let state;
        // SAFETY: reads a register.
        unsafe { asm!("mrs {}, fpcr", out(reg) state, options(nostack, preserves_flags)) };
        state
    }

    pub(super) fn write(state: State) {
        // SAFETY: writes a state that `read` has returned, but for the modes. Either these become what
        // compiled code expects, or again what the program has set.
        unsafe { asm!("msr fpcr, {}", in(reg) state, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod imp {
    pub(super) type State = u32;
    pub(super) const MODES: State = 0;

    #[inline]
    pub(super) fn read() -> State {
        0
    }

    pub(super) fn write(_: State) {}
}

/// Runs `body` with each bit of the modes set in turn, as a program might have set it, and checks that it
/// leaves the state alone.
#[cfg(test)]
pub(crate) fn in_every_other_state(mut body: impl FnMut()) {
    let found = imp::read();
    for bit in (0..imp::State::BITS).map(|bit| 1 << bit) {
        if bit & imp::MODES != 0 {
            imp::write(found | bit);
            // A processor may not have it.
            let set = Modes::now();
            body();
            let left = Modes::now();
            imp::write(found);
            assert_eq!(left, set);
        }
    }
}
