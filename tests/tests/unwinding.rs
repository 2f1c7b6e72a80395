//! Collectives that a destructor calls while a panic unwinds its rank: the peers are elsewhere, and must
//! not take what it brings for what the rank would have brought.

use std::sync::Mutex;

use cobre_comm_trait::{
    CommError, Communicator, FailureCause, PoolProvider, ReduceOp, RegionReader, SharedExchange,
    SharedMemoryProvider, SharedPool, SharedReduction, SharedRegion,
};
use cobre_shm::{Chunking, ShmComm, WorkError};

type Call<'a> = Box<dyn FnOnce() -> Result<(), CommError> + 'a>;
/// Collectives that come before, and one that waits for rank 1.
type Entry = fn(&ShmComm) -> Result<Call<'_>, CommError>;

const ENTRIES: [(&str, Entry); 17] = [
    ("barrier", |comm| Ok(Box::new(|| comm.barrier()))),
    ("broadcast", |comm| {
        Ok(Box::new(|| comm.broadcast(&mut [0.0; 3], 1)))
    }),
    ("allreduce", |comm| {
        Ok(Box::new(|| {
            comm.allreduce(&[1.0], &mut [0.0], ReduceOp::Sum)
        }))
    }),
    ("allgatherv", |comm| {
        Ok(Box::new(|| {
            comm.allgatherv(&[1.0], &mut [0.0; 3], &[1; 3], &[0, 1, 2])
        }))
    }),
    ("split_local", |comm| {
        Ok(Box::new(|| comm.split_local().map(drop)))
    }),
    ("barrier of a split communicator", |comm| {
        let split = comm.split_local()?;
        Ok(Box::new(move || split.barrier()))
    }),
    ("create_shared_region", |comm| {
        Ok(Box::new(|| comm.create_shared_region::<f64>(9).map(drop)))
    }),
    ("fence of a region", |comm| {
        let region = comm.create_shared_region::<f64>(9)?;
        Ok(Box::new(|| region.fence().map(drop)))
    }),
    ("populate_by_leader", |comm| {
        let region = comm.create_shared_region::<f64>(9)?;
        Ok(Box::new(|| region.populate_by_leader(|_| {}).map(drop)))
    }),
    ("fence of a reader", |comm| {
        let reader = comm.create_shared_region::<f64>(9)?.fence()?;
        Ok(Box::new(|| reader.fence().map(drop)))
    }),
    ("create_exchange", |comm| {
        Ok(Box::new(|| comm.create_exchange::<f64>(&[1; 3]).map(drop)))
    }),
    ("fence of an exchange", |comm| {
        let mut exchange = comm.create_exchange::<f64>(&[1; 3])?;
        Ok(Box::new(move || exchange.fence()))
    }),
    ("reduce", |comm| {
        let mut reduction = comm.create_reduction::<f64>(3)?;
        Ok(Box::new(move || reduction.reduce(ReduceOp::Sum).map(drop)))
    }),
    ("create_pool", |comm| {
        Ok(Box::new(|| comm.create_pool::<f64>(9).map(drop)))
    }),
    ("append", |comm| {
        let mut pool = comm.create_pool::<f64>(9)?;
        Ok(Box::new(move || pool.append(1, |_| {}).map(drop)))
    }),
    ("dynamic", |comm| {
        Ok(Box::new(|| {
            comm.dynamic::<f64>(0..9, Chunking::Guided).map(drop)
        }))
    }),
    ("finish", |comm| {
        let work = comm.dynamic::<f64>(0..9, Chunking::Guided)?;
        Ok(Box::new(|| match work.finish() {
            Err(WorkError::Failed { cause, .. }) => Err(cause),
            other => panic!("{other:?}"),
        }))
    }),
];

/// Makes its call when it is dropped.
struct AtTheEnd<'a> {
    call: Option<Call<'a>>,
    outcome: &'a Mutex<Option<Result<(), CommError>>>,
}

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        let outcome = self.call.take().map(|call| call());
        *self.outcome.lock().expect("nobody panics with it") = outcome;
    }
}

#[test]
fn every_collective_that_a_destructor_enters_while_unwinding_fails_the_job() {
    std::panic::set_hook(Box::new(|_| {}));
    for (name, entry) in ENTRIES {
        let job = cobre_tests::job_name();
        let at_the_end = Mutex::new(None);
        let outcomes = cobre_tests::try_ranks(3, |rank, _| {
            let comm = ShmComm::form(&cobre_tests::config(&job, rank, 3));
            let comm = comm.expect("the job can be formed");
            let call = entry(&comm).expect("all ranks are there");
            if rank != 1 {
                return call();
            }
            let _guard = AtTheEnd {
                call: Some(call),
                outcome: &at_the_end,
            };
            panic!("on purpose");
        });
        assert!(outcomes[1].is_err(), "{name}");
        let at_the_end = at_the_end.lock().expect("nobody panics with it");
        let told = [0, 2].map(|rank| outcomes[rank].as_ref().ok());
        for told in told.into_iter().chain([at_the_end.as_ref()]) {
            assert!(
                matches!(
                    told,
                    Some(Err(CommError::RankFailed {
                        rank: 1,
                        cause: FailureCause::Panicked,
                        ..
                    }))
                ),
                "{name}: {told:?}"
            );
        }
    }
    let _ = std::panic::take_hook();
}

#[test]
fn a_job_of_one_has_no_peers_to_mislead() {
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = Mutex::new(None);
    let job = cobre_tests::job_name();
    let outcomes = cobre_tests::try_ranks(1, |rank, _| {
        let comm = ShmComm::form(&cobre_tests::config(&job, rank, 1));
        let comm = comm.expect("the job can be formed");
        let _guard = AtTheEnd {
            call: Some(Box::new(|| comm.barrier())),
            outcome: &outcome,
        };
        panic!("on purpose");
    });
    let _ = std::panic::take_hook();
    let _: &Result<(), _> = &outcomes[0];
    assert!(outcomes[0].is_err());
    assert_eq!(
        *outcome.lock().expect("nobody panics with it"),
        Some(Ok(()))
    );
}
