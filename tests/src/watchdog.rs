//! Ends a test that makes no progress, and says where each rank was.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a test may go without any progress before it counts as hung: 60 s, or as many seconds
/// as `COBRE_TEST_PATIENCE` says.
///
/// It bounds the longest silence, not the run: a slow machine that still advances is left alone.
#[must_use]
pub fn patience() -> Duration {
    let seconds = std::env::var("COBRE_TEST_PATIENCE").ok();
    Duration::from_secs(seconds.and_then(|s| s.parse().ok()).unwrap_or(60))
}

/// Watches one run of some ranks; to be told of every step a rank makes.
///
/// When nobody makes a step for [`patience`], it names the test and where each rank stands, and
/// ends the test process: a rank that hangs cannot be stopped otherwise.
#[derive(Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    test: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    ranks: Vec<String>,
    last_step: Instant,
    /// How long the next step may take.
    patience: Duration,
    over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watchdog {
    /// Watches `ranks` ranks of the test that the calling thread runs.
    #[must_use]
    pub fn new(ranks: usize) -> Self {
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        let shared = Arc::new(Shared {
            test,
            state: Mutex::new(State {
                ranks: vec!["has not begun".to_owned(); ranks],
                last_step: Instant::now(),
                patience: patience(),
                over: false,
            }),
            changed: Condvar::new(),
        });
        let watched = Arc::clone(&shared);
        std::thread::spawn(move || watch(&watched));
        Self { shared }
    }

    /// Rank `rank` has made a step and does `what` now.
    pub fn step(&self, rank: usize, what: &str) {
        self.begin(rank, what, patience());
    }

    /// The same if that takes so long by itself that a busy machine may need ten times the
    /// [`patience`] for it: one call with a payload of gigabytes, of whose progress nothing is seen.
    pub fn long_step(&self, rank: usize, what: &str) {
        self.begin(rank, what, 10 * patience());
    }

    fn begin(&self, rank: usize, what: &str, patience: Duration) {
        let mut state = self.shared.lock();
        state.last_step = Instant::now();
        state.patience = patience;
        what.clone_into(&mut state.ranks[rank]);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
    }
}

fn watch(shared: &Shared) {
    let mut state = shared.lock();
    while !state.over {
        let (silent, patience) = (state.last_step.elapsed(), state.patience);
        if silent >= patience {
            let mut message = format!("{}: no rank got further for {silent:.0?}:\n", shared.test);
            for (rank, what) in state.ranks.iter().enumerate() {
                message += &format!("  rank {rank}: {what}\n");
            }
            // Not by `eprint!`, which the test harness would capture and lose.
            let _ = std::io::stderr().write_all(message.as_bytes());
            std::process::exit(101);
        }
        let waited = shared.changed.wait_timeout(state, patience - silent);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}
