//! `--progress`: one line for all ranks, drawn again and again on a terminal, now and then
//! elsewhere.

use std::time::{Duration, Instant};

use cobre_shm::board::Progress;

/// How often a terminal's line is drawn, and the ranks are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Elsewhere a line is written for each such part of the work.
const PERCENT_PER_LINE: u64 = 10;
/// Work whose end is not known gets a line so often.
const TIME_PER_LINE: Duration = Duration::from_secs(10);
/// Characters of the bar.
const BAR: usize = 24;

/// What the ranks have told of their progress, over time.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    on_terminal: bool,
    next: Instant,
    /// When work was first seen, and how much.
    first: Option<(Instant, u64)>,
    /// What the last line told of, and when.
    told: Option<(Sum, Instant)>,
}

/// The work of all ranks together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    done: u64,
    /// 0 if nobody knows. One rank may state it for all, who then state none.
    total: u64,
    /// The rank with the least part of its own work done, and that part in percent.
    slowest: Option<(u64, usize)>,
}

impl ProgressLine {
    pub(crate) fn new(on_terminal: bool, now: Instant) -> Self {
        Self {
            on_terminal,
            next: now + LOOK,
            first: None,
            told: None,
        }
    }

    /// When to look again.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// The line to show now, of what the `ranks` say; `None` if there is nothing new. `last` if
    /// there will be no other.
    pub(crate) fn look(
        &mut self,
        ranks: &[Option<Progress>],
        now: Instant,
        last: bool,
    ) -> Option<String> {
        if now < self.next && !last {
            return None;
        }
        self.next = now + LOOK;
        let sum = Sum::of(ranks)?;
        let (begun, at_first) = *self.first.get_or_insert((now, sum.done));
        if !self.is_due(sum, now, last) {
            return None;
        }
        self.told = Some((sum, now));
        let time = now.duration_since(begun).as_secs_f64();
        let rate = sum.done.saturating_sub(at_first) as f64 / time;
        Some(sum.line(self.on_terminal, (time > 0.0 && rate > 0.0).then_some(rate)))
    }

    fn is_due(&self, sum: Sum, now: Instant, last: bool) -> bool {
        let Some((told, then)) = self.told.filter(|_| !self.on_terminal) else {
            return true;
        };
        if last {
            return told != sum;
        }
        match (told.percent(), sum.percent()) {
            (Some(told), Some(now)) => told / PERCENT_PER_LINE != now / PERCENT_PER_LINE,
            _ => told != sum && now.duration_since(then) >= TIME_PER_LINE,
        }
    }
}

impl Sum {
    /// `None` if no rank has told of any work.
    fn of(ranks: &[Option<Progress>]) -> Option<Self> {
        let told = || {
            let told = ranks.iter().enumerate();
            told.filter_map(|(rank, progress)| Some((rank, (*progress)?)))
        };
        told().next()?;
        let parts = told().map(|(rank, p)| Some((percent(p.done, p.total)?, rank)));
        let parts: Option<Vec<_>> = parts.collect();
        Some(Self {
            done: told().fold(0, |sum, (_, p)| sum.saturating_add(p.done)),
            total: told().fold(0, |sum, (_, p)| sum.saturating_add(p.total)),
            slowest: parts.and_then(|parts| parts.into_iter().min()),
        })
    }

    fn percent(self) -> Option<u64> {
        percent(self.done, self.total)
    }

    fn line(self, on_terminal: bool, rate: Option<f64>) -> String {
        let Self { done, total, .. } = self;
        let Some(part) = self.percent() else {
            let rate = rate.map_or_else(String::new, |rate| format!(", {rate:.1}/s"));
            return format!("{done} done{rate}");
        };
        let mut line = format!("{part} %, {done} of {total}");
        if on_terminal {
            let full = BAR * part as usize / 100;
            line = format!("[{}{}] {line}", "#".repeat(full), ".".repeat(BAR - full));
        }
        if let Some(rate) = rate {
            line += &format!(", {rate:.1}/s");
            if done < total {
                // At most some thirty years, which no clock here needs to show more of.
                let left = ((total - done) as f64 / rate).min(1e9);
                line += &format!(", {} left", clock(Duration::from_secs_f64(left)));
            }
        }
        if let Some((its_part, rank)) = self.slowest.filter(|&(its_part, _)| its_part < part) {
            line += &format!("; rank {rank} is at {its_part} %");
        }
        line
    }
}

/// Rounded down, so that only what is done is 100 %; `None` if nobody knows how much there is.
fn percent(done: u64, total: u64) -> Option<u64> {
    let part = u128::from(done.min(total)) * 100;
    Some(part.checked_div(total.into())? as u64)
}

/// `0:42`, `12:00`, `3:02:01`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::{LOOK, ProgressLine, TIME_PER_LINE, clock};
    use cobre_shm::board::Progress;
    use std::time::{Duration, Instant};

    fn told(ranks: &[(u64, u64)]) -> Vec<Option<Progress>> {
        let progress = |&(done, total)| Some(Progress { done, total });
        ranks.iter().map(progress).chain([None]).collect()
    }

    #[test]
    fn a_terminal_has_a_bar_with_rate_and_time_left() {
        let start = Instant::now();
        let mut line = ProgressLine::new(true, start);
        assert_eq!(line.look(&told(&[(0, 100)]), start, false), None);
        let begun = start + LOOK;
        assert_eq!(line.look(&[None, None], begun, false), None);
        let begun = begun + LOOK;
        let shown = line.look(&told(&[(0, 100), (0, 300)]), begun, false);
        assert_eq!(
            shown.as_deref(),
            Some("[........................] 0 %, 0 of 400")
        );
        let later = begun + Duration::from_secs(10);
        let shown = line.look(&told(&[(50, 100), (50, 300)]), later, false);
        assert_eq!(
            shown.as_deref(),
            Some(
                "[######..................] 25 %, 100 of 400, 10.0/s, 0:30 left; rank 1 is at 16 %"
            )
        );
    }

    #[test]
    fn elsewhere_there_is_a_line_for_each_tenth_and_the_end() {
        let start = Instant::now();
        let mut line = ProgressLine::new(false, start);
        let mut shown = Vec::new();
        for second in 0..=21_u32 {
            let now = start + LOOK + second * Duration::from_secs(1);
            let done = u64::from(second).min(19);
            shown.extend(line.look(&told(&[(done, 20)]), now, second == 21));
        }
        assert_eq!(shown.len(), 11, "{shown:?}");
        assert_eq!(shown[0], "0 %, 0 of 20");
        assert_eq!(shown[9], "90 %, 18 of 20, 1.0/s, 0:02 left");
        assert_eq!(shown[10], "95 %, 19 of 20, 0.9/s, 0:01 left");
        let end = start + Duration::from_secs(21);
        let shown = line.look(&told(&[(20, 20)]), end, true);
        assert_eq!(shown.as_deref(), Some("100 %, 20 of 20, 1.0/s"));
        assert_eq!(line.look(&told(&[(20, 20)]), end, true), None);
    }

    #[test]
    fn work_without_a_known_end_is_counted() {
        let start = Instant::now();
        let mut line = ProgressLine::new(false, start);
        let look = |line: &mut ProgressLine, done, after| {
            line.look(&told(&[(done, 0), (5, 0)]), start + after, false)
        };
        assert_eq!(look(&mut line, 1, LOOK).as_deref(), Some("6 done"));
        assert_eq!(look(&mut line, 5, 2 * LOOK), None);
        let shown = look(&mut line, 21, LOOK + TIME_PER_LINE);
        assert_eq!(shown.as_deref(), Some("26 done, 2.0/s"));
    }

    #[test]
    fn one_rank_may_know_how_much_there_is_for_all() {
        let start = Instant::now();
        let mut line = ProgressLine::new(false, start);
        let shown = line.look(&told(&[(3, 40), (7, 0)]), start + LOOK, false);
        assert_eq!(shown.as_deref(), Some("25 %, 10 of 40"));
    }

    #[test]
    fn times_are_those_of_a_clock() {
        let shown = [42, 720, 10_921].map(|s| clock(Duration::from_secs(s)));
        assert_eq!(shown, ["0:42", "12:00", "3:02:01"]);
    }
}
