//! Ranks as threads of the test process.

use std::any::Any;

use crate::Watchdog;

/// Runs `body` as rank 0 to `ranks - 1`, each on a thread, and returns what they return.
///
/// # Panics
/// If any rank does, after all have ended, with the messages of all that did.
pub fn run_ranks<R: Send>(ranks: usize, body: impl Fn(usize, &Watchdog) -> R + Sync) -> Vec<R> {
    let outcomes = try_ranks(ranks, body);
    let complaints: Vec<String> = outcomes
        .iter()
        .enumerate()
        .filter_map(|(rank, outcome)| Some((rank, outcome.as_ref().err()?)))
        .map(|(rank, message)| format!("rank {rank}: {message}"))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    outcomes.into_iter().flatten().collect()
}

/// As [`run_ranks`], but hands out the panics.
pub fn try_ranks<R: Send>(
    ranks: usize,
    body: impl Fn(usize, &Watchdog) -> R + Sync,
) -> Vec<Result<R, String>> {
    let watchdog = Watchdog::new(ranks);
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    std::thread::scope(|scope| {
        let (body, watchdog) = (&body, &watchdog);
        let threads: Vec<_> = (0..ranks)
            .map(|rank| {
                std::thread::Builder::new()
                    .name(format!("{test}/{rank}"))
                    .spawn_scoped(scope, move || {
                        watchdog.step(rank, "began");
                        let result = body(rank, watchdog);
                        watchdog.step(rank, "has ended");
                        result
                    })
                    .expect("a thread can be started")
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|panic| message(panic.as_ref())))
            .collect()
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panicked with something that is no text")
        .to_owned()
}
