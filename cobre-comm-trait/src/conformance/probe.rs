//! A case, and what it looks at the backend through.

use core::cell::RefCell;
use core::fmt::Display;

use super::values;
use crate::{
    CommData, CommError, Communicator, ReduceOp, Reducible, RegionReader, SharedMemoryProvider,
    SharedRegion,
};

/// One promise of the contract, to be run on every rank of a job.
#[derive(Debug)]
pub struct Case<C> {
    /// `module::what_is_promised`, unique.
    pub name: &'static str,
    /// The least number of ranks with which it says anything.
    pub min_ranks: usize,
    /// Whether the communicator is poisoned afterwards.
    pub ends_job: bool,
    pub(super) body: fn(&Probe<'_, C>),
}

impl<C: Communicator> Case<C> {
    /// Whether the case makes sense with that many ranks.
    #[must_use]
    pub fn runs_on(&self, ranks: usize) -> bool {
        ranks >= self.min_ranks
    }

    /// Runs this rank's share; the report is to be compared by [`agree`].
    ///
    /// # Panics
    /// If the backend breaks the promise.
    pub fn run(&self, comm: &C) -> String {
        let probe = Probe::new(comm, self.name);
        (self.body)(&probe);
        probe.report.into_inner()
    }
}

/// Compares the reports of one case, in rank order: all that are not empty must be equal.
///
/// # Errors
/// The first two that differ.
pub fn agree<R: AsRef<str>>(reports: impl IntoIterator<Item = R>) -> Result<(), String> {
    let mut first: Option<(usize, R)> = None;
    for (rank, report) in reports.into_iter().enumerate() {
        if report.as_ref().is_empty() {
            continue;
        }
        match &first {
            None => first = Some((rank, report)),
            Some((other, reported)) if reported.as_ref() != report.as_ref() => {
                return Err(format!(
                    "rank {other} reports {:?}, but rank {rank} reports {:?}",
                    reported.as_ref(),
                    report.as_ref()
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The communicator under test, with checks that name the case and the rank when they fail.
#[derive(Debug)]
pub struct Probe<'a, C> {
    pub(super) comm: &'a C,
    pub(super) case: &'static str,
    report: RefCell<String>,
}

impl<'a, C: Communicator> Probe<'a, C> {
    pub(super) fn new(comm: &'a C, case: &'static str) -> Self {
        Self {
            comm,
            case,
            report: RefCell::default(),
        }
    }

    pub(super) fn rank(&self) -> usize {
        self.comm.rank()
    }

    pub(super) fn size(&self) -> usize {
        self.comm.size()
    }

    /// What must be the same on every rank that says anything.
    pub(super) fn report(&self, text: String) {
        *self.report.borrow_mut() = text;
    }

    #[track_caller]
    pub(super) fn fail(&self, why: impl Display) -> ! {
        panic!(
            "{}, rank {} of {}: {why}",
            self.case,
            self.comm.rank(),
            self.comm.size()
        )
    }

    #[track_caller]
    pub(super) fn check(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.fail(otherwise());
        }
    }

    #[track_caller]
    pub(super) fn done<R>(&self, what: &str, result: Result<R, CommError>) -> R {
        match result {
            Ok(value) => value,
            Err(error) => self.fail(format_args!("{what}: {error}")),
        }
    }

    /// `actual` is `expected`, bit for bit.
    #[track_caller]
    pub(super) fn same<T: CommData>(&self, what: &str, actual: &[T], expected: &[T]) {
        let bytes = bytemuck::bytes_of::<T>;
        if actual.len() != expected.len() {
            self.fail(format_args!(
                "{what}: {} elements instead of {}",
                actual.len(),
                expected.len()
            ));
        }
        let differs = |&i: &usize| bytes(&actual[i]) != bytes(&expected[i]);
        if let Some(first) = (0..actual.len()).find(differs) {
            let wrong = (first..actual.len()).filter(differs).count();
            self.fail(format_args!(
                "{what}: element {first} of {} ({}) is {:02x?} instead of {:02x?}, {wrong} wrong",
                actual.len(),
                core::any::type_name::<T>(),
                bytes(&actual[first]),
                bytes(&expected[first]),
            ));
        }
    }

    #[track_caller]
    pub(super) fn barrier(&self) {
        let result = self.comm.barrier();
        self.done("barrier", result);
    }

    /// Gathers `values::fill(salt, rank, counts[rank])` from every rank into a buffer that was
    /// filled with something else, and checks all of it.
    #[track_caller]
    pub(super) fn gather<T: CommData>(
        &self,
        salt: u64,
        counts: &[usize],
        displs: &[usize],
        recv_len: usize,
    ) {
        let before = values::fill::<T>(salt ^ 0xb1a9_cafe, usize::MAX, recv_len);
        let send = values::fill::<T>(salt, self.rank(), counts[self.rank()]);
        let mut recv = before.clone();
        let result = self.comm.allgatherv(&send, &mut recv, counts, displs);
        self.done("allgatherv", result);
        let mut expected = before;
        for (rank, (&count, &displ)) in counts.iter().zip(displs).enumerate() {
            if count > 0 {
                expected[displ..displ + count]
                    .copy_from_slice(&values::fill::<T>(salt, rank, count));
            }
        }
        let what = || format!("allgatherv of counts {counts:?} to displs {displs:?}");
        if bytemuck::cast_slice::<T, u8>(&recv) != bytemuck::cast_slice::<T, u8>(&expected) {
            self.same(&what(), &recv, &expected);
        }
    }

    /// Gathers to adjacent ranges in rank order.
    #[track_caller]
    pub(super) fn gather_packed<T: CommData>(&self, salt: u64, counts: &[usize]) {
        let (displs, total) = values::packed(counts);
        self.gather::<T>(salt, counts, &displs, total);
    }

    /// Broadcasts `values::fill(salt, root, len)` and checks it.
    #[track_caller]
    pub(super) fn broadcast<T: CommData>(&self, salt: u64, root: usize, len: usize) {
        let expected = values::fill::<T>(salt, root, len);
        let mut buf = if self.rank() == root {
            expected.clone()
        } else {
            values::fill::<T>(!salt, self.rank(), len)
        };
        let result = self.comm.broadcast(&mut buf, root);
        self.done("broadcast", result);
        if bytemuck::cast_slice::<T, u8>(&buf) != bytemuck::cast_slice::<T, u8>(&expected) {
            self.same(&format!("broadcast from root {root}"), &buf, &expected);
        }
    }

    /// Reduces `element(rank, index)` of every rank and checks every bit of the result.
    #[track_caller]
    pub(super) fn reduce<T: Reducible>(
        &self,
        op: ReduceOp,
        len: usize,
        element: impl Fn(usize, usize) -> T,
    ) {
        let send: Vec<T> = (0..len).map(|i| element(self.rank(), i)).collect();
        let sent = send.clone();
        let mut recv: Vec<T> = (0..len).map(|i| element(self.rank() + 1, i)).collect();
        let result = self.comm.allreduce(&send, &mut recv, op);
        self.done("allreduce", result);
        let expected: Vec<T> = (0..len)
            .map(|i| {
                (1..self.size())
                    .fold(element(0, i), |sum, rank| sum.combine(element(rank, i), op))
                    .canonical()
            })
            .collect();
        self.same(&format!("allreduce {op} of {len}"), &recv, &expected);
        self.same("the send buffer of an allreduce", &send, &sent);
    }

    /// The error of `result`, or that of the next collective: this rank may not have had to wait.
    #[track_caller]
    pub(super) fn first_error<R>(&self, result: Result<R, CommError>) -> CommError {
        match result {
            Err(error) => error,
            Ok(_) => match self.comm.barrier() {
                Err(error) => error,
                Ok(()) => self.fail("neither this collective nor the next one failed"),
            },
        }
    }
}

impl<C: SharedMemoryProvider> Probe<'_, C> {
    #[track_caller]
    pub(super) fn region<T: CommData>(&self, len: usize) -> C::Region<T> {
        let result = self.comm.create_shared_region(len);
        self.done("create_shared_region", result)
    }

    #[track_caller]
    pub(super) fn publish<T: CommData, R: SharedRegion<T>>(&self, region: R) -> R::Reader {
        let result = region.fence();
        self.done("fence after writing", result)
    }

    #[track_caller]
    pub(super) fn reopen<T: CommData, R: RegionReader<T>>(&self, reader: R) -> R::Writer {
        let result = reader.fence();
        self.done("fence after reading", result)
    }

    /// Every collective fails from now on.
    #[track_caller]
    pub(super) fn is_poisoned(&self) {
        let size = self.size();
        let (mut one, mut all) = ([0_u8; 1], vec![0_u8; size]);
        let displs: Vec<usize> = (0..size).collect();
        let outcomes = [
            ("barrier", self.comm.barrier()),
            ("broadcast", self.comm.broadcast(&mut one, 0)),
            (
                "allreduce",
                self.comm.allreduce(&[1_u8], &mut one, ReduceOp::Sum),
            ),
            (
                "allgatherv",
                self.comm
                    .allgatherv(&[1_u8], &mut all, &vec![1; size], &displs),
            ),
            (
                "create_shared_region",
                self.comm.create_shared_region::<f64>(8).map(drop),
            ),
            ("split_local", self.comm.split_local().map(drop)),
        ];
        for (operation, outcome) in outcomes {
            self.check(outcome.is_err(), || {
                format!("{operation} succeeds on a poisoned communicator")
            });
        }
    }
}
