//! Windows: one copy of an array for all ranks.
//!
//! | module | what |
//! |---|---|
//! | `create` | an object that everybody maps |
//! | `options`, `arrange`, `populate` | where its pages lie, and that they are there |
//! | `huge` | an object of huge pages |
//! | `memory` | its bytes, in no epoch |
//! | `region`, `reader` | one array: the write epoch and the leader's, the read epoch |
//! | `exchange` | two arrays that change places: written and read at the same time |
//! | `pool` | a table that grows while it is read |
//! | `reduction` | an operand of each rank, and their result |
//!
//! *Epochs.* In the write epoch a rank can reach its own part only, as `&mut`; in the read epoch all
//! of it, as `&`. The fence between them is a barrier whose signature names the window and the epoch
//! it leads to, so ranks cannot come to be in different ones. No reference of the old epoch is left
//! when a rank calls it: a region is taken by value and given back as the other type, an exchange or
//! a reduction is taken by `&mut`. The barrier's Release and Acquire make the writes visible.

mod arrange;
mod create;
mod exchange;
mod huge;
mod memory;
mod options;
mod pool;
mod populate;
mod reader;
mod reduction;
mod region;

pub(crate) use create::check_alignment;
pub use exchange::ShmExchange;
pub use huge::SmallPages;
pub use options::{HugePages, WindowOptions, WindowPlacement};
pub use pool::ShmPool;
pub use reader::ShmReader;
pub use reduction::ShmReduction;
pub use region::ShmRegion;
