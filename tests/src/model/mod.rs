//! A communicator of threads that is obviously right: one mutex, one condition variable, and every
//! collective an exchange of copies. It shows that the conformance suite can be passed; with a
//! [`Fault`], that the suite notices.

mod communicator;
mod exchange;
mod fault;
mod job;
mod region;

pub use communicator::ModelComm;
pub use exchange::{ModelExchange, ModelReduction};
pub use fault::Fault;
pub use region::{ModelReader, ModelRegion};
