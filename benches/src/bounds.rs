//! What the memory of the machine allows at most, and what we want to reach beside the peers.

use crate::cases::{Case, Message, Op};
use crate::json::Bandwidth;

/// From here on a message is bound by memory rather than by latency.
const LARGE: usize = 256 << 10;

/// Microseconds that the bytes which must move take at the measured bandwidth; nothing for small
/// messages, and where nothing needs to move.
///
/// Counted are all bytes read and written by all ranks, as a copy counts them: what is sent is read
/// once by each rank that needs it, what is received is written once by each rank that has it in
/// private. In a window nobody has it in private.
#[must_use]
pub fn traffic_us(case: Case, ranks: usize, measured: &[Bandwidth]) -> Option<f64> {
    let Case::Message(message) = case else {
        return None;
    };
    if message.bytes < LARGE {
        return None;
    }
    let near = |b: &&Bandwidth| b.bytes.abs_diff(message.bytes);
    let bandwidth = measured.iter().min_by_key(near)?.gb_per_s;
    let bytes = moved(message, ranks);
    (bytes > 0).then(|| bytes as f64 / bandwidth / 1e3)
}

fn moved(message: Message, ranks: usize) -> usize {
    let (n, b) = (ranks, message.bytes);
    let call = match (message.op, message.window) {
        (Op::Allreduce, false) => n * b + n * b,
        (Op::Allreduce, true) => n * b + b,
        (Op::Allgatherv, false) => n * b + n * n * b,
        (Op::Broadcast, false) => b + (n - 1) * b,
        (Op::Allgatherv | Op::Broadcast, true) => 0,
    };
    let received = match message.op {
        Op::Allreduce | Op::Broadcast => b,
        Op::Allgatherv => n * b,
    };
    call + if message.read { n * received } else { 0 }
}

/// How many times as fast as the best peer a case should be.
#[must_use]
pub fn target(case: Case, ranks: usize) -> f64 {
    let by_ranks = |two: f64, four: f64, eight: f64| match ranks {
        ..=2 => two,
        3..=4 => four,
        _ => eight,
    };
    match case {
        Case::Message(message) if message.window => 3.0,
        Case::Message(message) => match message.bytes {
            ..256 => by_ranks(2.0, 2.0, 3.0),
            256..LARGE => by_ranks(1.3, 1.5, 2.0),
            _ => by_ranks(1.2, 1.3, 1.3),
        },
        Case::Barrier | Case::Sddp { .. } => by_ranks(2.0, 2.0, 3.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [Bandwidth; 2] = [
        Bandwidth {
            bytes: 1 << 20,
            gb_per_s: 1.0,
        },
        Bandwidth {
            bytes: 1 << 24,
            gb_per_s: 0.5,
        },
    ];

    fn bound(case: &str, ranks: usize) -> Option<f64> {
        traffic_us(case.parse().unwrap(), ranks, &ONE)
    }

    #[test]
    fn every_byte_is_counted_where_it_goes() {
        let mib = 1048.576;
        assert_eq!(bound("allreduce:1048576", 4), Some(8.0 * mib));
        assert_eq!(bound("win-allreduce:1048576", 4), Some(5.0 * mib));
        assert_eq!(bound("allgatherv:1048576", 4), Some(20.0 * mib));
        assert_eq!(bound("win-allgatherv-read:1048576", 2), Some(4.0 * mib));
        assert_eq!(bound("broadcast:1048576", 4), Some(4.0 * mib));
        assert_eq!(bound("broadcast:16777216", 1), Some(32.0 * mib));
    }

    #[test]
    fn there_is_no_bound_where_nothing_moves_or_latency_decides() {
        for case in [
            "barrier",
            "sddp:12",
            "allreduce:1024",
            "win-broadcast:1048576",
        ] {
            assert_eq!(bound(case, 4), None, "{case}");
        }
    }
}
