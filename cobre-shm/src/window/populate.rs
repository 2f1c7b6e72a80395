//! Touching pages at creation, so that a lack of memory is an error there, and so that they lie
//! where their policy says.

use core::ops::Range;
use std::{fs::File, io, thread};

use crate::{
    memory::{layout::PAGE, segment::Segment},
    sys::shm,
};

/// The kernel zeroes this much in some hundredths of a second: below it another thread costs more
/// than it saves.
const PER_THREAD: usize = 64 << 20;

/// Touches the pages of `bytes` of `file`, mapped as `segment`, with up to `threads` threads, which is
/// asked only if there is work for several: to find that out takes longer than a small window does.
///
/// Threads, because a page is zeroed by the thread that touches it first. Reserving them through the
/// file instead would go one rank at a time: the kernel holds the file's lock meanwhile.
pub(super) fn touch(
    segment: &Segment,
    file: Option<&File>,
    bytes: &Range<usize>,
    threads: impl FnOnce() -> usize,
) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let start = bytes.start / PAGE * PAGE;
    let len = (bytes.end - start)
        .next_multiple_of(PAGE)
        .min(segment.len() - start);
    let threads = match len.div_ceil(PER_THREAD) {
        0 | 1 => 1,
        several => threads().clamp(1, several),
    };
    let touched = match threads {
        1 => segment.populate(start, len),
        _ => touch_with(threads, segment, start, len),
    };
    match touched {
        // Before Linux 5.14: nobody knows the request.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => file.map_or(Ok(()), |file| {
            shm::reserve(file, bytes.start as u64, bytes.len() as u64)
        }),
        // What would have been a SIGBUS: the file system is full.
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => {
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        }
        other => other,
    }
}

/// Touches `len` bytes at `start` with several threads.
fn touch_with(threads: usize, segment: &Segment, start: usize, len: usize) -> io::Result<()> {
    let piece = len.div_ceil(threads).next_multiple_of(PAGE);
    let pieces = (0..len)
        .step_by(piece)
        .map(|at| (start + at, piece.min(len - at)));
    thread::scope(|scope| {
        let started: Vec<_> = pieces
            .map(|(at, len)| scope.spawn(move || segment.populate(at, len)))
            .collect();
        started.into_iter().try_for_each(|thread| {
            let ended = thread.join();
            ended.unwrap_or_else(|_| Err(io::Error::other("a thread that touches pages panicked")))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{touch, touch_with};
    use crate::{
        memory::{layout::PAGE, segment::Segment},
        sys::shm,
    };
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_pages_of_a_range_are_there_and_no_others() {
        let file = shm::unnamed().expect("an object");
        let pages = 64;
        file.set_len((pages * PAGE) as u64).expect("a length");
        let segment = Segment::map(&file, pages * PAGE).expect("a mapping");
        // From the middle of page 2 to the middle of page 5.
        let bytes = 2 * PAGE + 100..5 * PAGE + 100;
        touch(&segment, Some(&file), &bytes, || {
            unreachable!("a small range")
        })
        .expect("room");
        let blocks = file.metadata().expect("its state").blocks();
        assert_eq!(blocks * 512, 4 * PAGE as u64);
        touch(&segment, Some(&file), &(7..7), || 1).expect("nothing to do");
        // With several threads: another eleven pages.
        touch_with(3, &segment, 20 * PAGE, 11 * PAGE).expect("room");
        let blocks = file.metadata().expect("its state").blocks();
        assert_eq!(blocks * 512, (4 + 11) * PAGE as u64);
    }
}
