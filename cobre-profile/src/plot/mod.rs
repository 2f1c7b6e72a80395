//! A picture of a profile: what each rank did when, who waited for whom, and where.

mod axis;
mod matrix;
mod timeline;

use cobre_comm_trait::text::count;

use crate::profile::{Profile, Site};
use crate::svg::{Anchor, Svg};
use crate::units::{percent, share, time};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 24.0;
/// Colours that people with any colour vision tell apart (after Okabe and Ito 2008, and Tol's
/// high-contrast scheme), and so far apart in lightness that a grey printer does too.
const COMPUTE: &str = "#009E73";
const WAIT: &str = "#EECC66";
const COPY: &str = "#004488";
/// Call sites shown.
const SITES: usize = 12;
/// The profile as an SVG document.
#[must_use]
pub fn plot(profile: &Profile) -> String {
    let mut svg = Svg::new(WIDTH);
    let mut y = heading(&mut svg, profile);
    y = timeline::draw(&mut svg, profile, y + 18.0);
    y = matrix::draw(&mut svg, profile, y + 34.0);
    y = sites(&mut svg, profile, y + 34.0);
    svg.finish(y + 16.0)
}

fn heading(svg: &mut Svg, profile: &Profile) -> f64 {
    let run = &profile.run;
    let (ranks, elapsed) = (profile.ranks.len(), time(profile.elapsed_ns));
    let title = format!(
        "{}: {} on {}, {elapsed}",
        run.program,
        count(ranks, "rank"),
        count(run.cores, "core")
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
            &format!("and {}", count(hidden, "more call site")),
        );
        y += 14.0;
    }
    y
}

fn site_bar(svg: &mut Svg, profile: &Profile, site: &Site, longest: u64, y: f64) {
    let width = WIDTH - LEFT - RIGHT;
    let length = |time: u64| width * percent(time, longest) / 100.0;
    let label = format!(
        "{} at {}: {}, {} ({} of the run), {} of it waiting",
        site.operation,
        site.place(),
        count(site.calls as usize, "call"),
        time(site.time_ns),
        share(site.time_ns, profile.total_ns()),
        share(site.waiting_ns, site.time_ns)
    );
    svg.text([LEFT, y + 10.0], Anchor::Start, "small", &label);
    svg.rect([LEFT, y + 14.0, length(site.time_ns), 12.0], COPY, &label);
    svg.rect(
        [LEFT, y + 14.0, length(site.waiting_ns), 12.0],
        WAIT,
        &label,
    );
}

#[cfg(test)]
mod tests {
    use super::{COMPUTE, COPY, WAIT};

    /// Lightness from 0 to 100 (CIE L*).
    fn lightness(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
            (f64::from(value) / 255.0).powf(2.2)
        };
        let luminance = 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5);
        116.0 * luminance.cbrt() - 16.0
    }

    #[test]
    fn colours_differ_in_grey() {
        let colours = [COMPUTE, WAIT, COPY];
        for (at, one) in colours.iter().enumerate() {
            for other in &colours[..at] {
                let apart = (lightness(one) - lightness(other)).abs();
                assert!(apart >= 20.0, "{one} {other}: {apart}");
            }
        }
    }
}
