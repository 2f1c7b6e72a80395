//! Reading a rank's record.

use std::{collections::HashMap, sync::Arc};

use cobre_comm_trait::Operation;

use super::{
    Histogram,
    memory::{Record, Row},
    recorder::{CALL_BEGINS, CALL_ENDS, SPAN_BEGINS, SPAN_ENDS, WAIT_BEGINS, WAIT_ENDS},
};
use crate::{
    call::sites::SiteTable,
    sync::{
        failure::operation_from_code,
        primitive::{AtomicU64, Ordering},
        ring,
    },
};

/// What one rank of a recorded job has written down. Times are nanoseconds of the monotonic clock.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RankRecord {
    /// When the rank joined; 0 if it never did.
    pub began_ns: u64,
    /// When it left; `None` if it has not, or was killed.
    pub ended_ns: Option<u64>,
    /// The end of the last thing it recorded.
    pub seen_ns: u64,
    /// The call sites at which it has completed calls.
    pub sites: Vec<SiteRecord>,
    /// Waiting and calling over its time.
    pub timeline: Timeline,
    /// The last events, oldest first.
    pub events: Vec<Event>,
    /// How many events were there before them.
    pub events_lost: u64,
}

/// The sums of one rank's calls at one call site.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SiteRecord {
    /// The operation; of a site that several share, the last one.
    pub operation: Operation,
    /// `file:line`; `None` for all sites together that the table had no room for.
    pub site: Option<Arc<str>>,
    /// Completed calls.
    pub calls: u64,
    /// Bytes that this rank contributed.
    pub bytes: u64,
    /// Time inside.
    pub time_ns: u64,
    /// The part of it in which the rank waited for peers.
    pub waiting_ns: u64,
    /// The longest call.
    pub longest_ns: u64,
    /// How often the rank found all others there. 0 for broadcasts.
    pub came_last: u64,
    /// The times of the calls.
    pub times: Histogram,
    /// For each peer, the time waited in rounds to which it came last.
    pub waits_ns: Vec<u64>,
    /// For each peer, the part of that in which it alone was missing when the rank came: what would
    /// have been saved if the peer had come with the rank.
    pub late_ns: Vec<u64>,
}

/// Waiting and calling over a rank's time.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Timeline {
    /// The length of a bucket in nanoseconds; the first begins when the rank joined.
    pub bucket_ns: u64,
    /// Per bucket, the time spent waiting.
    pub waiting_ns: Vec<u64>,
    /// Per bucket, the time spent inside collectives, waiting included.
    pub calling_ns: Vec<u64>,
}

/// Something that happened in a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
    /// In which thread of the rank, in the order in which they first recorded something.
    pub thread: u16,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A collective began.
    CallBegins {
        /// Which.
        operation: Operation,
        /// Where; `None` if the table of call sites is full.
        site: Option<Arc<str>>,
        /// Bytes that the rank contributes.
        bytes: u64,
        /// Its number among the collectives of the communicator, from 1.
        number: u64,
    },
    /// It ended, well or not.
    CallEnds,
    /// Within a collective, the rank found that a peer is not there.
    WaitBegins {
        /// The peer.
        peer: usize,
    },
    /// The peer came, or the job failed.
    WaitEnds,
    /// A span of the program was entered.
    SpanBegins {
        /// Its name; `None` if the table of spans is full.
        name: Option<Arc<str>>,
    },
    /// It was left.
    SpanEnds,
}

/// Reads the record of one rank, whether the rank still writes it or not.
pub(crate) fn read(record: Record<'_>) -> RankRecord {
    let fixed = record.fixed;
    let get = |word: &AtomicU64| word.load(Ordering::Relaxed);
    let mut sites = Names::new(&fixed.sites, SiteTable::get);
    let mut spans = Names::new(&fixed.spans, SiteTable::name);
    let rows = fixed.rows.iter().enumerate();
    let rows = rows.filter_map(|(number, row)| site_record(record, number, row, &mut sites));
    let rows: Vec<SiteRecord> = rows.collect();
    let (bucket_ns, sums) = fixed.timeline.read();
    let (events, events_lost) = ring::last(record.events, &fixed.written);
    let events = events.into_iter();
    let events: Vec<Event> = events
        .filter_map(|words| event(words, &mut sites, &mut spans))
        .collect();
    let last_event = events.last().map_or(0, |event| event.time_ns);
    let ended_ns = get(&fixed.ended);
    RankRecord {
        began_ns: get(&fixed.began),
        ended_ns: (ended_ns > 0).then_some(ended_ns),
        seen_ns: get(&fixed.seen).max(last_event).max(get(&fixed.began)),
        sites: rows,
        timeline: Timeline {
            bucket_ns,
            waiting_ns: sums.iter().map(|[waiting, _]| *waiting).collect(),
            calling_ns: sums.iter().map(|[_, calling]| *calling).collect(),
        },
        events,
        events_lost,
    }
}

fn site_record(
    record: Record<'_>,
    number: usize,
    row: &Row,
    names: &mut Names<'_>,
) -> Option<SiteRecord> {
    let get = |word: &AtomicU64| word.load(Ordering::Relaxed);
    // Nothing has been counted here, or what no rank writes.
    let operation = operation_from_code(row.operation.load(Ordering::Relaxed).into())?;
    Some(SiteRecord {
        operation,
        site: names.get(number as u32),
        calls: get(&row.calls),
        bytes: get(&row.bytes),
        time_ns: get(&row.time),
        waiting_ns: get(&row.waiting),
        longest_ns: get(&row.longest),
        came_last: get(&row.came_last),
        times: row.times.read(),
        waits_ns: record.waits(number).iter().map(get).collect(),
        late_ns: record.late(number).iter().map(get).collect(),
    })
}

/// `None` for what no rank writes.
fn event(words: ring::Words, sites: &mut Names<'_>, spans: &mut Names<'_>) -> Option<Event> {
    let [time_ns, what, bytes, number] = words;
    let subject = (what >> 32) as u32;
    let kind = match what & 0xff {
        CALL_BEGINS => EventKind::CallBegins {
            operation: operation_from_code(what >> 8 & 0xff)?,
            site: sites.get(subject),
            bytes,
            number,
        },
        CALL_ENDS => EventKind::CallEnds,
        WAIT_BEGINS => EventKind::WaitBegins {
            peer: subject as usize,
        },
        WAIT_ENDS => EventKind::WaitEnds,
        SPAN_BEGINS => EventKind::SpanBegins {
            name: spans.get(subject),
        },
        SPAN_ENDS => EventKind::SpanEnds,
        _ => return None,
    };
    Some(Event {
        time_ns,
        thread: (what >> 16) as u16,
        kind,
    })
}

/// The names of a table, each read once.
struct Names<'a> {
    table: &'a SiteTable,
    read: fn(&SiteTable, u32) -> Option<String>,
    known: HashMap<u32, Option<Arc<str>>>,
}

impl<'a> Names<'a> {
    fn new(table: &'a SiteTable, read: fn(&SiteTable, u32) -> Option<String>) -> Self {
        Self {
            table,
            read,
            known: HashMap::new(),
        }
    }

    fn get(&mut self, number: u32) -> Option<Arc<str>> {
        let read = || (self.read)(self.table, number).map(Arc::from);
        self.known.entry(number).or_insert_with(read).clone()
    }
}
