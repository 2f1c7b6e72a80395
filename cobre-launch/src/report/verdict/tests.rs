use std::time::Duration;

use cobre_comm_trait::{Call, CommError, FailureCause, Operation};

use super::{End, Facts, RankEnd, decide};
use crate::watch::ending::Reason;
use crate::watch::job::Membership::{self, Aborted, Absent, Joined, Left, Panicked};

const JOINED: Membership = Joined { pid: 1 };

fn end(rank: usize, end: End, membership: Membership) -> RankEnd {
    RankEnd {
        rank,
        pid: 100,
        end,
        at: Duration::ZERO,
        membership,
        saw_failure: false,
        by_launcher: false,
        usage: None,
    }
}

fn saw(end: RankEnd) -> RankEnd {
    RankEnd {
        saw_failure: true,
        ..end
    }
}

fn killed(rank: usize) -> RankEnd {
    RankEnd {
        by_launcher: true,
        ..end(rank, End::Signal(9), JOINED)
    }
}

/// The exit code and the cause.
fn judge(ends: &[RankEnd], told: Option<CommError>, reason: Option<Reason>) -> (u8, Option<usize>) {
    let verdict = decide(&Facts {
        keep_going: false,
        ends,
        told: told.as_ref(),
        ending: reason.map(|reason| (reason, Duration::ZERO)),
    });
    (verdict.exit.code(), verdict.cause)
}

fn failed(ends: &[RankEnd], told: Option<CommError>) -> (u8, Option<usize>) {
    judge(ends, told, Some(Reason::Failure))
}

fn rank_failed(rank: usize, cause: FailureCause) -> Option<CommError> {
    Some(CommError::RankFailed {
        rank,
        pid: 100,
        cause,
        operation: Some(Operation::Barrier),
    })
}

#[test]
fn what_alone_is_a_failure() {
    use FailureCause::{Exited, Signaled};
    for (ended, membership, expected) in [
        (End::Code(0), Absent, None),
        (End::Code(3), Absent, Some(Exited(Some(3)))),
        (End::Code(101), Absent, Some(FailureCause::Panicked)),
        (End::Signal(11), Absent, Some(Signaled(11))),
        (End::Code(0), JOINED, None),
        (End::Code(3), JOINED, None),
        (End::Code(101), JOINED, Some(FailureCause::Panicked)),
        (End::Signal(9), JOINED, Some(Signaled(9))),
        (End::Code(5), Left, None),
        (End::Code(101), Left, None),
        (End::Signal(9), Left, Some(Signaled(9))),
        (End::Code(1), Panicked, Some(FailureCause::Panicked)),
        (End::Code(4), Aborted, Some(Exited(Some(4)))),
    ] {
        let end = end(0, ended, membership);
        assert_eq!(end.failure(), expected, "{end:?}");
    }
    assert_eq!(killed(0).failure(), None);
}

#[test]
fn jobs_in_which_nothing_failed() {
    let codes = |codes: &[i32]| -> Vec<RankEnd> {
        let ranks = codes.iter().enumerate();
        ranks
            .map(|(rank, &code)| end(rank, End::Code(code), Left))
            .collect()
    };
    assert_eq!(judge(&codes(&[0, 0]), None, None), (0, None));
    assert_eq!(judge(&codes(&[5, 5, 5]), None, None), (5, None));
    assert_eq!(judge(&codes(&[0, 7, 5]), None, None), (7, None));
}

#[test]
fn a_rank_that_had_seen_the_failure_is_never_the_cause() {
    let ends = [
        saw(end(0, End::Code(4), JOINED)),
        saw(end(1, End::Signal(6), JOINED)),
        end(2, End::Code(17), JOINED),
    ];
    let told = Some(CommError::Aborted { rank: 2, code: 17 });
    assert_eq!(failed(&ends, told), (17, Some(2)));
}

#[test]
fn a_signal_beats_a_code_and_then_the_lowest_rank() {
    let ends = [
        end(0, End::Code(3), Absent),
        end(1, End::Code(4), Absent),
        end(2, End::Signal(11), Absent),
        end(3, End::Signal(9), Absent),
    ];
    assert_eq!(failed(&ends, None), (139, Some(2)));
    assert_eq!(failed(&ends[..2], None), (3, Some(0)));
}

#[test]
fn a_late_failure_is_not_the_first_cause() {
    let late = RankEnd {
        at: Duration::from_secs(1),
        ..end(0, End::Signal(11), Absent)
    };
    assert_eq!(
        failed(&[late, end(1, End::Code(3), Absent)], None),
        (3, Some(1))
    );
}

#[test]
fn whom_the_launcher_ended_is_not_the_cause() {
    let ends = [killed(0), end(1, End::Code(3), Absent), killed(2)];
    assert_eq!(failed(&ends, None), (3, Some(1)));
    assert_eq!(
        judge(&[killed(0), killed(1)], None, Some(Reason::Timeout)),
        (124, None)
    );
    assert_eq!(
        judge(&[killed(0)], None, Some(Reason::BrokenPipe)),
        (141, None)
    );
    assert_eq!(
        judge(&[killed(0)], None, Some(Reason::Interrupt)),
        (130, None)
    );
}

#[test]
fn an_exit_that_others_waited_for_fails_the_job_even_with_code_0() {
    for other in [
        killed(0),
        end(0, End::Code(4), JOINED),
        end(0, End::Code(4), Absent),
    ] {
        let ends = [other, end(1, End::Code(0), Left)];
        let told = rank_failed(1, FailureCause::Exited(None));
        assert_eq!(failed(&ends, told), (1, Some(1)));
    }
}

#[test]
fn a_clean_exit_with_a_code_is_no_suspect() {
    let ends = [end(0, End::Code(5), Left), end(1, End::Signal(9), JOINED)];
    let told = rank_failed(1, FailureCause::Signaled(9));
    assert_eq!(failed(&ends, told), (137, Some(1)));
}

#[test]
fn one_code_of_all_is_the_code_of_the_job() {
    let ends = [0, 1, 2].map(|rank| end(rank, End::Code(3), Absent));
    assert_eq!(failed(&ends, None), (3, Some(0)));
}

#[test]
fn nobody_is_the_cause_of_a_disagreement() {
    let call = |rank, operation| Box::new(Call::new(rank, 1, operation, String::new(), None));
    let told = Some(CommError::Mismatch {
        first: call(0, Operation::Barrier),
        second: call(1, Operation::Broadcast),
    });
    let ends = [0, 1].map(|rank| {
        saw(end(
            rank,
            End::Code(3 + i32::try_from(rank).unwrap()),
            JOINED,
        ))
    });
    assert_eq!(failed(&ends, told), (3, None));
}
