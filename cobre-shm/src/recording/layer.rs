//! The spans of `tracing` among a rank's events.

use std::{fmt, sync::Arc};

use tracing_core::{Subscriber, span::Id};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

use super::recorder::{Recorder, SPAN_BEGINS, SPAN_ENDS};

/// Puts the spans of a program into its rank's trace; in a job that is not traced it does nothing.
///
/// From [`ShmComm::trace_layer`](crate::ShmComm::trace_layer). Only when a span is entered and left is recorded, not its
/// fields; filters of the subscriber apply.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let comm = cobre_shm::init()?;
/// let subscriber = tracing_subscriber::registry().with(comm.trace_layer());
/// # let _ = subscriber;
/// # Ok(())
/// # }
/// ```
pub struct TraceLayer {
    recorder: Option<Arc<Recorder>>,
}

impl TraceLayer {
    pub(crate) fn new(recorder: Option<Arc<Recorder>>) -> Self {
        Self { recorder }
    }

    fn record<S: Subscriber + for<'a> LookupSpan<'a>>(
        &self,
        kind: u64,
        id: &Id,
        ctx: &Context<'_, S>,
    ) {
        if let Some(recorder) = &self.recorder
            && let Some(metadata) = ctx.metadata(id)
        {
            let key = core::ptr::from_ref(metadata).addr();
            recorder.span(kind, key, metadata.name());
        }
    }
}

impl fmt::Debug for TraceLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.recorder.is_some();
        f.debug_struct("TraceLayer")
            .field("records", &records)
            .finish()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TraceLayer {
    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        self.record(SPAN_BEGINS, id, &ctx);
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        self.record(SPAN_ENDS, id, &ctx);
    }
}
