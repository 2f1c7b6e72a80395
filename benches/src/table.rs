//! The table of a comparison, in Markdown.

use std::fmt::Write as _;

use crate::bounds;
use crate::json::{Comparison, Mode};
use crate::stats::Summary;

/// A case in a column, over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Median of the medians.
    pub median: f64,
    /// Smallest and largest median of a round.
    pub spread: (f64, f64),
    /// Smallest sample of all rounds.
    pub min: f64,
    /// Median of the 99th percentiles.
    pub p99: f64,
    /// Median of the processor time.
    pub cpu: f64,
}

/// What a column needed for a case; nothing if it did not get that far or was wrong.
#[must_use]
pub fn cell(all: &Comparison, column: &str, ranks: usize, mode: Mode, case: &str) -> Option<Cell> {
    let records: Vec<_> = all
        .entries
        .iter()
        .filter(|entry| entry.column == column)
        .map(|entry| &entry.record)
        .filter(|record| record.ranks == ranks && record.mode == mode && record.case() == case)
        .collect();
    if records.iter().any(|record| !record.verified) {
        return None;
    }
    let over = |of: fn(&&crate::json::Record) -> f64| {
        Summary::of(&records.iter().map(of).collect::<Vec<f64>>())
    };
    let medians = over(|record| record.median_us)?;
    Some(Cell {
        median: medians.median,
        spread: (medians.min, medians.p99),
        min: over(|record| record.min_us)?.min,
        p99: over(|record| record.p99_us)?.median,
        cpu: over(|record| record.cpu_us)?.median,
    })
}

/// Different values in the order of their first appearance.
#[must_use]
pub fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// Three significant digits, as far as they matter.
#[must_use]
pub fn short(us: f64) -> String {
    match us.abs() {
        below if below < 10.0 => format!("{us:.2}"),
        below if below < 100.0 => format!("{us:.1}"),
        _ => format!("{us:.0}"),
    }
}

/// All rows: medians with the smallest sample and the p99 in brackets, then best peer over ours.
#[must_use]
pub fn markdown(all: &Comparison) -> String {
    let mut text = String::new();
    let ranks = distinct(all.entries.iter().map(|entry| entry.record.ranks));
    for ranks in ranks {
        for mode in [Mode::Reused, Mode::Dirty] {
            section(&mut text, all, ranks, mode);
        }
    }
    text
}

/// A row: one case at one rank count in one mode.
struct Row<'a> {
    all: &'a Comparison,
    ranks: usize,
    mode: Mode,
    case: &'a str,
}

impl Row<'_> {
    fn cell(&self, column: &str) -> Option<Cell> {
        cell(self.all, column, self.ranks, self.mode, self.case)
    }

    /// Our columns here: not bound, bound.
    fn ours(&self) -> Vec<Cell> {
        let ours = self.all.columns.iter().filter(|column| column.ours);
        ours.filter_map(|column| self.cell(&column.name)).collect()
    }

    /// The fastest peer.
    fn best(&self) -> Option<(&str, Cell)> {
        let peers = self.all.columns.iter().filter(|column| !column.ours);
        peers
            .filter_map(|column| Some((column.name.as_str(), self.cell(&column.name)?)))
            // Noise can make what is subtracted larger than what it is subtracted from.
            .filter(|(_, cell)| cell.median > 0.0)
            .min_by(|(_, one), (_, other)| one.median.total_cmp(&other.median))
    }

    /// The same collective on private buffers, of a row about windows.
    fn private(&self) -> Option<Self> {
        let case = self.case.strip_prefix("win-")?;
        Some(Self { case, ..*self })
    }

    fn bound(&self) -> Option<f64> {
        let case = self.case.parse().ok()?;
        bounds::traffic_us(case, self.ranks, &self.all.bandwidth)
    }
}

/// What a peer takes, in our time.
fn ratios(ours: &[Cell], peer: &Cell) -> String {
    let ratio = |ours: &Cell| match ours.median > 0.0 {
        true => format!("**{:.2}**", peer.median / ours.median),
        false => "—".to_owned(),
    };
    ours.iter().map(ratio).collect::<Vec<_>>().join(" / ")
}

fn section(text: &mut String, all: &Comparison, ranks: usize, mode: Mode) {
    let here = || {
        let entries = all.entries.iter();
        entries.filter(move |entry| entry.record.ranks == ranks && entry.record.mode == mode)
    };
    let present = |column: &&crate::json::Column| here().any(|entry| entry.column == column.name);
    let columns: Vec<_> = all.columns.iter().filter(present).collect();
    if columns.is_empty() {
        return;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n#### {ranks} ranks, {} buffers, µs\n", mode.name());
    let _ = write!(text, "| case |");
    for column in &columns {
        let _ = write!(text, " {} |", column.name);
    }
    let _ = writeln!(
        text,
        " traffic bound | best peer | best peer / ours | spread: ours, best peer |"
    );
    let _ = writeln!(text, "|---|{}", "---|".repeat(columns.len() + 4));
    for case in distinct(here().map(|entry| entry.record.case())) {
        let row = Row {
            all,
            ranks,
            mode,
            case: &case,
        };
        let _ = write!(text, "| {case} |");
        for column in &columns {
            let shown = row.cell(&column.name).map_or("—".to_owned(), |cell| {
                let [median, min, p99] = [cell.median, cell.min, cell.p99].map(short);
                let cpu = match case.starts_with("sddp-work") {
                    true => format!(", cpu {}", short(cell.cpu)),
                    false => String::new(),
                };
                format!("{median} ({min}–{p99}{cpu})")
            });
            let _ = write!(text, " {shown} |");
        }
        let _ = write!(text, " {} |", row.bound().map_or("—".to_owned(), short));
        let ours = row.ours();
        let Some((mut name, best)) = row.best().map(|(name, best)| (name.to_owned(), best)) else {
            let _ = writeln!(text, " — | — | — |");
            continue;
        };
        let mut ratio = ratios(&ours, &best);
        if let Some((private, cell)) = row.private().as_ref().and_then(Row::best) {
            name = format!("{name} by hand, {private} private");
            ratio = format!("{ratio} by hand, {} private", ratios(&ours, &cell));
        }
        let range = |cell: &Cell| format!("{}–{}", short(cell.spread.0), short(cell.spread.1));
        let spreads: Vec<String> = ours.iter().chain([&best]).map(range).collect();
        let _ = writeln!(text, " {name} | {ratio} | {} |", spreads.join(", "));
    }
}

/// The rows in which we are not as far ahead as we want to be, worst first: ours (bound where peers
/// are) and the best peer. A row about windows is compared with both ways to do the same.
#[must_use]
pub fn below_target(all: &Comparison) -> String {
    let places = distinct(all.entries.iter().map(|entry| {
        let record = &entry.record;
        (record.ranks, record.mode, record.case())
    }));
    let mut short_of: Vec<(f64, String)> = Vec::new();
    for (ranks, mode, case) in &places {
        let (&ranks, &mode) = (ranks, mode);
        let row = Row {
            all,
            ranks,
            mode,
            case,
        };
        let (Some(ours), Ok(parsed)) = (row.ours().last().copied(), case.parse()) else {
            continue;
        };
        let target = bounds::target(parsed, ranks);
        let private = row.private();
        for (peers, how) in [(Some(&row), ""), (private.as_ref(), " on private buffers")] {
            let Some((name, best)) = peers.and_then(Row::best) else {
                continue;
            };
            let ratio = best.median / ours.median;
            if ratio < target {
                let line = format!(
                    "| {ranks} | {} | {case} | {} | {} ({name}{how}) | **{ratio:.2}** | {target} |\n",
                    mode.name(),
                    short(ours.median),
                    short(best.median),
                );
                short_of.push((ratio / target, line));
            }
        }
    }
    short_of.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let rows: String = short_of.iter().map(|(_, line)| line.as_str()).collect();
    format!(
        "\n#### {} of {} rows below their target\n\n\
         | ranks | buffers | case | ours, µs | best peer, µs | ratio | target |\n\
         |---|---|---|---|---|---|---|\n{rows}",
        short_of.len(),
        places.len()
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::json::{Column, Entry, Record};

    fn entry(column: &str, round: usize, median_us: f64) -> Entry {
        let record = Record {
            op: "allreduce".to_owned(),
            ranks: 4,
            bytes: 8,
            mode: Mode::Reused,
            iters: 10,
            samples: 25,
            min_us: median_us / 2.0,
            median_us,
            p99_us: median_us * 2.0,
            rewrite_us: 0.0,
            cpu_us: 1.0,
            verified: true,
        };
        let column = column.to_owned();
        Entry {
            column,
            round,
            record,
        }
    }

    fn comparison() -> Comparison {
        let column = |name: &str, ours| Column {
            name: name.to_owned(),
            about: String::new(),
            flags: BTreeMap::new(),
            ours,
        };
        Comparison {
            columns: vec![
                column("cobre", true),
                column("A def", false),
                column("B def", false),
            ],
            entries: vec![
                entry("cobre", 0, 1.0),
                entry("A def", 0, 3.0),
                entry("B def", 0, 9.0),
                entry("cobre", 1, 3.0),
                entry("A def", 1, 5.0),
                entry("B def", 1, 9.0),
            ],
            ..Comparison::default()
        }
    }

    #[test]
    fn the_best_peer_is_compared() {
        let table = markdown(&comparison());
        assert!(table.contains("4 ranks, reused"), "{table}");
        let row = "| allreduce:8 | 2.00 (0.50–4.00) | 4.00 (1.50–8.00) | 9.00 (4.50–18.0) | — | A def | \
                   **2.00** | 1.00–3.00, 3.00–5.00 |";
        assert!(table.contains(row), "{table}");
    }

    #[test]
    fn wrong_results_count_for_nothing() {
        let mut wrong = comparison();
        wrong.entries[1].record.verified = false;
        assert_eq!(cell(&wrong, "A def", 4, Mode::Reused, "allreduce:8"), None);
        assert!(markdown(&wrong).contains("B def | **4.50**"));
    }

    #[test]
    fn a_row_below_its_target_is_listed_with_its_figures() {
        let listed = below_target(&comparison());
        assert!(listed.contains("0 of 1 rows"), "{listed}");
        let mut slow = comparison();
        slow.entries[0].record.median_us = 4.0;
        let listed = below_target(&slow);
        let row = "| 4 | reused | allreduce:8 | 3.50 | 4.00 (A def) | **1.14** | 2 |";
        assert!(
            listed.contains("1 of 1 rows") && listed.contains(row),
            "{listed}"
        );
    }

    #[test]
    fn a_window_is_compared_with_private_buffers_too() {
        let mut all = comparison();
        for entry in all.entries.clone() {
            let mut record = entry.record.clone();
            record.op = "win-allreduce".to_owned();
            record.median_us /= 2.0;
            all.entries.push(Entry { record, ..entry });
        }
        let table = markdown(&all);
        let row = "| A def by hand, A def private | **2.00** by hand, **4.00** private |";
        assert!(table.contains(row), "{table}");
    }
}
