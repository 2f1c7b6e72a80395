//! The timeline in the trace event format of Chrome, which Perfetto opens as well.
//!
//! A process of the trace is a rank, a thread of it a thread of the rank. Collectives, waits and
//! spans are complete events (`X`), sorted by their begin within a thread; what has begun and not
//! ended lasts until the rank's end and says `unfinished`. Times are microseconds from the first
//! rank's joining.

use std::collections::BTreeMap;
use std::io::{self, Write};

use cobre_shm::recording::{Event, EventKind, RankRecord};
use serde::Serialize;
use serde_json::{Value, json};

use crate::profile::end;

/// Writes the trace of a job whose ranks recorded this; `None` for a rank that never joined.
///
/// # Errors
/// If `out` fails.
pub fn trace(out: impl Write, records: &[Option<RankRecord>]) -> io::Result<()> {
    let known = records.iter().enumerate();
    let known = || {
        known
            .clone()
            .filter_map(|(rank, record)| Some((rank, record.as_ref()?)))
    };
    let origin = known()
        .map(|(_, record)| record.began_ns)
        .min()
        .unwrap_or(0);
    let mut list = List::begin(out)?;
    for (rank, record) in known() {
        for metadata in metadata(rank) {
            list.push(&metadata)?;
        }
        for slice in slices(rank, record, origin) {
            list.push(&slice)?;
        }
        if record.ended_ns.is_none() {
            list.push(&json!({
                "ph": "i", "s": "p", "name": "did not leave", "cat": "job",
                "ts": micros(end(record), origin), "pid": rank, "tid": 0,
            }))?;
        }
    }
    let lost: BTreeMap<usize, u64> = known().map(|(rank, r)| (rank, r.events_lost)).collect();
    list.end(&json!({ "ranks": records.len(), "events_lost": lost }))
}

/// One complete event.
#[derive(Debug, Serialize)]
struct Slice {
    ph: &'static str,
    name: String,
    cat: &'static str,
    ts: f64,
    dur: f64,
    pid: usize,
    tid: u16,
    args: Value,
}

fn metadata(rank: usize) -> [Value; 3] {
    let of = |name: &str, args: Value| json!({ "ph": "M", "name": name, "pid": rank, "tid": 0, "args": args });
    let name = format!("rank {rank}");
    [
        of("process_name", json!({ "name": name })),
        of("process_sort_index", json!({ "sort_index": rank })),
        of("thread_name", json!({ "name": name })),
    ]
}

/// The complete events of a rank, per thread by their begin, an outer one before those inside it.
fn slices(rank: usize, record: &RankRecord, origin: u64) -> Vec<Slice> {
    let mut threads: BTreeMap<u16, Vec<&Event>> = BTreeMap::new();
    for event in &record.events {
        threads.entry(event.thread).or_default().push(event);
    }
    let of_thread = |(thread, events): (u16, Vec<&Event>)| {
        let mut spans = complete(&events, end(record));
        spans.sort_by_key(|span| (span.from, core::cmp::Reverse(span.to)));
        let slice = move |span| slice(rank, thread, span, origin);
        spans.into_iter().filter_map(slice).collect::<Vec<_>>()
    };
    threads.into_iter().flat_map(of_thread).collect()
}

/// A begin with its end.
struct Span<'a> {
    begin: &'a EventKind,
    from: u64,
    to: u64,
    finished: bool,
}

/// Puts begins and ends of one thread together. An end whose begin has been overwritten is left out.
fn complete<'a>(events: &[&'a Event], last: u64) -> Vec<Span<'a>> {
    let mut open: Vec<&Event> = Vec::new();
    let mut spans = Vec::new();
    let span = |begin: &'a Event, to: u64, finished| Span {
        begin: &begin.kind,
        from: begin.time_ns,
        to: to.max(begin.time_ns),
        finished,
    };
    for &event in events {
        let Some(ends) = ended_by(&event.kind) else {
            open.push(event);
            continue;
        };
        if let Some(at) = open.iter().rposition(|begin| ends(&begin.kind)) {
            spans.push(span(open.remove(at), event.time_ns, true));
        }
    }
    spans.extend(open.into_iter().map(|begin| span(begin, last, false)));
    spans
}

/// What an end ends; `None` for a begin.
fn ended_by(kind: &EventKind) -> Option<fn(&EventKind) -> bool> {
    match kind {
        EventKind::CallEnds => Some(|kind| matches!(kind, EventKind::CallBegins { .. })),
        EventKind::WaitEnds => Some(|kind| matches!(kind, EventKind::WaitBegins { .. })),
        EventKind::SpanEnds => Some(|kind| matches!(kind, EventKind::SpanBegins { .. })),
        _ => None,
    }
}

/// `None` for a kind of event that is not known here.
fn slice(rank: usize, thread: u16, span: Span<'_>, origin: u64) -> Option<Slice> {
    let (name, cat, mut args) = match span.begin {
        EventKind::CallBegins {
            operation,
            site,
            bytes,
            number,
        } => (
            operation.name().to_owned(),
            "collective",
            json!({ "site": site.as_deref(), "bytes": bytes, "number": number }),
        ),
        EventKind::WaitBegins { peer } => (
            format!("wait for rank {peer}"),
            "wait",
            json!({ "peer": peer }),
        ),
        EventKind::SpanBegins { name } => {
            let name = name.as_deref().unwrap_or("(other spans)");
            (name.to_owned(), "span", json!({}))
        }
        _ => return None,
    };
    if !span.finished {
        args["unfinished"] = json!(true);
    }
    Some(Slice {
        ph: "X",
        name,
        cat,
        ts: micros(span.from, origin),
        // From the difference of whole numbers, so that it does not stick out of an outer one.
        dur: micros(span.to, origin) - micros(span.from, origin),
        pid: rank,
        tid: thread,
        args,
    })
}

fn micros(time: u64, origin: u64) -> f64 {
    time.saturating_sub(origin) as f64 / 1000.0
}

/// The list of events, written one by one.
struct List<W> {
    out: W,
    first: bool,
}

impl<W: Write> List<W> {
    fn begin(mut out: W) -> io::Result<Self> {
        out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        Ok(Self { out, first: true })
    }

    fn push(&mut self, event: &impl Serialize) -> io::Result<()> {
        self.out
            .write_all(if self.first { b"\n" } else { b",\n" })?;
        self.first = false;
        Ok(serde_json::to_writer(&mut self.out, event)?)
    }

    fn end(mut self, other: &Value) -> io::Result<()> {
        write!(self.out, "\n],\"otherData\":{other}}}\n")?;
        self.out.flush()
    }
}
