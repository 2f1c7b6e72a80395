//! Ranks wait for each other, and learn of failures.
//!
//! Nothing here knows segments or processes: a job is [`cell::Members`], in shared memory or, for
//! the model checker, on the heap. From the bottom up: `primitive` (atomics), `cell` (the words
//! through which ranks meet), `failure` (the first one, and waking whoever sleeps), `wait` (spin,
//! yield, sleep), `spread` (over the processors), `round` (publish and await; when a slot may be
//! written again). `parting` is what those show that leave.

pub(crate) mod cell;
pub(crate) mod failure;
pub(crate) mod latch;
pub(crate) mod parting;
pub(crate) mod patience;
pub(crate) mod primitive;
pub(crate) mod ring;
pub(crate) mod round;
pub(crate) mod spread;
pub(crate) mod wait;
