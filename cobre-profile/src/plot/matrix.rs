//! Who waits for whom, and beside it what each rank contributed.

use cobre_comm_trait::text::bytes;

use super::{COPY, LEFT};
use crate::profile::{Profile, Rank};
use crate::svg::{Anchor, Svg};
use crate::units::{percent, time};

/// The most cells beside each other that have numbers in them.
const NUMBERED: usize = 16;
/// Room that the number of a row or column needs.
const LABEL: f64 = 14.0;
/// Steps of the colour scale.
const SHADES: usize = 20;

/// Draws it below `top`; returns where it ends.
pub(super) fn draw(svg: &mut Svg, profile: &Profile, top: f64) -> f64 {
    let size = profile.ranks.len();
    let title = "Who waits for whom (share of the waiting rank's time, by the rank that came last)";
    svg.text([LEFT, top], Anchor::Start, "head", title);
    let cell = (320.0 / size.max(1) as f64).clamp(3.0, 46.0);
    let of_time = |rank: &Rank, wait: u64| percent(wait, rank.elapsed_ns);
    let shares = profile.ranks.iter();
    let shares = shares.flat_map(|rank| rank.waits_ns.iter().map(|&wait| of_time(rank, wait)));
    let most = shares.fold(1.0, f64::max);
    let (left, first) = (LEFT + 30.0, top + 40.0);
    svg.text(
        [left, top + 18.0],
        Anchor::Start,
        "small",
        "waited for: rank",
    );
    // As many numbers as there is room for.
    for rank in (0..size).step_by(step(cell)) {
        let at = (rank as f64 + 0.5) * cell;
        let number = rank.to_string();
        svg.text([left + at, first - 6.0], Anchor::Middle, "small", &number);
        let name = format!("rank {rank}");
        svg.text([left - 8.0, first + at + 4.0], Anchor::End, "small", &name);
    }
    let mut y = first;
    for rank in &profile.ranks {
        for (peer, &wait) in rank.waits_ns.iter().enumerate() {
            let x = left + peer as f64 * cell;
            let part = of_time(rank, wait);
            let tip = format!("rank {} waits {} for rank {peer}", rank.rank, time(wait));
            let colour = if peer == rank.rank {
                "#ddd".to_owned()
            } else {
                shade(part / most)
            };
            svg.rect([x, y, cell - 1.0, cell - 1.0], &colour, &tip);
            if size <= NUMBERED && part >= 0.5 {
                let class = if part > 0.6 * most {
                    "small light"
                } else {
                    "small"
                };
                let middle = [x + cell / 2.0, y + cell / 2.0 + 4.0];
                svg.text(middle, Anchor::Middle, class, &format!("{part:.0} %"));
            }
        }
        y += cell;
    }
    scale(svg, most, [left, y + 10.0], size as f64 * cell);
    let bars = left + (size as f64 * cell).max(120.0) + 60.0;
    contributions(svg, profile, [bars, first], cell);
    y + 40.0
}

/// The distance of rows and columns that get their number.
fn step(cell: f64) -> usize {
    let steps = [1, 2, 5, 10, 20, 50, 100, 200];
    let fits = |&step: &usize| step as f64 * cell >= LABEL;
    steps.into_iter().find(fits).unwrap_or(500)
}

/// Which colour is how much.
fn scale(svg: &mut Svg, most: f64, [left, y]: [f64; 2], width: f64) {
    let width = width.max(120.0);
    let piece = width / SHADES as f64;
    for shade_of in 0..SHADES {
        // Overlapping, so that nothing shows between them.
        let rest = width - shade_of as f64 * piece;
        let colour = shade((shade_of as f64 + 0.5) / SHADES as f64);
        svg.rect([left + width - rest, y, rest, 8.0], &colour, "");
    }
    for (part, anchor) in [
        (0.0, Anchor::Start),
        (0.5, Anchor::Middle),
        (1.0, Anchor::End),
    ] {
        let label = format!("{:.0} %", part * most);
        svg.text([left + part * width, y + 20.0], anchor, "small", &label);
    }
}

fn contributions(svg: &mut Svg, profile: &Profile, [left, first]: [f64; 2], cell: f64) {
    let most = profile.ranks.iter().map(|rank| rank.bytes).max();
    let most = most.unwrap_or(0);
    let title = format!("contributed to collectives, up to {}", bytes(most));
    svg.text([left, first - 6.0], Anchor::Start, "small", &title);
    let height = (cell - 1.0).min(18.0);
    let mut middle = first + (cell - 1.0) / 2.0;
    for rank in &profile.ranks {
        let length = 300.0 * percent(rank.bytes, most) / 100.0;
        let tip = format!("rank {}: {}", rank.rank, bytes(rank.bytes));
        svg.rect([left, middle - height / 2.0, length, height], COPY, &tip);
        if cell >= LABEL {
            let end = [left + length + 6.0, middle + 4.0];
            svg.text(end, Anchor::Start, "small", &bytes(rank.bytes));
        }
        middle += cell;
    }
}

/// From white to the colour of waiting, darker at the end.
fn shade(part: f64) -> String {
    let mix = |from: f64, to: f64| (from + (to - from) * part.clamp(0.0, 1.0)).round() as u8;
    format!(
        "#{:02x}{:02x}{:02x}",
        mix(255.0, 180.0),
        mix(250.0, 80.0),
        mix(240.0, 0.0)
    )
}
