//! Programs to copy from. Each runs alone, or as ranks: `cobre-launch -n 4 target/release/hello`.
//!
//! | binary | what it shows |
//! |---|---|
//! | `hello` | the smallest rank program |
//! | `window` | one table for all ranks, filled by all of them or by the leader |
//! | `collectives` | what each collective costs on this machine |
//! | `hydrothermal` | a solver: see [`hydrothermal`] |
//!
//! How a solver puts the backend behind a Cargo feature of its own is a package: `own-solver`.
#![forbid(unsafe_code)]

pub mod hydrothermal;
