//! What becomes of a job one word of whose memory is overwritten: whatever the word, no rank waits for
//! ever, also while the job forms.

use core::{panic::Location, time::Duration};
use std::{sync::mpsc, thread};

use cobre_comm_trait::{CommError, Operation};

use crate::{
    call::{
        core::Core,
        log::{Element, Signature},
    },
    collective,
    job::{config::Config, error::InitError, forming, names},
    memory::control::Control,
    sync::{
        cell::{Members, Presence, RankCell},
        primitive::{AtomicU32, AtomicU64, Ordering},
    },
};

/// The rank whose memory is overwritten.
const VICTIM: usize = 0;
/// The call in which it sleeps meanwhile.
const CALL: u64 = 3;
/// Whoever waits so long waits for ever.
const FOR_EVER: Duration = Duration::from_secs(50);

fn barrier(core: &Core) -> Result<(), CommError> {
    let signature = Signature::new(Operation::Barrier, Element::NONE, 0);
    core.collective(signature, Location::caller(), Ok(()), collective::barrier)
}

/// What the ranks of a job are told: `overwrite` is done while all but the last sleep in a barrier, and
/// then the last one comes. `None` for a rank whose next calls all succeed.
fn told(size: usize, overwrite: impl Fn(&Control) + Sync) -> Vec<Option<CommError>> {
    let name = names::random_job_name();
    let run = |rank: usize| {
        let control = forming::join(&Config::new(&name, rank, size)).unwrap();
        let core = Core::new(control, rank, Config::new(&name, rank, size).wait);
        core.set_timeout(Some(FOR_EVER));
        for _ in 1..CALL {
            barrier(&core).unwrap();
        }
        if rank == size - 1 {
            let sleeps = |peer| {
                let waiting = &core.control().cell(peer).waiting.peer;
                // It may have slept in an earlier call too.
                core.control().block(peer).calls.last() == (CALL, false)
                    && waiting.load(Ordering::Acquire) > 0
            };
            while !(0..rank).all(sleeps) {
                let failed = core.control().first_failure();
                assert_eq!(failed, None, "before anything was overwritten");
                thread::yield_now();
            }
            overwrite(core.control());
        }
        (0..6).find_map(|_| barrier(&core).err())
    };
    thread::scope(|scope| {
        let ranks: Vec<_> = (0..size)
            .map(|rank| scope.spawn(move || run(rank)))
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn a_published_round_that_is_overwritten_is_an_error_on_every_rank() {
    let corrupted = CommError::Corrupted {
        rank: VICTIM,
        what: "a round that it did not publish",
    };
    for size in [2, 3] {
        // One slot holds the round that the last rank has yet to see, the other one the round before.
        for slots in [&[0, 1][..], &[0], &[1]] {
            let told = told(size, |control| {
                for &slot in slots {
                    let stamp = &control.cell(VICTIM).slots[slot].stamp;
                    stamp.store(0, Ordering::Relaxed);
                }
            });
            // All have seen the round before; the next of its parity may take its place in time.
            let harmless = told.iter().all(Option::is_none);
            let seen = slots == [CALL as usize % 2];
            assert!(
                harmless && seen || told.iter().all(|told| *told == Some(corrupted.clone())),
                "{size} ranks, {slots:?}: {told:?}"
            );
        }
    }
}

/// The name of a word, and what stores a value there.
type Word<'a> = (&'static str, Box<dyn Fn(u64) + 'a>);

fn small<'a>(name: &'static str, word: &'a AtomicU32) -> Word<'a> {
    let store = |value| word.store(value as u32, Ordering::Relaxed);
    (name, Box::new(store))
}

fn large<'a>(name: &'static str, word: &'a AtomicU64) -> Word<'a> {
    (name, Box::new(|value| word.store(value, Ordering::Relaxed)))
}

fn words(control: &Control) -> Vec<Word<'_>> {
    let RankCell {
        slots: [even, odd],
        bell,
        sleepers,
        presence,
        waiting,
    } = control.cell(VICTIM);
    // By name, so that no word is forgotten.
    let Presence {
        state,
        pid,
        pid_namespace,
        exit_code,
        saw_failure,
        place: [processors, package, node, cache, set],
        processor,
        calls,
        signature,
    } = presence;
    let header = control.header();
    vec![
        large("stamp of even rounds", &even.stamp),
        large("signature of even rounds", &even.signature),
        large("stamp of odd rounds", &odd.stamp),
        large("signature of odd rounds", &odd.signature),
        small("bell", &bell.word),
        small("sleepers", &sleepers.count),
        small("state", state),
        small("pid", pid),
        large("pid_namespace", pid_namespace),
        small("exit_code", exit_code),
        small("saw_failure", saw_failure),
        small("place: processors", processors),
        small("place: package", package),
        small("place: node", node),
        small("place: cache", cache),
        small("place: set", set),
        small("processor", processor),
        large("calls", calls),
        large("signature", signature),
        small("waiting for", &waiting.peer),
        large("waiting since", &waiting.since),
        large("magic", &header.magic),
        small("size", &header.size),
        large("slot_bytes", &header.slot_bytes),
        small("launched", &header.launched),
        small("cores", &header.cores),
        small("joined", &header.joined.count),
        small("ready", &header.ready.flag),
        large("failure", &header.failure.code),
    ]
}

#[test]
fn no_overwritten_word_makes_a_rank_wait_for_ever() {
    let name = names::random_job_name();
    let count = words(&forming::join(&Config::new(name, 0, 1)).unwrap()).len();
    let try_word = |place: usize| {
        for garbage in [0, 1, 0xffff, u64::MAX] {
            let told = told(3, |control| words(control)[place].1(garbage));
            let waited = |told: &Option<CommError>| matches!(told, Some(CommError::Timeout { .. }));
            if told.iter().any(waited) {
                return Some((place, garbage, told));
            }
        }
        None
    };
    let hangs: Vec<_> = thread::scope(|scope| {
        let tried: Vec<_> = (0..count)
            .map(|place| scope.spawn(move || try_word(place)))
            .collect();
        let outcomes = tried.into_iter().map(|one| one.join().unwrap());
        outcomes.flatten().collect()
    });
    let solo = forming::join(&Config::new(names::random_job_name(), 0, 1)).unwrap();
    let named = hangs
        .iter()
        .map(|(place, garbage, told)| (words(&solo)[*place].0, garbage, told));
    assert!(hangs.is_empty(), "{:#x?}", named.collect::<Vec<_>>());
}

/// What a rank is told of a job that a launcher has founded, one word of which is overwritten with
/// `garbage` once it waits, for `patience` at most, for the other rank, which does not join.
fn told_while_forming(
    rank: usize,
    place: usize,
    garbage: u64,
    patience: Duration,
) -> Result<(), InitError> {
    let name = names::random_job_name();
    let (control, _named) = forming::found(&name, 2, 0, true, None).unwrap();
    let (tell, told) = mpsc::channel();
    let joining = thread::spawn(move || {
        let mut config = Config::new(name, rank, 2);
        config.launcher = Some(std::process::id());
        config.attach_timeout = patience;
        // Nobody listens after the time is up.
        let _ = tell.send(forming::join(&config).map(drop));
    });
    let has_joined = || control.header().joined.count.load(Ordering::Acquire) > 0;
    while !has_joined() {
        assert!(!joining.is_finished() || has_joined(), "it did not join");
        thread::yield_now();
    }
    words(&control)[place].1(garbage);
    let told = told.recv_timeout(FOR_EVER);
    told.unwrap_or_else(|_| {
        let word = words(&control)[place].0;
        panic!("rank {rank} waits for ever: {word}, {garbage:#x}")
    })
}

#[test]
fn no_overwritten_word_makes_a_rank_wait_for_ever_for_a_job_to_form() {
    let name = names::random_job_name();
    let count = words(&forming::join(&Config::new(name, 0, 1)).unwrap()).len();
    // A failure that came after the job had formed, too.
    for garbage in [0, 1, 5, 0xffff, u64::MAX] {
        for (rank, place) in (0..2).flat_map(|rank| (0..count).map(move |place| (rank, place))) {
            // The answer depends on the word; that there is one counts.
            let patience = Duration::from_millis(20);
            drop(told_while_forming(rank, place, garbage, patience));
        }
    }
}

#[test]
fn a_job_that_is_said_to_have_formed_without_all_ranks_is_an_error() {
    let name = names::random_job_name();
    let solo = forming::join(&Config::new(name, 0, 1)).unwrap();
    let word = words(&solo).iter().position(|(name, _)| *name == "failure");
    for garbage in [0, 5] {
        // It does not wait until its time is up.
        let told = told_while_forming(0, word.unwrap(), garbage, 2 * FOR_EVER).unwrap_err();
        let InitError::PeerFailed { cause, .. } = &told else {
            panic!("{told}")
        };
        assert!(
            matches!(cause, CommError::Corrupted { rank: 0, .. }),
            "{cause}"
        );
    }
}
