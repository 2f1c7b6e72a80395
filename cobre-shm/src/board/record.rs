//! What a member says about itself, and how it lies in memory.

use core::{fmt, time::Duration};

use crate::sync::latch::Latch;

/// Words of a record; the table is in the specification.
const WORDS: usize = 24;
/// Words that routing needs: one cache line.
const LOAD_WORDS: usize = 8;
/// Where the text begins.
const TEXT: usize = 12;
/// The longest text, in bytes.
pub const TEXT_BYTES: usize = 8 * (WORDS - TEXT);

/// Room for the record of one member.
pub(crate) type RecordLatch = Latch<WORDS, 4>;

/// What a member is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It is there but takes no work yet.
    #[default]
    Starting,
    /// It would begin work at once.
    Idle,
    /// It works.
    Busy,
    /// It waits for others.
    Waiting,
    /// It takes no work any more.
    Shutdown,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Idle,
        Self::Busy,
        Self::Waiting,
        Self::Shutdown,
    ];

    /// The name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Waiting => "waiting",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How far a piece of work is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all; 0 if that is not known.
    pub total: u64,
}

/// A short text; what does not fit is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text {
    length: u8,
    bytes: [u8; TEXT_BYTES],
}

impl Text {
    /// The front of `text` that fits into [`TEXT_BYTES`].
    #[must_use]
    pub fn new(text: &str) -> Self {
        let length = (0..=text.len().min(TEXT_BYTES))
            .rfind(|&end| text.is_char_boundary(end))
            .unwrap_or(0);
        let mut bytes = [0; TEXT_BYTES];
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self {
            // At most TEXT_BYTES, which is 96.
            length: length as u8,
            bytes,
        }
    }

    /// The text; empty if a broken writer left something else there.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new("")
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What routing looks at: the front of a [`Record`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Load {
    /// What the member is doing.
    pub state: State,
    /// When the record was last updated, in nanoseconds of the monotonic clock; 0 if never.
    pub updated_ns: u64,
    /// Requests that wait.
    pub queue: u64,
    /// Items done since the member joined.
    pub items: u64,
    /// The queue's moving average over time (time constant 10 s).
    pub smoothed_queue: f64,
    /// The moving average of the time of an item, in nanoseconds; 0 before the first.
    pub mean_service_ns: u64,
    /// The 90th percentile of the time of an item, in nanoseconds, rounded up to a power of two.
    pub p90_service_ns: u64,
}

/// One member's record: everything that it says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// What routing looks at.
    pub load: Load,
    /// How far the work is, if the member says so.
    pub progress: Option<Progress>,
    /// Resident memory, in bytes; 0 if never refreshed.
    pub resident: u64,
    /// The most resident memory so far, in bytes.
    pub peak: u64,
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// What else it has to say.
    pub text: Text,
}

impl Load {
    fn decode(words: &[u64; LOAD_WORDS]) -> Self {
        let state = State::ALL.get(words[0] as usize & 0xff);
        Self {
            // A state that nobody writes: such a member gets no work.
            state: state.copied().unwrap_or_default(),
            updated_ns: words[1],
            queue: words[2],
            items: words[3],
            smoothed_queue: f64::from_bits(words[4]),
            mean_service_ns: words[5],
            p90_service_ns: words[6],
        }
    }

    /// How old the record is at `now` (nanoseconds of the monotonic clock); `None` if there is none.
    #[must_use]
    pub fn age(&self, now: u64) -> Option<Duration> {
        let age = now.saturating_sub(self.updated_ns);
        (self.updated_ns > 0).then(|| Duration::from_nanos(age))
    }

    /// The front of what the latch holds; `None` if its writer was faster all the time.
    #[cfg(any(test, feature = "boards"))]
    #[inline]
    pub(crate) fn read(latch: &RecordLatch) -> Option<Self> {
        latch.read().map(|words| Self::decode(&words))
    }
}

impl Record {
    fn decode(words: &[u64; WORDS]) -> Self {
        let (front, rest) = words.split_at(LOAD_WORDS);
        let front = front.first_chunk().copied().unwrap_or_default();
        let text = rest.last_chunk::<{ WORDS - TEXT }>();
        let length = (words[0] >> 8) as u8;
        Self {
            load: Load::decode(&front),
            progress: (words[0] >> 16 & 1 == 1).then_some(Progress {
                done: words[7],
                total: words[8],
            }),
            resident: words[9],
            peak: words[10],
            cpu: Duration::from_nanos(words[11]),
            text: Text {
                length: length.min(TEXT_BYTES as u8),
                bytes: text.map_or([0; TEXT_BYTES], |words| bytemuck::cast(*words)),
            },
        }
    }

    fn encode(&self) -> [u64; WORDS] {
        let (load, progress) = (&self.load, self.progress.unwrap_or_default());
        let state = load.state as u64;
        let mut words = [0; WORDS];
        words[..TEXT].copy_from_slice(&[
            state | u64::from(self.text.length) << 8 | u64::from(self.progress.is_some()) << 16,
            load.updated_ns,
            load.queue,
            load.items,
            load.smoothed_queue.to_bits(),
            load.mean_service_ns,
            load.p90_service_ns,
            progress.done,
            progress.total,
            self.resident,
            self.peak,
            // 584 years fit.
            self.cpu.as_nanos() as u64,
        ]);
        let text: [u64; WORDS - TEXT] = bytemuck::cast(self.text.bytes);
        words[TEXT..].copy_from_slice(&text);
        words
    }

    /// What the latch holds; `None` if its writer was faster all the time.
    #[inline]
    pub(crate) fn read(latch: &RecordLatch) -> Option<Self> {
        latch.read().map(|words| Self::decode(&words))
    }

    /// As [`read`](Self::read), of a latch at `offset` of `file`.
    pub(crate) fn read_from(file: &std::fs::File, offset: u64) -> std::io::Result<Option<Self>> {
        let words = RecordLatch::read_from(file, offset)?;
        Ok(words.map(|words| Self::decode(&words)))
    }

    /// Makes this what the latch holds. By its only writer.
    #[inline]
    pub(crate) fn publish(&self, latch: &RecordLatch) {
        latch.publish(&self.encode());
    }
}

#[cfg(test)]
mod tests {
    use super::{Load, Progress, Record, RecordLatch, State, TEXT_BYTES, Text, WORDS};
    use core::time::Duration;

    fn full() -> Record {
        Record {
            load: Load {
                state: State::Busy,
                updated_ns: 1,
                queue: 2,
                items: 3,
                smoothed_queue: 4.5,
                mean_service_ns: 5,
                p90_service_ns: 6,
            },
            progress: Some(Progress { done: 7, total: 8 }),
            resident: 9,
            peak: 10,
            cpu: Duration::from_nanos(11),
            text: Text::new("stage 3, scenario 17"),
        }
    }

    #[test]
    fn every_field_survives_the_latch() {
        let latch = RecordLatch::new();
        assert_eq!(Record::read(&latch), Some(Record::default()));
        full().publish(&latch);
        assert_eq!(Record::read(&latch), Some(full()));
        assert_eq!(Load::read(&latch), Some(full().load));
    }

    #[test]
    fn any_bits_decode_to_some_record() {
        for word in [u64::MAX, 0x0101_0101_0101_0101, 1 << 63] {
            let record = Record::decode(&[word; WORDS]);
            assert!(record.text.as_str().len() <= TEXT_BYTES);
        }
        assert_eq!(Record::decode(&[0xff; WORDS]).load.state, State::Starting);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let long = "é".repeat(TEXT_BYTES);
        assert_eq!(Text::new(&long).as_str(), "é".repeat(TEXT_BYTES / 2));
        let odd = format!("x{long}");
        let kept = Text::new(&odd);
        assert_eq!(kept.as_str().len(), TEXT_BYTES - 1);
    }
}
