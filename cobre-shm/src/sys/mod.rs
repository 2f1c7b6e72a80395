//! The edge to the operating system: one thin module per kernel facility.

#[cfg(not(loom))]
pub(crate) mod address_space;
#[cfg(not(loom))]
pub(crate) mod affinity;
#[cfg(not(loom))]
pub(crate) mod ancestry;
#[cfg(not(loom))]
pub(crate) mod callback;
pub(crate) mod clock;
#[cfg(not(loom))]
pub(crate) mod float;
#[cfg(not(loom))]
pub(crate) mod lock;
#[cfg(not(loom))]
pub(crate) mod memory;
#[cfg(not(loom))]
pub(crate) mod named;
#[cfg(not(loom))]
pub(crate) mod open_files;
#[cfg(not(loom))]
pub(crate) mod ours;
pub(crate) mod park;
#[cfg(not(loom))]
pub(crate) mod process;
#[cfg(not(loom))]
pub(crate) mod shm;
#[cfg(not(loom))]
pub(crate) mod usage;
pub(crate) mod waited;
