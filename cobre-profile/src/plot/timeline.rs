//! What each rank did when: a strip per rank over the run's time.

use super::{COMPUTE, COPY, LEFT, RIGHT, WAIT, WIDTH, axis};
use crate::profile::{Profile, Rank};
use crate::svg::{Anchor, Svg};
use crate::units::{percent, share};

/// Height of a rank's strip when there are few.
const STRIP: f64 = 26.0;

/// Draws it below `top`; returns where it ends.
pub(super) fn draw(svg: &mut Svg, profile: &Profile, top: f64) -> f64 {
    svg.text([LEFT, top], Anchor::Start, "head", "What each rank did");
    let width = WIDTH - LEFT - RIGHT;
    let height = (600.0 / profile.ranks.len().max(1) as f64).clamp(4.0, STRIP);
    let scale = width / profile.elapsed_ns.max(1) as f64;
    let mut y = top + 10.0;
    for rank in &profile.ranks {
        if height >= 10.0 || rank.rank.is_multiple_of(10) {
            let name = format!("rank {}", rank.rank);
            svg.text([LEFT - 8.0, y + height / 2.0 + 4.0], Anchor::End, "", &name);
        }
        let start = LEFT + rank.joined_ns as f64 * scale;
        strip(svg, rank, [start, y], height - 3.0, scale);
        y += height;
    }
    for (at, label) in axis::ticks(profile.elapsed_ns) {
        let x = LEFT + at as f64 * scale;
        svg.rect([x - 0.5, y, 1.0, 4.0], "#555", "");
        svg.text([x, y + 14.0], Anchor::Middle, "small", &label);
    }
    y + 16.0
}

fn strip(svg: &mut Svg, rank: &Rank, [left, y]: [f64; 2], height: f64, scale: f64) {
    let tip = format!(
        "rank {}: computes {}, waits {}, copies {}",
        rank.rank,
        share(rank.computing_ns, rank.elapsed_ns),
        share(rank.waiting_ns, rank.elapsed_ns),
        share(rank.copying_ns, rank.elapsed_ns)
    );
    let timeline = &rank.timeline;
    let pieces = timeline.waiting_ns.iter().zip(&timeline.copying_ns);
    let (mut waits, mut calls) = (Vec::new(), Vec::new());
    for (index, (&waiting, &copying)) in pieces.enumerate() {
        let from = (index as u64).saturating_mul(timeline.bucket_ns);
        let length = timeline.bucket_ns.min(rank.elapsed_ns.saturating_sub(from));
        let end = left + from.saturating_add(length) as f64 * scale;
        let part = |time: u64| height * percent(time, length).min(100.0) / 100.0;
        let wait = part(waiting);
        waits.push([end, wait]);
        calls.push([end, (wait + part(copying)).min(height)]);
    }
    // One over the other: shapes side by side would show the background between them.
    let whole = [left, y, rank.elapsed_ns as f64 * scale, height];
    svg.rect(whole, COMPUTE, &tip);
    svg.steps([left, y], &calls, COPY, &tip);
    svg.steps([left, y], &waits, WAIT, &tip);
}
