//! The spans of a program in its rank's trace.
#![allow(missing_docs, clippy::unwrap_used)]

use cobre_comm_trait::Communicator;
use cobre_shm::observer::Observer;
use cobre_shm::recording::{EventKind, Recording};
use cobre_shm::{Config, ShmComm};
use tracing_subscriber::layer::SubscriberExt;

#[test]
fn spans_stand_around_the_collectives_made_in_them() {
    let name = cobre_shm::random_job_name();
    let recording = Some(Recording { trace_events: 100 });
    let observer = Observer::found_with(&name, 1, recording, None).unwrap();
    let mut config = Config::new(&name, 0, 1);
    config.launcher = Some(std::process::id());
    let comm = ShmComm::form(&config).unwrap();
    let subscriber = tracing_subscriber::registry().with(comm.trace_layer());
    tracing::subscriber::with_default(subscriber, || {
        let _outer = tracing::info_span!("iteration").entered();
        comm.barrier().unwrap();
        let _inner = tracing::info_span!("backward", stage = 3).entered();
    });
    let record = observer.record(0).unwrap();
    let told: Vec<String> = record
        .events
        .iter()
        .map(|event| told(&event.kind))
        .collect();
    assert_eq!(
        told,
        [
            "+iteration",
            "+barrier",
            "-call",
            "+backward",
            "-span",
            "-span"
        ]
    );
}

fn told(kind: &EventKind) -> String {
    match kind {
        EventKind::CallBegins { operation, .. } => format!("+{}", operation.name()),
        EventKind::CallEnds => "-call".to_owned(),
        EventKind::SpanBegins { name } => format!("+{}", name.as_deref().unwrap_or("?")),
        EventKind::SpanEnds => "-span".to_owned(),
        other => format!("{other:?}"),
    }
}
