//! The edge to the operating system: one thin module per kernel facility.

pub(crate) mod clock;
#[cfg(not(loom))]
pub(crate) mod lock;
pub(crate) mod park;
#[cfg(not(loom))]
pub(crate) mod process;
#[cfg(not(loom))]
pub(crate) mod shm;
#[cfg(not(loom))]
pub(crate) mod usage;
