//! What one stream of a rank has written and the launcher has not passed on; and when it may be.
//!
//! The rule is in `specs/src/protocol/output.md`.

use std::time::{Duration, Instant};

/// An unfinished line is passed on after this time.
pub(crate) const UNFINISHED: Duration = Duration::from_millis(100);
/// The end of another rank's line is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// No more is held: shorter lines than this are not broken by their length.
const MOST: usize = 1024 * 1024;

/// Whose line is unfinished where a stream goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Nobody's that is waited for.
    Nobodys,
    /// The stream's own.
    Own,
    /// Another rank's.
    Others,
}

/// The bytes that wait.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    /// How many of them are whole lines.
    whole: usize,
    /// Since when the first of them waits, if there is one.
    since: Option<Instant>,
    /// There will be no more.
    is_over: bool,
}

impl Held {
    /// Adds what has just been read.
    pub(crate) fn push(&mut self, bytes: &[u8], now: Instant) {
        self.since.get_or_insert(now);
        // A carriage return at the end becomes one only with what follows it.
        let searched = self.bytes.len().saturating_sub(1);
        self.bytes.extend_from_slice(bytes);
        if let Some(end) = last_end(&self.bytes[searched..]) {
            self.whole = searched + end;
        }
    }

    /// There will be no more: the last line is as finished as it ever will be.
    pub(crate) fn end(&mut self) {
        self.is_over = true;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether so much waits that no more should be read.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= MOST
    }

    /// Everything.
    pub(crate) fn all(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes may be passed on now: none, those of whole lines, or all.
    pub(crate) fn due(&self, line: Line, now: Instant) -> usize {
        let has_waited = |time| self.since.is_some_and(|since| since + time <= now);
        match line {
            Line::Others if !has_waited(PATIENCE) => 0,
            _ if has_waited(UNFINISHED) || self.is_over || self.is_full() => self.bytes.len(),
            _ => self.whole,
        }
    }

    /// When something is due, if nothing else happens.
    pub(crate) fn next(&self, line: Line) -> Option<Instant> {
        let delay = match line {
            Line::Others => PATIENCE,
            Line::Nobodys | Line::Own => UNFINISHED,
        };
        self.since.map(|since| since + delay)
    }

    /// The first `count` bytes have been passed on.
    pub(crate) fn take(&mut self, count: usize, now: Instant) {
        self.bytes.drain(..count);
        self.whole = self.whole.saturating_sub(count);
        if count > 0 {
            self.since = (!self.bytes.is_empty()).then_some(now);
        }
    }
}

/// Where the last line of `bytes` ends: after a newline, or after a carriage return that something
/// else than a newline is known to follow.
fn last_end(bytes: &[u8]) -> Option<usize> {
    let is_end = |&at: &usize| match bytes[at - 1] {
        b'\n' => true,
        b'\r' => bytes.get(at).is_some_and(|&next| next != b'\n'),
        _ => false,
    };
    (1..=bytes.len()).rev().find(is_end)
}

#[cfg(test)]
mod tests {
    use super::{Held, Line, MOST, PATIENCE, UNFINISHED, last_end};
    use std::time::{Duration, Instant};

    fn held(text: &str, now: Instant) -> Held {
        let mut held = Held::default();
        held.push(text.as_bytes(), now);
        held
    }

    #[test]
    fn lines_end_at_newlines_and_carriage_returns() {
        for (text, end) in [
            ("", None),
            ("half", None),
            ("a\nb", Some(2)),
            ("a\r\nb", Some(3)),
            ("10%\r20%", Some(4)),
            // A newline may follow.
            ("a\nb\r", Some(2)),
            ("\r\n", Some(2)),
        ] {
            assert_eq!(last_end(text.as_bytes()), end, "{text:?}");
        }
        let now = Instant::now();
        let mut held = held("10%\r", now);
        assert_eq!(held.due(Line::Nobodys, now), 0);
        held.push(b"\nnext", now);
        assert_eq!(held.due(Line::Nobodys, now), 5);
    }

    #[test]
    fn no_byte_waits_longer_than_for_the_end_of_its_line() {
        let start = Instant::now();
        let before = start + UNFINISHED - Duration::from_millis(10);
        let mut held = held("whole\nhalf", start);
        assert_eq!(held.due(Line::Nobodys, start), 6);
        held.take(6, start);
        assert_eq!(held.next(Line::Nobodys), Some(start + UNFINISHED));
        // However often it grows, and however long it is.
        held.push(&[b'.'; 5000], before);
        assert_eq!(held.due(Line::Nobodys, before), 0);
        assert_eq!(held.due(Line::Nobodys, start + UNFINISHED), 5004);
        held.end();
        assert_eq!(held.due(Line::Nobodys, start), 5004);
        held.take(5004, before);
        assert_eq!(held.next(Line::Nobodys), None);
    }

    #[test]
    fn another_ranks_line_is_waited_for_but_not_for_ever() {
        let start = Instant::now();
        let held = held("whole\nhalf", start);
        assert_eq!(held.due(Line::Others, start + UNFINISHED), 0);
        assert_eq!(held.next(Line::Others), Some(start + PATIENCE));
        assert_eq!(held.due(Line::Others, start + PATIENCE), 10);
    }

    #[test]
    fn memory_is_bounded() {
        let now = Instant::now();
        let mut held = held(&"x".repeat(MOST - 1), now);
        assert!(!held.is_full());
        assert_eq!(held.due(Line::Nobodys, now), 0);
        held.push(b"x", now);
        assert!(held.is_full());
        assert_eq!(held.due(Line::Nobodys, now), MOST);
        assert_eq!(held.due(Line::Others, now), 0);
    }
}
