//! Processes: those the launcher starts, and what it hears of them.
//!
//! The ranks are children of the `guard`, which outlives a killed launcher; the two talk through a
//! `channel`. `spawn` starts ranks, `descendants` finds what they have started themselves, `signal`
//! turns signals into events, with the help of the `witness`.

pub(crate) mod channel;
pub(crate) mod descendants;
pub(crate) mod guard;
pub(crate) mod signal;
pub(crate) mod spawn;
pub(crate) mod witness;
