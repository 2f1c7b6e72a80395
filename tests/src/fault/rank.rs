//! The rank's side: it stops at the point that its environment names, says so, and does what it is
//! told.

use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::kind::Fault;

/// `STEP POINT SOCKET`: where to stop, and whom to ask what then. The socket is an abstract one.
pub(super) const VARIABLE: &str = "COBRE_FAULT";

struct Order {
    step: String,
    point: String,
    socket: String,
}

static ORDER: OnceLock<Order> = OnceLock::new();
static STEP: Mutex<&str> = Mutex::new("form");
static OBEYED: AtomicBool = AtomicBool::new(false);

/// Prepares this process to fail as its environment says, if it says so.
///
/// # Panics
/// If the variable does not hold three words.
pub fn arm() {
    let Ok(text) = std::env::var(VARIABLE) else {
        return;
    };
    let [step, point, socket] = text.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{VARIABLE}={text:?}");
    };
    let order = Order {
        step: step.to_owned(),
        point: point.to_owned(),
        socket: socket.to_owned(),
    };
    let _ = ORDER.set(order);
    cobre_shm::on_fault_point(reached);
}

/// From now on points belong to this step of the program.
pub fn step(name: &'static str) {
    *STEP.lock().unwrap_or_else(PoisonError::into_inner) = name;
}

fn reached(point: &'static str) {
    let Some(order) = ORDER.get() else { return };
    let step = *STEP.lock().unwrap_or_else(PoisonError::into_inner);
    if order.point != point || order.step != step || OBEYED.swap(true, Ordering::Relaxed) {
        return;
    }
    // Without anybody who listens the rank goes on.
    if let Some((fault, seed)) = ask(&order.socket) {
        fault.suffer(seed);
    }
}

/// Says that the point has been reached, and waits for the answer.
fn ask(socket: &str) -> Option<(Fault, u64)> {
    let address = SocketAddr::from_abstract_name(socket).ok()?;
    let mut stream = UnixStream::connect_addr(&address).ok()?;
    writeln!(stream, "{}", std::process::id()).ok()?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).ok()?;
    let (fault, seed) = answer.trim().split_once(' ')?;
    Some((Fault::named(fault)?, seed.parse().ok()?))
}
