//! Who owns which bytes of shared memory.
//!
//! `segment` is a mapping, `layout` says what lies where in the job's first one and `control` hands it
//! out; `staging` is the part that payloads pass through. `identify` tells whether a file is such a
//! segment at all, `object` makes further ones for windows, `room` asks whether there is space.

pub(crate) mod control;
pub(crate) mod identify;
pub(crate) mod layout;
pub(crate) mod object;
pub(crate) mod room;
pub(crate) mod segment;
pub(crate) mod staging;
