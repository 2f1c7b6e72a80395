//! A communicator that is wrong on purpose, to show that comparing outputs notices.
//!
//! Where order can matter at all is decided by the solver. It sums what must not
//! depend on the number of ranks itself, over gathered values, and leaves to
//! `allreduce(sum)` only counts (exact in an `f64`) and times. So
//! [`Misorder::Reduce`] changes bits, from three ranks on, but only of times,
//! which no comparable output holds; [`Misorder::Gather`] on the gathered costs
//! is the misordered reduction that shows.

use std::any::Any;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

use cobre_comm::{
    CommData, CommError, Communicator, ExecutionTopology, ReduceOp, TopologyProvider,
};

use crate::cli::Misorder;

/// Forwards to `C`, or misorders what it was told to.
#[derive(Debug)]
pub(crate) struct Misordered<C> {
    inner: C,
    what: Option<Misorder>,
    site: String,
    touched: AtomicU64,
    changed: AtomicU64,
}

impl<C: Communicator> Misordered<C> {
    /// Misorders `what` in calls from source files whose path contains `site`; `None` only forwards.
    pub(crate) fn new(inner: C, what: Option<Misorder>, site: Option<String>) -> Self {
        Self {
            inner,
            what,
            site: site.unwrap_or_default(),
            touched: AtomicU64::new(0),
            changed: AtomicU64::new(0),
        }
    }

    /// Collectives that were misordered, and those of them whose result has other bits for it.
    pub(crate) fn touched_and_changed(&self) -> (u64, u64) {
        (
            self.touched.load(Ordering::Relaxed),
            self.changed.load(Ordering::Relaxed),
        )
    }

    fn applies(&self, what: Misorder, caller: &Location<'_>) -> bool {
        self.what == Some(what) && self.inner.size() > 1 && caller.file().contains(&self.site)
    }

    fn note(&self, changed: bool) {
        self.touched.fetch_add(1, Ordering::Relaxed);
        self.changed
            .fetch_add(u64::from(changed), Ordering::Relaxed);
    }
}

/// The value as an `f64`, if that is what it is.
fn as_f64<T: CommData>(value: &T) -> Option<f64> {
    (value as &dyn Any).downcast_ref().copied()
}

/// Equal to the last bit; types this module never misorders count as different.
fn same_bits<T: CommData>(a: &T, b: &T) -> bool {
    let (a, b): (&dyn Any, &dyn Any) = (a, b);
    match (a.downcast_ref::<f64>(), b.downcast_ref::<f64>()) {
        (Some(a), Some(b)) => a.to_bits() == b.to_bits(),
        _ => a.downcast_ref::<u8>().is_some() && a.downcast_ref::<u8>() == b.downcast_ref::<u8>(),
    }
}

/// Writes `sum` over the operands of all ranks, taken backwards, into `recv`.
///
/// `gathered` holds the ranks' operands one after the other. Says whether any
/// sum differs from the one taken forwards.
fn sum_backwards<T: CommData>(gathered: &[T], recv: &mut [T]) -> bool {
    let len = recv.len();
    let mut changed = false;
    for (i, out) in recv.iter_mut().enumerate() {
        let operands = || gathered.iter().skip(i).step_by(len).filter_map(as_f64);
        let forwards = operands().reduce(|a, b| a + b);
        let backwards = operands().rev().reduce(|a, b| a + b);
        changed |= forwards.map(f64::to_bits) != backwards.map(f64::to_bits);
        if let (Some(out), Some(sum)) = ((out as &mut dyn Any).downcast_mut(), backwards) {
            *out = sum;
        }
    }
    changed
}

/// Reverses the order of the blocks that are not empty. Needs them all equally long; if
/// they are not, leaves them alone and returns `None`. Says whether anything changed.
fn reverse_blocks<T: CommData>(recv: &mut [T], counts: &[usize], displs: &[usize]) -> Option<bool> {
    let blocks: Vec<_> = std::iter::zip(counts, displs)
        .filter(|&(&count, _)| count > 0)
        .map(|(&count, &at)| at..at + count)
        .collect();
    let len = blocks.first()?.len();
    if blocks.len() < 2 || blocks.iter().any(|b| b.len() != len) {
        return None;
    }
    let before = recv.to_vec();
    for (to, from) in std::iter::zip(&blocks, blocks.iter().rev()) {
        recv[to.clone()].copy_from_slice(&before[from.clone()]);
    }
    Some(!std::iter::zip(&before, &*recv).all(|(a, b)| same_bits(a, b)))
}

impl<C: Communicator> Communicator for Misordered<C> {
    #[track_caller]
    fn allgatherv<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        displs: &[usize],
    ) -> Result<(), CommError> {
        self.inner.allgatherv(send, recv, counts, displs)?;
        let mine = if is::<T, f64>() {
            Misorder::Gather
        } else if is::<T, u8>() {
            Misorder::Cuts
        } else {
            return Ok(());
        };
        if self.applies(mine, Location::caller())
            && let Some(changed) = reverse_blocks(recv, counts, displs)
        {
            self.note(changed);
        }
        Ok(())
    }

    #[track_caller]
    fn allreduce<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CommError> {
        let sums_floats = op == ReduceOp::Sum && is::<T, f64>() && send.len() == recv.len();
        if !sums_floats || !self.applies(Misorder::Reduce, Location::caller()) {
            return self.inner.allreduce(send, recv, op);
        }
        let ranks = self.inner.size();
        let counts = vec![send.len(); ranks];
        let displs: Vec<_> = (0..ranks).map(|r| r * send.len()).collect();
        let mut gathered = vec![T::default(); ranks * send.len()];
        self.inner
            .allgatherv(send, &mut gathered, &counts, &displs)?;
        self.note(sum_backwards(&gathered, recv));
        Ok(())
    }

    #[track_caller]
    fn broadcast<T: CommData>(&self, buf: &mut [T], root: usize) -> Result<(), CommError> {
        self.inner.broadcast(buf, root)
    }

    #[track_caller]
    fn barrier(&self) -> Result<(), CommError> {
        self.inner.barrier()
    }

    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn abort(&self, error_code: i32) -> ! {
        self.inner.abort(error_code)
    }
}

impl<C: TopologyProvider> TopologyProvider for Misordered<C> {
    fn topology(&self) -> &ExecutionTopology {
        self.inner.topology()
    }
}

/// Whether `T` is `U`.
fn is<T: 'static, U: 'static>() -> bool {
    std::any::TypeId::of::<T>() == std::any::TypeId::of::<U>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cobre_comm::LocalBackend;

    /// Three ranks that all send what this one sends, except that a float is scaled by the rank.
    struct Three;

    impl Communicator for Three {
        fn allgatherv<T: CommData>(
            &self,
            send: &[T],
            recv: &mut [T],
            counts: &[usize],
            displs: &[usize],
        ) -> Result<(), CommError> {
            for rank in 0..3 {
                let block = &mut recv[displs[rank]..displs[rank] + counts[rank]];
                for (to, from) in block.iter_mut().zip(send) {
                    *to = *from;
                    if let Some(x) = (to as &mut dyn Any).downcast_mut::<f64>() {
                        *x *= [1.0, 1e16, -1e16][rank];
                    }
                    if let Some(x) = (to as &mut dyn Any).downcast_mut::<u8>() {
                        *x += rank as u8;
                    }
                }
            }
            Ok(())
        }
        fn allreduce<T: CommData>(
            &self,
            s: &[T],
            r: &mut [T],
            _: ReduceOp,
        ) -> Result<(), CommError> {
            r.copy_from_slice(s);
            Ok(())
        }
        fn broadcast<T: CommData>(&self, _: &mut [T], _: usize) -> Result<(), CommError> {
            Ok(())
        }
        fn barrier(&self) -> Result<(), CommError> {
            Ok(())
        }
        fn rank(&self) -> usize {
            0
        }
        fn size(&self) -> usize {
            3
        }
        fn abort(&self, code: i32) -> ! {
            std::process::exit(code)
        }
    }

    #[test]
    fn nothing_is_touched_when_nothing_is_asked_or_nobody_else_is_there() {
        let quiet = Misordered::new(Three, None, None);
        let alone = Misordered::new(LocalBackend, Some(Misorder::Reduce), None);
        let mut recv = [0.0];
        quiet.allreduce(&[2.0], &mut recv, ReduceOp::Sum).unwrap();
        assert_eq!(recv, [2.0]);
        alone.allreduce(&[3.0], &mut recv, ReduceOp::Sum).unwrap();
        assert_eq!(recv, [3.0]);
        assert_eq!(quiet.touched_and_changed(), (0, 0));
        assert_eq!(alone.touched_and_changed(), (0, 0));
    }

    #[test]
    fn sums_of_floats_run_backwards_and_say_when_that_matters() {
        let comm = Misordered::new(Three, Some(Misorder::Reduce), None);
        // Forwards 1 + 1e16 - 1e16 = 0, backwards -1e16 + 1e16 + 1 = 1.
        let mut recv = [0.0];
        comm.allreduce(&[1.0], &mut recv, ReduceOp::Sum).unwrap();
        assert_eq!(recv, [1.0]);
        comm.allreduce(&[0.0], &mut recv, ReduceOp::Sum).unwrap();
        assert_eq!(comm.touched_and_changed(), (2, 1));
    }

    #[test]
    fn other_reductions_pass() {
        let comm = Misordered::new(Three, Some(Misorder::Reduce), None);
        comm.allreduce(&[1.0], &mut [0.0], ReduceOp::Max).unwrap();
        comm.allreduce(&[1_u64], &mut [0], ReduceOp::Sum).unwrap();
        assert_eq!(comm.touched_and_changed(), (0, 0));
    }

    #[test]
    fn equal_blocks_are_reversed_and_empty_ones_skipped() {
        let comm = Misordered::new(Three, Some(Misorder::Cuts), None);
        let mut recv = [0_u8; 6];
        comm.allgatherv(&[10, 20], &mut recv, &[2, 2, 2], &[0, 2, 4])
            .unwrap();
        assert_eq!(recv, [12, 22, 11, 21, 10, 20]);
        let mut recv = [0_u8; 2];
        comm.allgatherv(&[1], &mut recv, &[1, 0, 1], &[0, 1, 1])
            .unwrap();
        assert_eq!(recv, [3, 1]);
        assert_eq!(comm.touched_and_changed(), (2, 2));
    }

    #[test]
    fn uneven_blocks_are_left_alone() {
        let comm = Misordered::new(Three, Some(Misorder::Cuts), None);
        let mut recv = [0_u8; 4];
        comm.allgatherv(&[1, 1], &mut recv, &[2, 1, 1], &[0, 2, 3])
            .unwrap();
        assert_eq!(recv, [1, 1, 2, 3]);
        assert_eq!(comm.touched_and_changed(), (0, 0));
    }

    #[test]
    fn each_kind_touches_its_own_type_and_place_only() {
        let cuts = Misordered::new(Three, Some(Misorder::Cuts), None);
        cuts.allgatherv(&[1.0], &mut [0.0; 3], &[1; 3], &[0, 1, 2])
            .unwrap();
        assert_eq!(cuts.touched_and_changed(), (0, 0));
        let elsewhere = Misordered::new(Three, Some(Misorder::Gather), Some("nowhere.rs".into()));
        elsewhere
            .allgatherv(&[1.0], &mut [0.0; 3], &[1; 3], &[0, 1, 2])
            .unwrap();
        assert_eq!(elsewhere.touched_and_changed(), (0, 0));
        let here = Misordered::new(Three, Some(Misorder::Gather), Some("misorder.rs".into()));
        here.allgatherv(&[1.0], &mut [0.0; 3], &[1; 3], &[0, 1, 2])
            .unwrap();
        assert_eq!(here.touched_and_changed(), (1, 1));
    }
}
