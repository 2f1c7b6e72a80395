//! The running job, from its founding to its end.
//!
//! `supervise` is the loop that owns it; `job` its shared memory; `scene` what every rank is doing;
//! `hang` and `oom` what else can be wrong with it; `ending` how it is brought to its end; `clock`
//! by which all of them go.

pub(crate) mod clock;
pub(crate) mod ending;
pub(crate) mod hang;
pub(crate) mod job;
pub(crate) mod oom;
pub(crate) mod scene;
pub(crate) mod stacks;
pub(crate) mod supervise;
