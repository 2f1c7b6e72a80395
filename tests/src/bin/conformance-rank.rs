//! A rank that runs cases of the conformance suite: those named by its arguments, or with `--all`
//! every one that leaves the communicator usable.
//!
//! It prints `case NAME` before each and `report NAME TEXT` after it, and exits with 101 when one
//! fails.

use std::io::Write;

use cobre_comm_trait::Communicator;
use cobre_tests::shm_cases;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let all = wanted == ["--all"];
    let comm = cobre_shm::init()?;
    let mut out = std::io::stdout();
    let mut ran = 0;
    for case in shm_cases() {
        let named = wanted.iter().any(|name| name == case.name);
        if named || all && !case.ends_job && case.runs_on(comm.size()) {
            writeln!(out, "case {}", case.name)?;
            let report = case.run(&comm);
            writeln!(out, "report {} {report}", case.name)?;
            ran += 1;
        }
    }
    if ran == 0 {
        return Err(format!("no such case among {wanted:?}").into());
    }
    Ok(())
}
