//! The life of a job outside its collectives.
//!
//! `config` is what the environment says, `foreign` what other launchers say in it, and `values` reads
//! single variables; `forming` is how ranks
//! become a job, `split` and `splits` how they become a second one; `exit` and `abort` how it ends,
//! `leftovers` what dead ones leave behind.

pub(crate) mod abort;
pub(crate) mod config;
pub(crate) mod error;
pub(crate) mod exit;
mod foreign;
pub(crate) mod forming;
pub(crate) mod leftovers;
pub(crate) mod names;
pub(crate) mod split;
pub(crate) mod splits;
mod values;
