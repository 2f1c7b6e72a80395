//! Programs to copy from. Each runs alone, or as ranks: `cobre-launch -n 4 target/release/hello`.
//!
//! | binary | what it shows |
//! |---|---|
//! | `hello` | the smallest rank program |
//! | `window` | one table for all ranks, filled by all of them or by the leader |
//! | `exchange` | gathers, broadcasts and reductions without copies |
//! | `shared_tables` | the tables of an SDDP solver: case data, opening tree, a pool of cuts |
//! | `collectives` | what each collective costs on this machine |
//! | `hydrothermal` | an SDDP solver: see [`hydrothermal`] |
//! | `outlook` | uneven work, taken by whoever is free: see [`hydrothermal::outlook`] |
//! | `services` | services on a standing board, chosen by load; no launcher |
//!
//! How a solver puts the backend behind a Cargo feature of its own is a package: `own-solver`.
#![forbid(unsafe_code)]

pub mod hydrothermal;

/// The first program of the front page.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct FrontPage;
