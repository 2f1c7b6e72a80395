//! A rank that asks for windows that are unavailable here, and says what it got: a line for each.
//!
//! With `forbidden` its process may not set memory policies, as in a container of Docker without
//! `CAP_SYS_NICE`.
#![allow(unsafe_code, clippy::print_stdout, clippy::print_stderr)]

use cobre_comm_trait::{Communicator, SharedRegion};
use cobre_shm::{HugePages, Placement, ShmComm, WindowOptions};

/// Each of these calls returns EPERM from now on, in every thread started later.
const FORBIDDEN: [libc::c_long; 4] = [
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    libc::SYS_get_mempolicy,
    libc::SYS_move_pages,
];

fn forbid() -> std::io::Result<()> {
    // The number of the call is the first field of what a filter sees.
    let statement = |code: u32, k| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    for (at, &call) in FORBIDDEN.iter().enumerate() {
        program.push(libc::sock_filter {
            // To the last but one statement below.
            jt: (FORBIDDEN.len() - at) as u8,
            ..statement(equal, call as u32)
        });
    }
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ALLOW,
    ));
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    program.push(statement(libc::BPF_RET | libc::BPF_K, refuse));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: no memory is passed. Needed by processes without privileges.
    let agreed = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: `filter` describes the statements in `program`, which the kernel copies.
    let set = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    if agreed == 0 && set == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Creates a window with these options, fills it, and reads what the others filled.
fn window(
    comm: &ShmComm,
    name: &str,
    options: &WindowOptions,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut window = comm.create_window::<u64>(1 << 20, options)?;
    let mine = comm.rank() as u64 + 1;
    window.part_mut().fill(mine);
    let got = window.placement();
    let all = window.fence()?;
    let last = all[all.len() - 1];
    assert_eq!((all[0], last), (1, comm.size() as u64));
    let or_none = |reason: Option<String>| reason.unwrap_or_else(|| "done".to_owned());
    println!("{name}: placement {}", or_none(got.unplaced));
    println!(
        "{name}: huge pages {}",
        or_none(got.small_pages.map(|why| why.to_string()))
    );
    let counted = got
        .pages
        .map(|pages| pages.iter().map(|(_, pages)| pages).sum::<u64>());
    let bytes = counted.map(|pages| pages * got.page_size as u64);
    // This rank's part at least, if the kernel tells.
    let part = (8 << 20) / comm.size() as u64;
    println!(
        "{name}: counted {}",
        bytes.is_none_or(|bytes| bytes >= part)
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().any(|argument| argument == "forbidden") {
        forbid()?;
    }
    let comm = cobre_shm::init()?;
    let on_node = WindowOptions::new().placement(Placement::OnNode(0));
    window(&comm, "first", &on_node)?;
    window(&comm, "second", &on_node)?;
    let nowhere = WindowOptions::new().placement(Placement::OnNode(4000));
    window(&comm, "nowhere", &nowhere)?;
    window(
        &comm,
        "transparent",
        &WindowOptions::new().huge_pages(HugePages::Transparent),
    )?;
    window(
        &comm,
        "reserved",
        &WindowOptions::new().huge_pages(HugePages::Reserved),
    )?;
    Ok(())
}
