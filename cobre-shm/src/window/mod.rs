//! Windows: one copy of an array for all ranks.
//!
//! | module | what |
//! |---|---|
//! | `create` | an object that everybody maps |
//! | `memory` | its bytes, in no epoch, and the fence |
//! | `region` | the write epoch, and the leader's |
//! | `reader` | the read epoch |
//!
//! *Epochs.* In the write epoch a rank can reach its own part only, as `&mut`; in the read epoch all
//! of it, as `&`. The fence between them is a barrier whose signature names the region and the epoch
//! it leads to, so ranks cannot come to be in different ones. It takes the region by value and gives
//! it back as the other type, so no reference of the old epoch is left. The barrier's Release and
//! Acquire make the writes visible.

mod create;
mod memory;
mod reader;
mod region;

pub(crate) use create::create;
pub use reader::ShmReader;
pub use region::ShmRegion;
