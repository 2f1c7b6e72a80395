//! Random sequences of operations of random shapes give what a sequential model gives.

use cobre_comm_trait::conformance::Random;
use cobre_comm_trait::{
    CommData, CommError, Communicator, ReduceOp, Reducible, SharedMemoryProvider, SharedRegion,
    block_range,
};
use cobre_shm::ShmComm;
use cobre_tests::run_threads_with;
use proptest::prelude::*;

const MOST_RANKS: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Barrier,
    /// Elements of `width` bytes; the root is taken modulo the ranks.
    Broadcast {
        width: usize,
        root: usize,
        bytes: usize,
    },
    Reduce {
        element: Element,
        op: ReduceOp,
        bytes: usize,
    },
    /// Bytes from each rank, and how wide the gaps between the ranges may be.
    Gather {
        width: usize,
        bytes: [usize; MOST_RANKS],
        gap: usize,
    },
    Region {
        width: usize,
        bytes: usize,
        by_leader: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum Element {
    U8,
    I16,
    F32,
    F64,
    U64,
}

const WIDTHS: [usize; 8] = [1, 2, 3, 5, 8, 24, 29, 32];

/// Runs `$body` with `$element` as an element of `$width` bytes.
macro_rules! with_width {
    ($width:expr, $element:ident => $body:expr) => {
        match $width {
            1 => {
                type $element = u8;
                $body
            }
            2 => {
                type $element = u16;
                $body
            }
            3 => {
                type $element = [u8; 3];
                $body
            }
            5 => {
                type $element = [u8; 5];
                $body
            }
            8 => {
                type $element = f64;
                $body
            }
            24 => {
                type $element = [u64; 3];
                $body
            }
            29 => {
                type $element = [u8; 29];
                $body
            }
            _ => {
                type $element = [u32; 8];
                $body
            }
        }
    };
}

fn size_in_bytes() -> impl Strategy<Value = usize> {
    // Mostly small; up to several staging buffers of one page.
    prop_oneof![
        2 => 0..3_usize,
        4 => 0..130_usize,
        3 => 0..5000_usize,
        2 => 4000..4200_usize,
        1 => 0..40_000_usize,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let width = || prop::sample::select(&WIDTHS[..]);
    let element = prop::sample::select(
        &[
            Element::U8,
            Element::I16,
            Element::F32,
            Element::F64,
            Element::U64,
        ][..],
    );
    let op = prop::sample::select(&ReduceOp::ALL[..]);
    prop_oneof![
        1 => Just(Step::Barrier),
        4 => (width(), 0..MOST_RANKS, size_in_bytes())
            .prop_map(|(width, root, bytes)| Step::Broadcast { width, root, bytes }),
        4 => (element, op, size_in_bytes())
            .prop_map(|(element, op, bytes)| Step::Reduce { element, op, bytes }),
        5 => (width(), prop::array::uniform6(size_in_bytes()), 0..9_usize)
            .prop_map(|(width, bytes, gap)| Step::Gather { width, bytes, gap }),
        1 => (width(), size_in_bytes(), any::<bool>())
            .prop_map(|(width, bytes, by_leader)| Step::Region { width, bytes, by_leader }),
    ]
}

/// What `rank` sends in the `number`-th step.
fn sent<T: CommData>(number: usize, rank: usize, len: usize) -> Vec<T> {
    let mut bits = Random::new((number * 64 + rank) as u64);
    let mut elements = vec![T::zeroed(); len];
    for byte in bytemuck::cast_slice_mut::<T, u8>(&mut elements) {
        *byte = bits.word() as u8;
    }
    elements
}

fn assert_same<T: CommData>(actual: &[T], expected: &[T]) {
    let bytes = bytemuck::cast_slice::<T, u8>;
    let (actual, expected) = (bytes(actual), bytes(expected));
    let differs = actual.iter().zip(expected).position(|(a, e)| a != e);
    assert!(
        actual.len() == expected.len() && differs.is_none(),
        "{} bytes instead of {}, first difference at {differs:?}",
        actual.len(),
        expected.len()
    );
}

fn done<R>(result: Result<R, CommError>) -> R {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn broadcast<T: CommData>(comm: &ShmComm, number: usize, root: usize, bytes: usize) {
    let (root, len) = (root % comm.size(), bytes / size_of::<T>());
    let mut buf: Vec<T> = sent(number, comm.rank(), len);
    done(comm.broadcast(&mut buf, root));
    assert_same(&buf, &sent(number, root, len));
}

fn reduce<T: Reducible>(comm: &ShmComm, number: usize, op: ReduceOp, bytes: usize) {
    if !T::supports(op) {
        return;
    }
    let len = bytes / size_of::<T>() + 1;
    let operands: Vec<Vec<T>> = (0..comm.size()).map(|r| sent(number, r, len)).collect();
    let mut recv = vec![T::zeroed(); len];
    done(comm.allreduce(&operands[comm.rank()], &mut recv, op));
    let expected: Vec<T> = (0..len)
        .map(|i| {
            let rest = operands[1..].iter();
            let total = rest.fold(operands[0][i], |sum, operand| sum.combine(operand[i], op));
            total.canonical()
        })
        .collect();
    assert_same(&recv, &expected);
}

fn gather<T: CommData>(comm: &ShmComm, number: usize, bytes: &[usize], gap: usize) {
    let counts: Vec<usize> = bytes[..comm.size()]
        .iter()
        .map(|bytes| bytes / size_of::<T>())
        .collect();
    // Every rank lays its own buffer out: another order, other gaps.
    let mut own = Random::new((number * 64 + comm.rank()) as u64 ^ 0xabcd);
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|_| own.word());
    let mut displs = vec![0; counts.len()];
    let mut end = 0;
    for &rank in &order {
        displs[rank] = end + own.below(gap + 1);
        end = displs[rank] + counts[rank];
    }
    let before: Vec<T> = sent(number + 7, 63, end + own.below(gap + 1));
    let mut recv = before.clone();
    let send: Vec<T> = sent(number, comm.rank(), counts[comm.rank()]);
    done(comm.allgatherv(&send, &mut recv, &counts, &displs));
    let mut expected = before;
    for rank in 0..comm.size() {
        expected[displs[rank]..][..counts[rank]].copy_from_slice(&sent(number, rank, counts[rank]));
    }
    assert_same(&recv, &expected);
}

fn region<T: CommData>(comm: &ShmComm, number: usize, bytes: usize, by_leader: bool) {
    let len = bytes / size_of::<T>();
    let whole: Vec<T> = sent(number, 0, len);
    let mut region = done(comm.create_shared_region::<T>(len));
    let reader = if by_leader {
        region.populate_by_leader(|all| all.copy_from_slice(&whole))
    } else {
        let part = block_range(len, comm.size(), comm.rank());
        region.part_mut().copy_from_slice(&whole[part]);
        region.fence()
    };
    assert_same(&done(reader), &whole);
}

fn run(comm: &ShmComm, number: usize, step: &Step) {
    match *step {
        Step::Barrier => done(comm.barrier()),
        Step::Broadcast { width, root, bytes } => {
            with_width!(width, T => broadcast::<T>(comm, number, root, bytes));
        }
        Step::Reduce { element, op, bytes } => match element {
            Element::U8 => reduce::<u8>(comm, number, op, bytes),
            Element::I16 => reduce::<i16>(comm, number, op, bytes),
            Element::F32 => reduce::<f32>(comm, number, op, bytes),
            Element::F64 => reduce::<f64>(comm, number, op, bytes),
            Element::U64 => reduce::<u64>(comm, number, op, bytes),
        },
        Step::Gather { width, bytes, gap } => {
            with_width!(width, T => gather::<T>(comm, number, &bytes, gap));
        }
        Step::Region {
            width,
            bytes,
            by_leader,
        } => with_width!(width, T => region::<T>(comm, number, bytes, by_leader)),
    }
}

proptest! {
    // As many cases as PROPTEST_CASES says, or 256.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sequence_of_operations_equals_the_model(
        ranks in 1..=MOST_RANKS,
        staging in prop::sample::select(&[1, 1, 200_000, 4 << 20][..]),
        steps in prop::collection::vec(step(), 1..40),
        pace in any::<u64>(),
    ) {
        let smaller = |config: &mut cobre_shm::Config| config.staging_bytes = staging;
        run_threads_with(ranks, smaller, |comm, watchdog| {
            let mut own = Random::new(pace ^ comm.rank() as u64);
            for (number, step) in steps.iter().enumerate() {
                watchdog.step(comm.rank(), &format!("{number}: {step:?}"));
                // Ranks drift apart.
                for _ in 0..own.below(4) * own.below(2000) {
                    core::hint::spin_loop();
                }
                run(&comm, number, step);
            }
        });
    }
}
