//! The argument checks that every backend makes before anything is sent.

use core::ops::Range;

use crate::{CommError, Operation, ReduceOp, Reducible};

fn length(
    operation: Operation,
    buffer: &'static str,
    expected: usize,
    actual: usize,
) -> Result<(), CommError> {
    if expected == actual {
        return Ok(());
    }
    Err(CommError::InvalidBufferSize {
        operation,
        buffer,
        expected,
        actual,
    })
}

/// The preconditions of [`allgatherv`](crate::Communicator::allgatherv) on one rank.
///
/// Does not allocate when `displs` ascend.
///
/// # Errors
/// [`CommError::InvalidBufferSize`], [`CommError::OverlappingRanges`].
///
/// # Panics
/// If `rank` is not below `size`.
pub fn allgatherv(
    (rank, size): (usize, usize),
    send_len: usize,
    recv_len: usize,
    counts: &[usize],
    displs: &[usize],
) -> Result<(), CommError> {
    let operation = Operation::Allgatherv;
    length(operation, "counts", size, counts.len())?;
    length(operation, "displs", size, displs.len())?;
    length(operation, "send", counts[rank], send_len)?;
    let (mut last_end, mut needed) = (0, 0);
    let mut ascending = true;
    for (&count, &displ) in counts.iter().zip(displs) {
        if count > 0 {
            ascending &= displ >= last_end;
            last_end = displ.saturating_add(count);
            needed = needed.max(last_end);
        }
    }
    if needed > recv_len {
        length(operation, "recv", needed, recv_len)
    } else if ascending {
        Ok(())
    } else {
        disjoint(counts, displs)
    }
}

#[cold]
fn disjoint(counts: &[usize], displs: &[usize]) -> Result<(), CommError> {
    let mut order: Vec<usize> = (0..counts.len()).filter(|&i| counts[i] > 0).collect();
    order.sort_by_key(|&i| displs[i]);
    match order
        .windows(2)
        .find(|pair| displs[pair[0]] + counts[pair[0]] > displs[pair[1]])
    {
        None => Ok(()),
        Some(pair) => Err(CommError::OverlappingRanges {
            operation: Operation::Allgatherv,
            first: pair[0],
            second: pair[1],
        }),
    }
}

/// The preconditions of [`allreduce`](crate::Communicator::allreduce) on one rank.
///
/// # Errors
/// [`CommError::InvalidBufferSize`], [`CommError::InvalidReduceOp`].
pub fn allreduce<T: Reducible>(
    send_len: usize,
    recv_len: usize,
    op: ReduceOp,
) -> Result<(), CommError> {
    length(Operation::Allreduce, "recv", send_len, recv_len)?;
    if T::supports(op) {
        Ok(())
    } else {
        Err(CommError::InvalidReduceOp {
            op,
            element: T::NAME,
        })
    }
}

/// The preconditions of [`reduce_into`](crate::SharedExchange::reduce_into), for parts of the
/// lengths `parts`.
///
/// # Errors
/// [`CommError::InvalidBufferSize`], [`CommError::InvalidReduceOp`].
pub fn reduce_into<T: Reducible>(
    mut parts: impl Iterator<Item = usize>,
    out_len: usize,
    op: ReduceOp,
) -> Result<(), CommError> {
    let odd = parts.find(|&part| part != out_len);
    allreduce::<T>(odd.unwrap_or(out_len), out_len, op)
}

/// The preconditions of [`create_exchange`](crate::SharedMemoryProvider::create_exchange).
///
/// # Errors
/// [`CommError::InvalidBufferSize`].
pub fn create_exchange(size: usize, counts: &[usize]) -> Result<(), CommError> {
    length(Operation::CreateExchange, "counts", size, counts.len())
}

/// Whether `parts` divide `len` elements among `size` ranks: one each, in any order, perhaps empty,
/// without overlap and without gaps.
///
/// # Errors
/// [`CommError::InvalidBufferSize`], [`CommError::InvalidPart`], [`CommError::OverlappingRanges`],
/// [`CommError::UnownedElements`].
pub fn parts(size: usize, len: usize, parts: &[Range<usize>]) -> Result<(), CommError> {
    let operation = Operation::CreateRegion;
    length(operation, "parts", size, parts.len())?;
    let is_odd = |part: &Range<usize>| part.start > part.end || part.end > len;
    if let Some(rank) = parts.iter().position(is_odd) {
        let Range { start, end } = parts[rank];
        return Err(CommError::InvalidPart {
            operation,
            rank,
            start,
            end,
            len,
        });
    }
    let mut order: Vec<usize> = (0..size).filter(|&rank| !parts[rank].is_empty()).collect();
    order.sort_by_key(|&rank| parts[rank].start);
    let mut end = 0;
    for (at, &rank) in order.iter().enumerate() {
        let start = parts[rank].start;
        if start < end {
            return Err(CommError::OverlappingRanges {
                operation,
                first: order[at - 1],
                second: rank,
            });
        }
        if start > end {
            return Err(CommError::UnownedElements {
                operation,
                start: end,
                end: start,
            });
        }
        end = parts[rank].end;
    }
    if end < len {
        return Err(CommError::UnownedElements {
            operation,
            start: end,
            end: len,
        });
    }
    Ok(())
}

/// Whether `count` elements of all ranks together (`None`: more than can be counted) fit the `room`
/// that a pool has.
///
/// # Errors
/// [`CommError::AllocationFailed`].
pub fn append<T>(count: Option<usize>, room: usize) -> Result<(), CommError> {
    match count {
        Some(count) if count <= room => Ok(()),
        _ => Err(CommError::AllocationFailed {
            requested_bytes: count
                .and_then(|count| count.checked_mul(size_of::<T>()))
                .unwrap_or(usize::MAX),
            message: format!("the pool has room for {room} more elements"),
        }),
    }
}

/// The preconditions of [`broadcast`](crate::Communicator::broadcast) on one rank.
///
/// # Errors
/// [`CommError::InvalidRoot`].
pub fn broadcast(root: usize, size: usize) -> Result<(), CommError> {
    if root < size {
        Ok(())
    } else {
        Err(CommError::InvalidRoot { root, size })
    }
}

#[cfg(test)]
mod tests {
    use super::{allgatherv, allreduce, parts};
    use crate::{CommError, Operation, ReduceOp};
    use core::ops::Range;

    #[test]
    fn ranges_in_any_order_with_gaps_are_fine() {
        assert_eq!(allgatherv((1, 3), 2, 10, &[3, 2, 0], &[7, 0, 99]), Ok(()));
    }

    #[test]
    fn overlapping_ranges_are_named() {
        assert_eq!(
            allgatherv((0, 3), 3, 10, &[3, 2, 1], &[4, 0, 1]),
            Err(CommError::OverlappingRanges {
                operation: Operation::Allgatherv,
                first: 1,
                second: 2
            })
        );
    }

    #[test]
    fn a_range_past_the_end_or_past_the_address_space_is_refused() {
        for displ in [9, usize::MAX] {
            let error = allgatherv((0, 1), 2, 10, &[2], &[displ]);
            assert!(
                matches!(
                    error,
                    Err(CommError::InvalidBufferSize { buffer: "recv", .. })
                ),
                "{error:?}"
            );
        }
    }

    #[test]
    fn parts_cover_a_region_once() {
        let operation = Operation::CreateRegion;
        for good in [[0..4, 4..4, 4..9], [6..9, 0..2, 2..6], [0..0, 0..9, 9..9]] {
            assert_eq!(parts(3, 9, &good), Ok(()), "{good:?}");
        }
        assert_eq!(parts(2, 0, &[0..0, 0..0]), Ok(()));
        let overlapping = |first, second| CommError::OverlappingRanges {
            operation,
            first,
            second,
        };
        let unowned = |start, end| CommError::UnownedElements {
            operation,
            start,
            end,
        };
        let missing = CommError::InvalidBufferSize {
            operation,
            buffer: "parts",
            expected: 2,
            actual: 1,
        };
        let odd = |rank, start, end| CommError::InvalidPart {
            operation,
            rank,
            start,
            end,
            len: 9,
        };
        for (bad, error) in [
            (vec![0..4, 3..9], overlapping(0, 1)),
            (vec![5..9, 0..6], overlapping(1, 0)),
            (vec![0..9, 0..9], overlapping(0, 1)),
            (vec![1..5, 5..9], unowned(0, 1)),
            (vec![0..4, 5..9], unowned(4, 5)),
            (vec![0..4, 4..8], unowned(8, 9)),
            (vec![0..0, 0..0], unowned(0, 9)),
            (vec![0..4, 4..10], odd(1, 4, 10)),
            (vec![0..usize::MAX, 0..9], odd(0, 0, usize::MAX)),
            (vec![Range { start: 7, end: 4 }, 0..9], odd(0, 7, 4)),
            (vec![0..9; 1], missing),
        ] {
            assert_eq!(parts(2, 9, &bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn a_receive_buffer_must_hold_all_ranges_and_not_only_the_first_that_does_not_fit() {
        for displs in [[0, 4, 8], [8, 0, 4], [4, 8, 0]] {
            assert_eq!(
                allgatherv((1, 3), 4, 4, &[4; 3], &displs),
                Err(CommError::InvalidBufferSize {
                    operation: Operation::Allgatherv,
                    buffer: "recv",
                    expected: 12,
                    actual: 4
                })
            );
        }
    }

    #[test]
    fn zero_is_a_length() {
        assert_eq!(allreduce::<f64>(0, 0, ReduceOp::Sum), Ok(()));
        assert_eq!(allgatherv((0, 2), 0, 0, &[0; 2], &[0; 2]), Ok(()));
    }
}
