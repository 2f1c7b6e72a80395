//! The conformance list of the SDDP solver, through the published trait, on ranks that are threads.
#![cfg(feature = "cobre-comm")]
#![allow(missing_docs, clippy::unwrap_used)]

use cobre_comm::{CommError, Communicator, ReduceOp, TopologyProvider};
use cobre_shm::ShmComm;

/// Runs `body` on every rank of a job of each size that the list asks for.
fn on_ranks(sizes: &[usize], body: impl Fn(&ShmComm) + Sync) {
    for &size in sizes {
        cobre_shm::run(size, &body);
    }
}

const SIZES: [usize; 4] = [1, 2, 4, 7];

fn offsets(counts: &[usize]) -> Vec<usize> {
    let mut end = 0;
    let start = |count: &usize| {
        end += count;
        end - count
    };
    counts.iter().map(start).collect()
}

/// Gathers `value(rank, k)` and compares every element.
fn check_allgatherv<T>(comm: &ShmComm, counts: &[usize], value: impl Fn(usize, usize) -> T)
where
    T: cobre_comm::CommData + PartialEq + core::fmt::Debug,
{
    let rank = Communicator::rank(comm);
    let send: Vec<T> = (0..counts[rank]).map(|k| value(rank, k)).collect();
    let mut recv = vec![T::default(); counts.iter().sum()];
    Communicator::allgatherv(comm, &send, &mut recv, counts, &offsets(counts)).unwrap();
    let expected: Vec<T> = counts
        .iter()
        .enumerate()
        .flat_map(|(rank, &count)| (0..count).map(move |k| (rank, k)))
        .map(|(rank, k)| value(rank, k))
        .collect();
    assert_eq!(recv, expected);
}

#[test]
fn allgatherv_of_any_counts_and_types() {
    on_ranks(&SIZES, |comm| {
        let size = Communicator::size(comm);
        let heterogeneous: Vec<usize> = (0..size).map(|rank| 3 + 2 * rank).collect();
        let mut one_empty = heterogeneous.clone();
        one_empty[size / 2] = 0;
        for counts in [heterogeneous, one_empty, vec![1; size], vec![0; size]] {
            check_allgatherv(comm, &counts, |rank, k| (rank * 1000 + k) as f64);
            check_allgatherv(comm, &counts, |rank, k| (rank * 1000 + k) as u64);
            check_allgatherv(comm, &counts, |rank, k| -((rank * 1000 + k) as i32));
            check_allgatherv(comm, &counts, |rank, k| (rank * 31 + k) as u8);
        }
        check_allgatherv(comm, &vec![100_000; size], |rank, k| {
            (rank * 1_000_000 + k) as f64
        });
    });
}

#[test]
fn allreduce_of_every_operation() {
    on_ranks(&SIZES, |comm| {
        let (rank, size) = (Communicator::rank(comm), Communicator::size(comm));
        let reduce = |op| {
            let mut result = [0.0; 3];
            let send = [rank as f64, -(rank as f64), 5.0];
            Communicator::allreduce(comm, &send, &mut result, op).unwrap();
            result
        };
        let (last, total) = ((size - 1) as f64, (size * (size - 1) / 2) as f64);
        assert_eq!(reduce(ReduceOp::Sum), [total, -total, 5.0 * size as f64]);
        assert_eq!(reduce(ReduceOp::Min), [0.0, -last, 5.0]);
        assert_eq!(reduce(ReduceOp::Max), [last, 0.0, 5.0]);
        let mut bits = [0_u64];
        Communicator::allreduce(comm, &[1_u64 << rank], &mut bits, ReduceOp::BitwiseOr).unwrap();
        assert_eq!(bits, [(1 << size) - 1]);
    });
}

#[test]
fn broadcast_from_the_first_and_the_last() {
    on_ranks(&SIZES, |comm| {
        let (rank, size) = (Communicator::rank(comm), Communicator::size(comm));
        for (root, len) in [(0, 1), (size - 1, 61), (0, 10_000), (0, 0), (0, 58_169)] {
            let value = |k| if rank == root { k as f64 + 0.5 } else { 0.0 };
            let mut buffer: Vec<f64> = (0..len).map(value).collect();
            Communicator::broadcast(comm, &mut buffer, root).unwrap();
            assert!(
                buffer
                    .iter()
                    .enumerate()
                    .all(|(k, &got)| got == k as f64 + 0.5)
            );
        }
    });
}

#[test]
fn a_sequence_of_all() {
    on_ranks(&SIZES, |comm| {
        let size = Communicator::size(comm);
        for _ in 0..3 {
            Communicator::barrier(comm).unwrap();
        }
        check_allgatherv(comm, &vec![2; size], |rank, k| (rank + k) as f64);
        let mut ranks = [0];
        Communicator::allreduce(comm, &[1], &mut ranks, ReduceOp::Sum).unwrap();
        assert_eq!(ranks, [size as i32]);
        Communicator::barrier(comm).unwrap();
        check_allgatherv(comm, &vec![2; size], |rank, k| (rank * k) as u64);
    });
}

#[test]
fn the_topology_is_one_host_with_all_ranks() {
    on_ranks(&SIZES, |comm| {
        let topology = TopologyProvider::topology(comm);
        assert_eq!(topology.world_size, Communicator::size(comm));
        assert_eq!(topology.num_hosts(), 1);
        let ranks: Vec<usize> = (0..Communicator::size(comm)).collect();
        assert_eq!(topology.hosts[0].ranks, ranks);
    });
}

#[test]
fn errors_keep_their_data() {
    on_ranks(&[1, 2], |comm| {
        let mut short = [0.0; 3];
        assert!(matches!(
            Communicator::allreduce(comm, &[1.0; 4], &mut short, ReduceOp::Sum),
            Err(CommError::InvalidBufferSize {
                operation: "allreduce",
                expected: 4,
                actual: 3
            })
        ));
    });
    on_ranks(&[2], |comm| {
        assert!(matches!(
            Communicator::broadcast(comm, &mut [0_u8], 5),
            Err(CommError::InvalidRoot { root: 5, size: 2 })
        ));
    });
}

/// The published bound admits a reference; it must not cross the address space.
#[test]
fn what_is_not_plain_is_refused_on_every_collective() {
    on_ranks(&[1, 2], |comm| {
        let size = Communicator::size(comm);
        let is_refused = |result: Result<(), CommError>| match result {
            Err(CommError::CollectiveFailed { message, .. }) => {
                assert!(message.contains("&str is not a plain number"), "{message}");
            }
            other => panic!("{other:?}"),
        };
        is_refused(Communicator::broadcast(comm, &mut ["text"], 0));
        is_refused(Communicator::allreduce(
            comm,
            &["text"],
            &mut [""],
            ReduceOp::Max,
        ));
        let (counts, displs) = (vec![1; size], offsets(&vec![1; size]));
        let mut recv = vec![""; size];
        is_refused(Communicator::allgatherv(
            comm,
            &["text"],
            &mut recv,
            &counts,
            &displs,
        ));
        // All ranks were refused alike and nothing was sent: the job goes on.
        Communicator::barrier(comm).unwrap();
    });
}

#[test]
fn a_reduction_of_floats_by_bits_is_refused() {
    on_ranks(&[2], |comm| {
        let result = Communicator::allreduce(comm, &[1.0], &mut [0.0], ReduceOp::BitwiseOr);
        match result {
            Err(CommError::CollectiveFailed { message, .. }) => {
                assert!(message.contains("not defined for f64"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    });
}
