//! One collective call of one rank: who may make it, what it is, and what peers learn of it.
//!
//! `core` is the membership through which every call goes, `sites` names its place in the program,
//! `log` holds its signature for peers, and `activity` and `stall` what the rank waits for; `members`
//! decides who has failed, `parting` whether ranks that leave have made the same calls, and `explain`
//! makes an error of all that.

pub(crate) mod activity;
pub(crate) mod core;
pub(crate) mod explain;
pub(crate) mod log;
mod members;
#[cfg(test)]
mod overwritten;
mod parting;
pub(crate) mod sites;
pub(crate) mod stall;
