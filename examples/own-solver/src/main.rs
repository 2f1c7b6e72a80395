//! The only place that knows which backend it is. See the library's documentation.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "prints the result")]

use cobre_comm_trait::Communicator;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(feature = "shm")]
    let comm = cobre_shm::init()?;
    #[cfg(not(feature = "shm"))]
    let comm = cobre_comm_trait::LocalComm::new();

    let area = own_solver::integrate(&comm, 0.0, 1.0, 10_000_000, |x| 4.0 / (1.0 + x * x))?;
    if comm.rank() == 0 {
        println!("size {}, {} backend: {area:?}", comm.size(), backend());
    }
    Ok(())
}

fn backend() -> &'static str {
    if cfg!(feature = "shm") {
        "cobre-shm"
    } else {
        "local"
    }
}
