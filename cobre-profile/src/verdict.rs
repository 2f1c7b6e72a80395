//! What stands out in a profile, in sentences.

use crate::profile::{Profile, Site};
use crate::units::{percent, share};

/// Below this share of the run, waiting is not worth a sentence about somebody.
const WORTH_NAMING: f64 = 5.0;
/// A rank is to blame if the others wait for it so much more than they would if the waiting was
/// spread evenly.
const UNEVEN: f64 = 1.5;

/// Who is waited for, where, and what it costs.
#[must_use]
pub fn verdict(profile: &Profile) -> Vec<String> {
    let run = profile.total_ns();
    let waiting: u64 = profile.ranks.iter().map(|rank| rank.waiting_ns).sum();
    let size = profile.ranks.len();
    if size == 1 {
        return vec!["there is one rank: nobody to wait for".to_owned()];
    }
    let spent = |time| format!("{} of the run is spent waiting", share(time, run));
    if percent(waiting, run) < WORTH_NAMING {
        return vec![format!("no rank holds the others up: {}", spent(waiting))];
    }
    let mut lines = Vec::new();
    let waited_for: Vec<u64> = (0..size)
        .map(|peer| profile.ranks.iter().map(|rank| rank.waits_ns[peer]).sum())
        .collect();
    let most = (0..size).max_by_key(|&rank| waited_for[rank]).unwrap_or(0);
    let even = waiting as f64 / size as f64;
    if waited_for[most] as f64 >= UNEVEN * even {
        let site = profile
            .sites
            .iter()
            .max_by_key(|site| site.waited_for_ns[most]);
        lines.extend(site.map(|site| at_site(most, site, &spent(site.waited_for_ns[most]))));
        let elsewhere = site.map_or(0, |site| {
            waited_for[most].saturating_sub(site.waited_for_ns[most])
        });
        if percent(elsewhere, run) >= 1.0 {
            lines.push(format!("{} for it elsewhere", spent(elsewhere)));
        }
    } else {
        let site = profile.sites.iter().max_by_key(|site| site.waiting_ns);
        let place = site.map_or(String::new(), |site| {
            let part = share(site.waiting_ns, waiting);
            format!(", {part} of it in the {} at {}", plural(site), site.place())
        });
        lines.push(format!(
            "{}, for no rank in particular{place}",
            spent(waiting)
        ));
    }
    if size > profile.run.cores && profile.run.cores > 0 {
        lines.push(format!(
            "{size} ranks shared {} cores: who is waited for may have waited for a core",
            profile.run.cores
        ));
    }
    lines
}

fn at_site(rank: usize, site: &Site, spent: &str) -> String {
    let (what, place) = (plural(site), site.place());
    if site.came_last.iter().all(|&times| times == 0) {
        return format!(
            "rank {rank} keeps the others waiting in the {what} at {place}; {spent} for it there"
        );
    }
    let last = share(site.came_last[rank], site.calls);
    format!("rank {rank} is last in {last} of the {what} at {place}; {spent} for it there")
}

fn plural(site: &Site) -> String {
    format!("{}s", site.operation)
}
