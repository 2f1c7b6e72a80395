//! A picture of a profile: what each rank did when, who waited for whom, and where.

use crate::profile::{Profile, Rank, Site};
use crate::svg::{Anchor, Svg};
use crate::units::{bytes, percent, share, time};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 24.0;
/// Colours that people with any colour vision tell apart (Okabe and Ito 2008).
const COMPUTE: &str = "#009E73";
const WAIT: &str = "#E69F00";
const COPY: &str = "#0072B2";
/// Call sites shown.
const SITES: usize = 12;
/// The largest matrix whose cells have numbers.
const NUMBERED: usize = 16;
/// Height of a rank's strip when there are few.
const STRIP: f64 = 26.0;

/// The profile as an SVG document.
#[must_use]
pub fn plot(profile: &Profile) -> String {
    let mut svg = Svg::new(WIDTH);
    let mut y = heading(&mut svg, profile);
    y = timelines(&mut svg, profile, y + 18.0);
    y = matrix(&mut svg, profile, y + 34.0);
    y = sites(&mut svg, profile, y + 34.0);
    svg.finish(y + 16.0)
}

fn heading(svg: &mut Svg, profile: &Profile) -> f64 {
    let run = &profile.run;
    let (ranks, elapsed) = (profile.ranks.len(), time(profile.elapsed_ns));
    let title = format!(
        "{}: {ranks} ranks on {} cores, {elapsed}",
        run.program, run.cores
    );
    svg.text([LEFT, 30.0], Anchor::Start, "title", &title);
    let mut y = 50.0;
    for line in &profile.verdict {
        svg.text([LEFT, y], Anchor::Start, "", line);
        y += 17.0;
    }
    let legend = [
        (COMPUTE, "compute"),
        (WAIT, "wait"),
        (COPY, "copy and protocol"),
    ];
    let mut x = LEFT;
    for (colour, name) in legend {
        svg.rect([x, y - 6.0, 12.0, 12.0], colour, "");
        svg.text([x + 17.0, y + 4.0], Anchor::Start, "", name);
        x += 34.0 + 7.0 * name.len() as f64;
    }
    y + 14.0
}

/// One strip per rank over the run's time.
fn timelines(svg: &mut Svg, profile: &Profile, top: f64) -> f64 {
    svg.text([LEFT, top], Anchor::Start, "head", "What each rank did");
    let width = WIDTH - LEFT - RIGHT;
    let strip = strip_height(profile.ranks.len());
    let scale = width / profile.elapsed_ns.max(1) as f64;
    let mut y = top + 10.0;
    for rank in &profile.ranks {
        if strip >= 10.0 || rank.rank.is_multiple_of(10) {
            let name = format!("rank {}", rank.rank);
            svg.text([LEFT - 8.0, y + strip / 2.0 + 4.0], Anchor::End, "", &name);
        }
        let start = LEFT + rank.joined_ns as f64 * scale;
        timeline(svg, rank, [start, y], strip - 3.0, scale);
        y += strip;
    }
    for tick in 0..=4 {
        let at = profile.elapsed_ns * tick / 4;
        let anchor = if tick == 4 {
            Anchor::End
        } else {
            Anchor::Middle
        };
        svg.text(
            [LEFT + at as f64 * scale, y + 12.0],
            anchor,
            "small",
            &time(at),
        );
    }
    y + 14.0
}

fn strip_height(ranks: usize) -> f64 {
    (600.0 / ranks.max(1) as f64).clamp(4.0, STRIP)
}

fn timeline(svg: &mut Svg, rank: &Rank, [left, y]: [f64; 2], height: f64, scale: f64) {
    let tip = format!(
        "rank {}: computes {}, waits {}, copies {}",
        rank.rank,
        share(rank.computing_ns, rank.elapsed_ns),
        share(rank.waiting_ns, rank.elapsed_ns),
        share(rank.copying_ns, rank.elapsed_ns)
    );
    svg.rect(
        [left, y, rank.elapsed_ns as f64 * scale, height],
        COMPUTE,
        &tip,
    );
    let timeline = &rank.timeline;
    let pieces = timeline.waiting_ns.iter().zip(&timeline.copying_ns);
    for (index, (&waiting, &copying)) in pieces.enumerate() {
        let from = index as u64 * timeline.bucket_ns;
        let length = timeline.bucket_ns.min(rank.elapsed_ns.saturating_sub(from));
        let (x, width) = (left + from as f64 * scale, length as f64 * scale);
        let part = |time: u64| height * percent(time, length).min(100.0) / 100.0;
        let (wait, copy) = (part(waiting), part(copying).min(height - part(waiting)));
        svg.rect([x, y, width, wait], WAIT, "");
        svg.rect([x, y + wait, width, copy], COPY, "");
    }
}

/// Who waited for whom, and beside it what each rank contributed.
fn matrix(svg: &mut Svg, profile: &Profile, top: f64) -> f64 {
    let size = profile.ranks.len();
    svg.text(
        [LEFT, top],
        Anchor::Start,
        "head",
        "Who waits for whom (share of the waiting rank's time)",
    );
    let cell = (320.0 / size.max(1) as f64).clamp(3.0, 46.0);
    let labelled = cell >= 12.0;
    let most = profile.ranks.iter().flat_map(|rank| {
        let of_time = |&wait: &u64| percent(wait, rank.elapsed_ns);
        rank.waits_ns.iter().map(of_time)
    });
    let most = most.fold(1.0, f64::max);
    let (left, mut y) = (LEFT + 30.0, top + 40.0);
    svg.text(
        [left, top + 18.0],
        Anchor::Start,
        "small",
        "waited for: rank",
    );
    for peer in (0..size).filter(|_| labelled) {
        let x = left + (peer as f64 + 0.5) * cell;
        svg.text([x, y - 6.0], Anchor::Middle, "small", &peer.to_string());
    }
    let most_bytes = profile
        .ranks
        .iter()
        .map(|rank| rank.bytes)
        .max()
        .unwrap_or(0);
    let bars = left + size as f64 * cell + 60.0;
    svg.text(
        [bars, top + 34.0],
        Anchor::Start,
        "small",
        "contributed to collectives",
    );
    for rank in &profile.ranks {
        let middle = y + cell / 2.0 + 4.0;
        if labelled {
            let name = format!("rank {}", rank.rank);
            svg.text([left - 8.0, middle], Anchor::End, "small", &name);
        }
        for (peer, &wait) in rank.waits_ns.iter().enumerate() {
            let x = left + peer as f64 * cell;
            let part = percent(wait, rank.elapsed_ns);
            let tip = format!("rank {} waits {} for rank {peer}", rank.rank, time(wait));
            let colour = if peer == rank.rank {
                "#ddd".to_owned()
            } else {
                shade(part / most)
            };
            svg.rect([x, y, cell - 1.0, cell - 1.0], &colour, &tip);
            if size <= NUMBERED && labelled && part >= 0.5 {
                let class = if part > 0.6 * most {
                    "small light"
                } else {
                    "small"
                };
                svg.text(
                    [x + cell / 2.0, middle],
                    Anchor::Middle,
                    class,
                    &format!("{part:.0} %"),
                );
            }
        }
        let length = 300.0 * percent(rank.bytes, most_bytes) / 100.0;
        svg.rect([bars, y, length, (cell - 1.0).min(18.0)], COPY, "");
        if labelled {
            let end = bars + length + 6.0;
            svg.text(
                [end, y + (cell - 1.0).min(18.0) / 2.0 + 4.0],
                Anchor::Start,
                "small",
                &bytes(rank.bytes),
            );
        }
        y += cell;
    }
    y
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

/// Waiting and copying per call site.
fn sites(svg: &mut Svg, profile: &Profile, top: f64) -> f64 {
    svg.text(
        [LEFT, top],
        Anchor::Start,
        "head",
        "Where the time in collectives goes (all ranks)",
    );
    let longest = profile
        .sites
        .iter()
        .map(|site| site.time_ns)
        .max()
        .unwrap_or(0);
    let mut y = top + 12.0;
    for site in profile.sites.iter().take(SITES) {
        site_bar(svg, profile, site, longest, y);
        y += 34.0;
    }
    let hidden = profile.sites.len().saturating_sub(SITES);
    if hidden > 0 {
        svg.text(
            [LEFT, y + 8.0],
            Anchor::Start,
            "small",
            &format!("and {hidden} more call sites"),
        );
        y += 14.0;
    }
    y
}

fn site_bar(svg: &mut Svg, profile: &Profile, site: &Site, longest: u64, y: f64) {
    let width = WIDTH - LEFT - RIGHT;
    let length = |time: u64| width * percent(time, longest) / 100.0;
    let label = format!(
        "{} at {}: {} calls, {} ({} of the run), {} of it waiting",
        site.operation,
        site.place(),
        site.calls,
        time(site.time_ns),
        share(site.time_ns, profile.total_ns()),
        share(site.waiting_ns, site.time_ns)
    );
    svg.text([LEFT, y + 10.0], Anchor::Start, "small", &label);
    let wait = length(site.waiting_ns);
    svg.rect([LEFT, y + 14.0, wait, 12.0], WAIT, &label);
    svg.rect(
        [LEFT + wait, y + 14.0, length(site.copying_ns()), 12.0],
        COPY,
        &label,
    );
}
