//! The pieces below a collective: `cargo bench -p cobre-benches --features pieces`.
//!
//! Folds and copies at the lengths of a collective's pieces; waiting, as a barrier of threads.
#![forbid(unsafe_code)]

use cobre_comm_trait::{Communicator, ReduceOp};
use cobre_shm::{Config, ShmComm, bench_support, random_job_name};
use divan::{Bencher, counter::BytesCount};

fn main() {
    divan::main();
}

/// Bytes of an operand: in a cell, in the first-level cache, a piece, beyond the second level.
const LENGTHS: [usize; 4] = [32, 4 << 10, 64 << 10, 4 << 20];

fn fold(bencher: Bencher<'_, '_>, op: ReduceOp, (ranks, bytes): (usize, usize)) {
    let operands = vec![vec![1.5_f64; bytes / 8]; ranks];
    let operands: Vec<&[f64]> = operands.iter().map(Vec::as_slice).collect();
    let mut out = vec![0.0; bytes / 8];
    bencher
        .counter(BytesCount::new(ranks * bytes))
        .bench_local(|| bench_support::fold(op, divan::black_box(&mut out), &operands));
}

fn folds() -> impl Iterator<Item = (usize, usize)> {
    [2, 8]
        .into_iter()
        .flat_map(|ranks| LENGTHS.map(|bytes| (ranks, bytes)))
}

#[divan::bench(args = folds())]
fn fold_sum(bencher: Bencher<'_, '_>, case: (usize, usize)) {
    fold(bencher, ReduceOp::Sum, case);
}

#[divan::bench(args = folds())]
fn fold_max(bencher: Bencher<'_, '_>, case: (usize, usize)) {
    fold(bencher, ReduceOp::Max, case);
}

#[divan::bench(args = LENGTHS)]
fn copy(bencher: Bencher<'_, '_>, bytes: usize) {
    let (from, mut to) = (vec![1_u8; bytes], vec![0_u8; bytes]);
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| divan::black_box(&mut to).copy_from_slice(divan::black_box(&from)));
}

/// One wait for each peer, and hardly anything else.
#[divan::bench(args = [1, 2, 4])]
fn barrier(bencher: Bencher<'_, '_>, ranks: usize) {
    let name = random_job_name();
    let join = |rank| ShmComm::form(&Config::new(name.clone(), rank, ranks));
    std::thread::scope(|scope| {
        let join = &join;
        for rank in 1..ranks {
            // Until rank 0 has measured enough and leaves.
            scope.spawn(move || {
                if let Ok(comm) = join(rank) {
                    while comm.barrier().is_ok() {}
                }
            });
        }
        let Ok(comm) = join(0) else {
            return;
        };
        bencher.bench_local(|| comm.barrier().is_ok());
    });
}
