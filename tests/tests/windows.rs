//! Shared windows of `cobre-shm` beyond what the conformance suite can ask of any backend.

use core::ops::Range;

use bytemuck::{Pod, Zeroable};
use cobre_comm_trait::{
    CommError, Communicator, Operation, PoolProvider, ReduceOp, RegionReader, Rows,
    SharedMemoryProvider, SharedRegion,
};
use cobre_shm::{Chunking, ShmComm, WindowOptions};
use cobre_tests::run_threads;

/// More than any machine has, but nothing that the address space forbids.
const TOO_MUCH: usize = 1 << 45;

#[test]
fn a_window_larger_than_the_memory_is_refused_everywhere() {
    run_threads(3, |comm, _| {
        for _ in 0..3 {
            let refused = comm.create_shared_region::<u8>(TOO_MUCH).map(drop);
            let Err(CommError::AllocationFailed {
                requested_bytes,
                message,
            }) = refused
            else {
                panic!("{refused:?} instead of AllocationFailed");
            };
            assert_eq!(requested_bytes, TOO_MUCH);
            let limit = ["/dev/shm has ", "cgroup ", "this machine has "];
            let named = limit.iter().any(|limit| message.contains(limit));
            assert!(named, "no limit in: {message}");
            // Not final.
            let mut sum = [0];
            comm.allreduce(&[1], &mut sum, ReduceOp::Sum)
                .expect("the communicator goes on");
            assert_eq!(sum, [3]);
        }
    });
}

/// Elements that a page does not align.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(8192))]
struct Aligned([[u8; 4096]; 2]);

/// A window begins on a page, wherever the kernel puts it.
#[test]
fn elements_aligned_beyond_a_page_are_refused_everywhere() {
    for ranks in [1, 2] {
        run_threads(ranks, |comm, _| {
            let counts = vec![1; ranks];
            let refused = [
                comm.create_shared_region::<Aligned>(3).map(drop),
                comm.create_shared_region::<Aligned>(0).map(drop),
                comm.create_exchange::<Aligned>(&counts).map(drop),
                comm.create_pool::<Aligned>(3).map(drop),
                comm.dynamic::<Aligned>(0..3, Chunking::Guided).map(drop),
            ];
            for refused in refused {
                let Err(CommError::AllocationFailed { message, .. }) = refused else {
                    panic!("{refused:?} instead of AllocationFailed");
                };
                assert!(message.contains("aligned to 8192 bytes"), "{message}");
            }
            // Private memory may be what it likes.
            let mut buf = [Aligned([[comm.rank() as u8; 4096]; 2])];
            comm.broadcast(&mut buf, ranks - 1).expect("not final");
            assert_eq!(buf[0].0[1][4095], ranks as u8 - 1);
        });
    }
}

/// Each rank reserves and writes its own pages; all read all of them.
#[test]
fn every_page_of_a_window_is_there() {
    const LEN: usize = 4 << 20;
    run_threads(4, |comm, _| {
        let mut region = comm
            .create_shared_region::<u64>(LEN)
            .expect("32 MiB of /dev/shm");
        let part = region.part();
        for (i, element) in part.zip(region.part_mut()) {
            *element = i as u64;
        }
        let reader = region.fence().expect("all ranks are there");
        assert!((0..LEN).step_by(509).all(|i| reader[i] == i as u64));
    });
}

/// A window outlives the communicator that made it, and reads on without it.
#[test]
fn a_window_outlives_its_communicator() {
    run_threads(3, |comm, _| {
        let mut region = comm.create_shared_region::<u32>(300).expect("a window");
        region.part_mut().fill(7);
        let reader = region.fence().expect("all ranks are there");
        drop(comm);
        assert!(reader.iter().all(|&element| element == 7));
    });
}

fn with_parts(comm: &ShmComm, len: usize, parts: &[Range<usize>]) -> Result<(), CommError> {
    let options = WindowOptions::new().parts(parts);
    comm.create_window::<u32>(len, &options).map(drop)
}

#[test]
fn parts_are_those_that_were_given() {
    run_threads(3, |comm, _| {
        // In another order than the ranks, one of them empty.
        let parts = [7..10, 0..0, 0..7];
        let options = WindowOptions::new().parts(parts.clone());
        let mut window = comm.create_window::<u16>(10, &options).expect("a page");
        assert_eq!(window.part(), parts[comm.rank()]);
        window.part_mut().fill(comm.rank() as u16);
        let all = window.fence().expect("all ranks are there");
        assert_eq!(*all, [2, 2, 2, 2, 2, 2, 2, 0, 0, 0]);
    });
}

#[test]
fn parts_that_are_no_division_are_refused_everywhere() {
    // Arguments that are no good end the job, so each gets one.
    let refused = |parts: &[Range<usize>]| {
        let mut outcomes = run_threads(2, |comm, _| {
            let refused = with_parts(&comm, 9, parts).expect_err("no division");
            let CommError::Rejected { call, reason } = refused else {
                panic!("{refused}")
            };
            assert_eq!(call.rank, comm.rank());
            *reason
        });
        assert_eq!(outcomes[0], outcomes[1]);
        outcomes.swap_remove(0)
    };
    let operation = Operation::CreateRegion;
    let gap = CommError::UnownedElements {
        operation,
        start: 4,
        end: 5,
    };
    let overlap = CommError::OverlappingRanges {
        operation,
        first: 0,
        second: 1,
    };
    assert_eq!(refused(&[0..4, 5..9]), gap);
    assert_eq!(refused(&[0..5, 4..9]), overlap);
    let beyond = CommError::InvalidPart {
        operation,
        rank: 1,
        start: 4,
        end: 10,
        len: 9,
    };
    assert_eq!(refused(&[0..4, 4..10]), beyond);
    for odd in [vec![0..9; 1], vec![0..4, 4..9, 9..9]] {
        let refused = refused(&odd);
        assert!(
            matches!(refused, CommError::InvalidBufferSize { .. }),
            "{refused:?}"
        );
    }
}

#[test]
fn more_bytes_than_can_be_counted_are_refused_everywhere_and_harmless() {
    run_threads(2, |comm, _| {
        let half = usize::MAX / 2;
        let refused = with_parts(&comm, usize::MAX, &[0..half, half..usize::MAX]);
        assert!(
            matches!(refused, Err(CommError::AllocationFailed { .. })),
            "{refused:?}"
        );
        assert_eq!(with_parts(&comm, 9, &[0..4, 4..9]), Ok(()));
    });
}

#[test]
fn ranks_that_give_different_parts_are_told() {
    run_threads(2, |comm, _| {
        let parts = if comm.rank() == 0 {
            [0..4, 4..9]
        } else {
            [0..5, 5..9]
        };
        let refused = with_parts(&comm, 9, &parts);
        assert!(
            matches!(refused, Err(CommError::Mismatch { .. })),
            "{refused:?}"
        );
    });
}

/// Rows of structs, each rank writes its own, all read all.
#[test]
fn rows_of_structs_are_written_by_their_ranks() {
    for ranks in [1, 3, 4] {
        run_threads(ranks, |comm, _| {
            let shape = Rows::on_lines::<[u64; 3]>(10, 5);
            let options = WindowOptions::new().parts(shape.parts(ranks));
            let mut table = comm
                .create_window::<[u64; 3]>(shape.len(), &options)
                .expect("a page");
            let part = table.part();
            assert_eq!(
                part.start,
                shape.of_rank(ranks, comm.rank()).start * shape.stride()
            );
            for (number, row) in shape.rows_mut(part, table.part_mut()) {
                assert!(
                    row.as_ptr().addr().is_multiple_of(64),
                    "row {number} begins on a line"
                );
                row.fill([number as u64, comm.rank() as u64, 7]);
            }
            let table = table.fence().expect("all ranks are there");
            for (number, row) in shape.of(&table).iter().enumerate() {
                let owner = (0..ranks).find(|&rank| shape.of_rank(ranks, rank).contains(&number));
                let owner = owner.expect("every row has one") as u64;
                assert_eq!(row, [[number as u64, owner, 7]; 5]);
            }
        });
    }
}

#[test]
fn the_leader_updates_what_all_read() {
    run_threads(3, |comm, _| {
        let window = comm.create_shared_region::<u64>(100).expect("a page");
        let mut table = window.fence().expect("all ranks are there");
        for turn in 1..20 {
            table = table
                .update_by_leader(|all| {
                    assert_eq!(comm.rank(), 0);
                    all.iter_mut().for_each(|element| *element += turn);
                })
                .expect("all ranks are there");
            assert!(
                table
                    .iter()
                    .all(|&element| element == turn * (turn + 1) / 2)
            );
        }
    });
}

/// Nobody is told anything twice: all ranks have the same picture, without a collective.
#[test]
fn every_rank_knows_where_all_may_run() {
    run_threads(3, |comm, _| {
        let topology = comm.topology();
        assert_eq!(topology.ranks.len(), 3);
        let processors = topology.ranks[0].processors;
        assert!(processors > 0);
        // Threads of one process, which have the same processors.
        assert!(
            topology
                .ranks
                .iter()
                .all(|place| place.processors == processors)
        );
        if comm.rank() == 0 {
            return;
        }
        assert_eq!(topology, comm.topology());
    });
}
