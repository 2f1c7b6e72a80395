//! The communicator: argument checks, signatures, and the collectives below.

use core::{ops::Range, panic::Location, time::Duration};
use std::sync::Arc;

use cobre_comm_trait::{
    CommData, CommError, Communicator, Operation, PoolProvider, ReduceOp, Reducible,
    SharedMemoryProvider, check,
};

use crate::{
    board::{self, Member, Publisher},
    call::{
        core::Core,
        log::{Element, Signature, hash_counts},
    },
    collective::{self, Layout},
    dynamic::{self, Chunking, Dynamic},
    job::{abort, config::Config, error::InitError, exit, forming, split},
    memory::control::Control,
    sync::patience::WaitPolicy,
    topology::{Machine, RankPlace, Topology},
    window::{ShmExchange, ShmPool, ShmReduction, ShmRegion, WindowOptions},
};

/// This process' membership of a job, or a job of one.
///
/// Dropping it leaves the job without waiting for anybody: a rank that has made all its calls may
/// go. If the ranks disagreed about their last calls, the launcher fails the job when all have gone; a
/// program that must know itself ends with a [`barrier`](Communicator::barrier). The memory of its
/// windows stays, to read and write as before, but their fences are calls too: they return
/// [`CommError::Left`]. Not for use by a forked child ([`CommError::Forked`]).
#[derive(Debug)]
pub struct ShmComm {
    core: Arc<Core>,
    #[cfg(feature = "cobre-comm")]
    topology: std::sync::OnceLock<::cobre_comm::ExecutionTopology>,
}

impl ShmComm {
    /// Joins the job that the environment describes: what [`init`](crate::init) does.
    ///
    /// # Errors
    /// See [`InitError`].
    pub fn from_env() -> Result<Self, InitError> {
        match Config::from_env()? {
            Some(config) => Self::form(&config),
            None => Ok(Self::solo(forming::solo()?)),
        }
    }

    /// Joins the job that `config` describes, and returns when all its ranks have. Collective.
    ///
    /// Several ranks may live in one process, each on a thread of its own.
    ///
    /// # Errors
    /// See [`InitError`].
    pub fn form(config: &Config) -> Result<Self, InitError> {
        let control = forming::join(config)?;
        let core = Core::new(control, config.rank, config.wait);
        core.set_timeout(config.timeout);
        Ok(Self::member(core.refreshing(config.status_interval)))
    }

    /// Creates a region as [`create_shared_region`](SharedMemoryProvider::create_shared_region)
    /// does, with a say in where its pages lie. Collective; all ranks ask for the same.
    /// Not in the trait: placement and page sizes are this backend's.
    ///
    /// A placement that is unavailable is no error: the region says what it got
    /// ([`ShmRegion::placement`]).
    ///
    /// # Errors
    /// As for `create_shared_region`.
    #[track_caller]
    pub fn create_window<T: CommData>(
        &self,
        len: usize,
        options: &WindowOptions,
    ) -> Result<ShmRegion<T>, CommError> {
        ShmRegion::create(&self.core, len, options, Location::caller())
    }

    /// The machine, and where each rank might run in it when it joined. Not collective.
    ///
    /// Reads the kernel's description of the machine: some milliseconds on a large one, so ask once. A
    /// machine that is not described is no error, but no places.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let machine = Machine::read().ok();
        let control = self.core.control();
        let ranks = (0..self.core.size()).map(|rank| control.place(rank));
        let ranks = ranks.map(|place| RankPlace::told(place, machine.as_ref()));
        let host = nix::unistd::gethostname().unwrap_or_default();
        Topology {
            host: host.to_string_lossy().into_owned(),
            ranks: ranks.collect(),
            machine,
            cores: control.cores(),
        }
    }

    fn solo(control: Control) -> Self {
        // There is nobody to wait for.
        Self::member(Core::new(control, 0, WaitPolicy::Auto))
    }

    /// How long a collective of this communicator, or a fence of one of its windows, may wait for a
    /// peer before the job fails with [`CommError::Timeout`]; `None`: for ever. At first what
    /// `COBRE_SHM_TIMEOUT` says.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.core.timeout()
    }

    /// Limits how long collectives that begin from now on may wait for a peer, as [`Self::timeout`]
    /// describes it. Not collective: a rank may allow itself more than others.
    ///
    /// What counts is one wait for one peer, so a long call that gets on is not cut short; time for
    /// which this process itself was stopped does not count.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.core.set_timeout(timeout);
    }

    fn member(core: Core) -> Self {
        let core = Arc::new(core);
        exit::watch(&core);
        Self {
            core,
            #[cfg(feature = "cobre-comm")]
            topology: std::sync::OnceLock::new(),
        }
    }

    /// This rank's record on the status board, to write; the same for all its communicators. Costs the
    /// peers nothing.
    #[must_use]
    pub fn status(&self) -> &Publisher {
        self.core.status()
    }

    /// All ranks as they are just now, this one included, in rank order. Not collective; disturbs
    /// nobody.
    #[must_use]
    pub fn board(&self) -> Vec<Member> {
        let (control, own) = (self.core.control(), Some(self.core.rank()));
        let members = 0..self.core.size();
        members
            .map(|rank| board::job::member(control, rank, own))
            .collect()
    }

    /// A layer that puts the program's spans into this rank's trace, if the job is traced.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn trace_layer(&self) -> crate::recording::TraceLayer {
        crate::recording::TraceLayer::new(self.core.recorder().cloned())
    }

    /// Shares out the indices of `range`, which all ranks give alike, among the ranks as they become
    /// free; each index gets one result of type `T`. Collective.
    ///
    /// # Errors
    /// [`CommError::AllocationFailed`] if the results do not fit into shared memory, and the errors of
    /// every collective.
    #[track_caller]
    pub fn dynamic<T: CommData>(
        &self,
        range: Range<usize>,
        chunking: Chunking,
    ) -> Result<Dynamic<T>, CommError> {
        dynamic::create(&self.core, range, chunking, Location::caller())
    }

    #[cfg(feature = "cobre-comm")]
    pub(crate) fn topology_cell(&self) -> &std::sync::OnceLock<::cobre_comm::ExecutionTopology> {
        &self.topology
    }
}

impl Drop for ShmComm {
    fn drop(&mut self) {
        // Windows may keep the rest, but can make no calls without it.
        self.core.depart();
    }
}

impl Communicator for ShmComm {
    #[track_caller]
    fn allgatherv<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        displs: &[usize],
    ) -> Result<(), CommError> {
        let ranks = (self.core.rank(), self.core.size());
        let checked = check::allgatherv(ranks, send.len(), recv.len(), counts, displs);
        let (total, hash) = hash_counts(counts);
        let signature = Signature {
            other: total,
            detail: hash,
            ..Signature::new(Operation::Allgatherv, Element::of::<T>(), send.len())
        };
        let layout = Layout {
            counts,
            displs,
            width: size_of::<T>(),
        };
        self.core
            .collective(signature, Location::caller(), checked, |rounds| {
                let recv = bytemuck::cast_slice_mut(recv);
                collective::allgatherv(rounds, bytemuck::cast_slice(send), recv, layout)
            })
    }

    #[track_caller]
    fn allreduce<T: Reducible>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CommError> {
        let checked = check::allreduce::<T>(send.len(), recv.len(), op);
        let signature = Signature {
            reduce: Some(op),
            ..Signature::new(Operation::Allreduce, Element::of::<T>(), send.len())
        };
        self.core
            .collective(signature, Location::caller(), checked, |rounds| {
                collective::allreduce(rounds, send, recv, op)
            })
    }

    #[track_caller]
    fn broadcast<T: CommData>(&self, buf: &mut [T], root: usize) -> Result<(), CommError> {
        let checked = check::broadcast(root, self.core.size());
        let signature = Signature {
            other: root as u64,
            ..Signature::new(Operation::Broadcast, Element::of::<T>(), buf.len())
        };
        self.core
            .collective(signature, Location::caller(), checked, |rounds| {
                collective::broadcast(rounds, bytemuck::cast_slice_mut(buf), root)
            })
    }

    #[track_caller]
    fn barrier(&self) -> Result<(), CommError> {
        let signature = Signature::new(Operation::Barrier, Element::NONE, 0);
        self.core
            .collective(signature, Location::caller(), Ok(()), collective::barrier)
    }

    fn rank(&self) -> usize {
        self.core.rank()
    }

    fn size(&self) -> usize {
        self.core.size()
    }

    fn abort(&self, code: i32) -> ! {
        abort::abort(&self.core, code)
    }
}

impl PoolProvider for ShmComm {
    type Pool<T: CommData> = ShmPool<T>;

    #[track_caller]
    fn create_pool<T: CommData>(&self, capacity: usize) -> Result<ShmPool<T>, CommError> {
        ShmPool::create(&self.core, capacity, Location::caller())
    }
}

impl SharedMemoryProvider for ShmComm {
    type Region<T: CommData> = ShmRegion<T>;
    type Exchange<T: CommData> = ShmExchange<T>;
    type Reduction<T: Reducible> = ShmReduction<T>;
    type Local = Self;

    #[track_caller]
    fn create_shared_region<T: CommData>(&self, len: usize) -> Result<ShmRegion<T>, CommError> {
        self.create_window(len, &WindowOptions::new())
    }

    #[track_caller]
    fn create_exchange<T: CommData>(&self, counts: &[usize]) -> Result<ShmExchange<T>, CommError> {
        ShmExchange::create(&self.core, counts, Location::caller())
    }

    #[track_caller]
    fn create_reduction<T: Reducible>(&self, len: usize) -> Result<ShmReduction<T>, CommError> {
        ShmReduction::create(&self.core, len, Location::caller())
    }

    #[track_caller]
    fn split_local(&self) -> Result<Self, CommError> {
        let control = split::split(&self.core, Location::caller())?;
        let core = Core::new(control, self.core.rank(), self.core.policy());
        let local = Self::member(core.split_from(&self.core));
        local.set_timeout(self.timeout());
        Ok(local)
    }

    fn is_leader(&self) -> bool {
        // One node: its leader is rank 0.
        self.core.rank() == 0
    }
}
