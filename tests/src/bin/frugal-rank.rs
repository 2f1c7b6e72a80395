//! A rank that makes ten thousand collectives of each kind, and dies if one of them makes a system
//! call.
//!
//! It counts the allocations of its process meanwhile, writes `allocations COUNT`, and ends.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use cobre_comm_trait::{Communicator, ReduceOp, RegionReader, SharedMemoryProvider, SharedRegion};
use cobre_shm::ShmComm;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

const TIMES: u64 = 10_000;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Buffers of a payload beside the flag, of one that everybody folds, and of two pieces.
struct Buffers {
    send: Vec<f64>,
    sum: Vec<f64>,
    all: Vec<f64>,
}

const LENGTHS: [usize; 3] = [4, 32, 10_000];

fn collectives(
    comm: &ShmComm,
    buffers: &mut Buffers,
    turn: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let len = LENGTHS[turn as usize % LENGTHS.len()];
    comm.barrier()?;
    comm.allreduce(&buffers.send[..len], &mut buffers.sum[..len], ReduceOp::Sum)?;
    let (counts, displs) = ([len; 2], [0, len]);
    let all = &mut buffers.all[..2 * len];
    comm.allgatherv(&buffers.send[..len], all, &counts, &displs)?;
    comm.broadcast(&mut buffers.sum[..len], turn as usize % 2)?;
    Ok(())
}

/// Keeps this process on a processor of its own, before others that compute where that is allowed. Ranks
/// that only spin might otherwise share a processor for long, and then each step takes a time slice.
fn keep_apart(rank: usize) -> Result<(), Box<dyn std::error::Error>> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let is_allowed = |processor: &usize| allowed.is_set(*processor).unwrap_or(false);
    let own = (0..CpuSet::count()).filter(is_allowed).nth(rank);
    let mut only = CpuSet::new();
    only.set(own.ok_or("no processor for each rank")?)?;
    sched_setaffinity(this, &only)?;
    // SAFETY: no memory is passed. Where it is refused, the test tries more often.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let comm = cobre_shm::init()?;
    keep_apart(comm.rank())?;
    let most = LENGTHS[2];
    let mut buffers = Buffers {
        send: vec![1.5; most],
        sum: vec![0.0; most],
        all: vec![0.0; 2 * most],
    };
    let mut window = comm.create_shared_region::<u64>(1000)?;
    for turn in 0..10 {
        collectives(&comm, &mut buffers, turn)?;
    }
    window = window.fence()?.fence()?;

    let before = ALLOCATIONS.load(Ordering::Relaxed);
    // From here on this thread may read, write and exit: anything else kills it.
    // SAFETY: no memory is passed.
    let strict = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
    assert_eq!(strict, 0, "{}", std::io::Error::last_os_error());
    for turn in 0..TIMES {
        collectives(&comm, &mut buffers, turn)?;
        window = window.fence()?.fence()?;
    }
    let made = ALLOCATIONS.load(Ordering::Relaxed) - before;

    let mut text = std::io::Cursor::new([0; 64]);
    writeln!(text, "allocations {made}")?;
    let len = text.position() as usize;
    // SAFETY: the text has `len` bytes.
    unsafe { libc::write(1, text.get_ref().as_ptr().cast(), len) };
    // Dropping anything would make system calls.
    // SAFETY: ends this thread, the only one.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended")
}
