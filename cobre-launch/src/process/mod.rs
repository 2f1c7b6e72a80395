//! Processes: those the launcher starts, and what it hears of them.
//!
//! The ranks are children of the `guard`, which outlives a killed launcher; the two talk through a
//! `channel`. `spawn` starts ranks, `debugger` opens panes for them, `child` signals what is ours
//! and nobody else, `descendants` ends what the ranks have started themselves, `signal` turns
//! signals into events, with the help of the `witness`; `pty` makes terminals that ranks write to,
//! `missed` gives new processes the signals that came before them.

pub(crate) mod channel;
pub(crate) mod child;
pub(crate) mod debugger;
pub(crate) mod descendants;
pub(crate) mod guard;
pub(crate) mod missed;
pub(crate) mod pty;
pub(crate) mod signal;
pub(crate) mod spawn;
pub(crate) mod witness;
