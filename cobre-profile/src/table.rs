//! A profile as a table.

use std::fmt::Write as _;

use cobre_comm_trait::text::{bytes, count, tail};

use crate::profile::{Profile, Rank, Site};
use crate::units::{percent, share, time};

/// Call sites shown; the others are in the data.
const SITES: usize = 20;
/// The longest place shown: the end of it.
const PLACE: usize = 36;

/// The profile as text: call sites, ranks, verdict.
#[must_use]
pub fn table(profile: &Profile) -> String {
    if !profile.ranks.iter().any(Rank::has_joined) {
        return profile.verdict.join("\n") + "\n";
    }
    let mut text = format!(
        "profile of {} on {} for {}\n",
        count(profile.ranks.len(), "rank"),
        count(profile.run.cores, "core"),
        time(profile.elapsed_ns)
    );
    let shown = &profile.sites[..profile.sites.len().min(SITES)];
    let header = [
        "operation",
        "call site",
        "calls",
        "bytes",
        "mean",
        "p99",
        "total",
        "wait",
        "copy",
        "last",
    ];
    let sites = shown.iter().map(site_row);
    columns(&mut text, 2, header, sites);
    let hidden = profile.sites.len() - shown.len();
    if hidden > 0 {
        let _ = writeln!(text, "  and {}", count(hidden, "more call site"));
    }
    let header = [
        "rank", "time", "compute", "wait", "copy", "calls", "bytes", "",
    ];
    columns(&mut text, 0, header, profile.ranks.iter().map(rank_row));
    for line in &profile.verdict {
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn site_row(site: &Site) -> [String; 10] {
    [
        site.operation.clone(),
        tail(site.place(), PLACE),
        site.calls.to_string(),
        bytes(site.bytes),
        time(site.mean_ns),
        time(site.p99_ns),
        time(site.time_ns),
        share(site.waiting_ns, site.time_ns),
        share(site.copying_ns(), site.time_ns),
        site.latest().map_or_else(String::new, |rank| {
            let times = site.came_last_share(rank).unwrap_or_default();
            format!("rank {rank} {times}")
        }),
    ]
}

fn rank_row(rank: &Rank) -> [String; 8] {
    let of_time = |part| share(part, rank.elapsed_ns);
    [
        rank.rank.to_string(),
        time(rank.elapsed_ns),
        of_time(rank.computing_ns),
        of_time(rank.waiting_ns),
        of_time(rank.copying_ns),
        rank.calls.to_string(),
        bytes(rank.bytes),
        match (rank.left, rank.has_joined()) {
            (true, _) => bar(rank),
            (false, false) => "never joined".to_owned(),
            (false, true) => "did not leave".to_owned(),
        },
    ]
}

/// Twenty characters: computing, waiting, copying.
fn bar(rank: &Rank) -> String {
    let upto = |part| (percent(part, rank.elapsed_ns) / 5.0).round() as usize;
    let compute = upto(rank.computing_ns);
    let wait = upto(rank.computing_ns.saturating_add(rank.waiting_ns));
    (0..20)
        .map(|at| match at {
            _ if at < compute => '#',
            _ if at < wait => '.',
            _ => '=',
        })
        .collect()
}

/// Lines of cells, the first `left` columns and the last to the left.
fn columns<const N: usize>(
    text: &mut String,
    left: usize,
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(rows);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: [usize; N] = core::array::from_fn(|column| width(column).unwrap_or(0));
    for line in &lines {
        let mut shown = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let _ = if column < left || column + 1 == N {
                write!(shown, "  {cell:<width$}")
            } else {
                write!(shown, "  {cell:>width$}")
            };
        }
        let _ = writeln!(text, "{}", shown.trim_end());
    }
}
