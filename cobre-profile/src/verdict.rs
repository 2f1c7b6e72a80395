//! What stands out in a profile, in sentences.

use cobre_comm_trait::text::{count, ranks};

use crate::profile::{Profile, Site, sum};
use crate::units::{percent, share, time};

/// Below this share of the ranks' time, waiting is not worth a sentence about anything.
const WORTH_TELLING: f64 = 5.0;
/// Below this share of the run, what a rank's lateness costs is not worth its name.
const WORTH_NAMING: f64 = 2.0;
/// A rank is to blame if it is so much later than it would be if lateness was spread evenly.
const UNEVEN: f64 = 1.5;

/// Who is waited for, where, and what that costs.
#[must_use]
pub fn verdict(profile: &Profile) -> Vec<String> {
    let absent = profile.ranks.iter().filter(|rank| !rank.has_joined());
    let absent: Vec<usize> = absent.map(|rank| rank.rank).collect();
    if absent.len() == profile.ranks.len() {
        return vec![
            "no rank joined the job, so nothing was recorded (a program joins with cobre_shm::init)"
                .to_owned(),
        ];
    }
    let mut lines = Vec::new();
    if !absent.is_empty() {
        lines.push(format!("{} never joined the job", ranks(&absent)));
    }
    lines.extend(of_waiting(profile));
    lines
}

fn of_waiting(profile: &Profile) -> Vec<String> {
    let waiting = sum(profile.ranks.iter().map(|rank| rank.waiting_ns));
    let size = profile.ranks.len();
    if size == 1 {
        return vec!["there is one rank: nobody to wait for".to_owned()];
    }
    let all = profile.total_ns();
    let spent = format!(
        "{} of the ranks' time is spent waiting",
        share(waiting, all)
    );
    if percent(waiting, all) < WORTH_TELLING {
        return vec![format!("no rank holds the others up: {spent}")];
    }
    let mut lines = match blame(profile) {
        Some((rank, site)) => of_rank(profile, rank, site),
        None => {
            let site = profile.sites.iter().max_by_key(|site| site.waiting_ns);
            let place = site.map_or(String::new(), |site| {
                let part = share(site.waiting_ns, waiting);
                format!(", {part} of it in the {} at {}", plural(site), site.place())
            });
            vec![format!("{spent}, for no rank in particular{place}")]
        }
    };
    let cores = profile.run.cores;
    if size > cores && cores > 0 {
        lines.push(format!(
            "{size} ranks shared {}: who is waited for may have waited for a core",
            count(cores, "core")
        ));
    }
    lines
}

/// The rank that costs most by being the last, and where; `None` if no rank stands out.
fn blame(profile: &Profile) -> Option<(usize, &Site)> {
    let known = profile.sites.iter();
    let known = known.filter_map(|site| Some((site.latest()?, site)));
    let (rank, site) = known.max_by_key(|&(rank, site)| site.late_ns[rank])?;
    let late = site.late_ns[rank];
    let even = sum(site.late_ns.iter().copied()) as f64 / profile.ranks.len() as f64;
    let stands_out = late as f64 >= UNEVEN * even;
    let is_worth_it = percent(late, profile.elapsed_ns) >= WORTH_NAMING;
    (stands_out && is_worth_it).then_some((rank, site))
}

fn of_rank(profile: &Profile, rank: usize, site: &Site) -> Vec<String> {
    let (what, place) = (plural(site), site.place());
    let how = match site.came_last_share(rank) {
        Some(last) => format!("rank {rank} is last in {last} of the {what} at {place}"),
        None => format!("rank {rank} keeps the others waiting in the {what} at {place}"),
    };
    let late = site.late_ns[rank];
    // It is late in the calls in which it was the last, which nobody counts in broadcasts.
    let calls = match site.came_last[rank] {
        0 => site.calls,
        last => last,
    };
    let saved = |late| share(late, profile.elapsed_ns);
    let mut lines = vec![format!(
        "{how}, on average {} after the one before it: {} of the run could be saved",
        time(late / calls.max(1)),
        saved(late)
    )];
    let everywhere = sum(profile.sites.iter().map(|site| site.late_ns[rank]));
    let elsewhere = everywhere.saturating_sub(late);
    if percent(elsewhere, profile.elapsed_ns) >= WORTH_NAMING {
        lines.push(format!(
            "and another {} where it is last elsewhere",
            saved(elsewhere)
        ));
    }
    lines
}

fn plural(site: &Site) -> String {
    format!("{}s", site.operation)
}

#[cfg(test)]
mod tests {
    use super::verdict;
    use crate::profile::{Profile, Rank, Run, Site, Timeline};
    use crate::table;

    const MS: u64 = 1_000_000;

    /// A run of one second with 100 allreduces; what each rank waited in them, by how much it was
    /// later than the one before it in all of them, and in how many it was the last.
    fn run<const N: usize>(waited: [u64; N], late: [u64; N], came_last: [u64; N]) -> Profile {
        let rank = |(rank, waiting_ns)| Rank {
            rank,
            left: true,
            joined_ns: 0,
            elapsed_ns: 1000 * MS,
            computing_ns: 1000 * MS - waiting_ns,
            waiting_ns,
            copying_ns: 0,
            calls: 100,
            bytes: 0,
            waits_ns: vec![0; N],
            timeline: Timeline::default(),
        };
        let waiting = waited.iter().sum();
        let mut profile = Profile {
            format: String::new(),
            version: 0,
            run: Run {
                program: "late".to_owned(),
                cores: N,
                exit_code: 0,
            },
            elapsed_ns: 1000 * MS,
            sites: vec![Site {
                operation: "allreduce".to_owned(),
                site: Some("late.rs:16".to_owned()),
                calls: 100,
                bytes: 0,
                mean_ns: 0,
                p99_ns: 0,
                longest_ns: 0,
                time_ns: waiting,
                waiting_ns: waiting,
                came_last: came_last.to_vec(),
                waited_for_ns: vec![0; N],
                late_ns: late.to_vec(),
            }],
            ranks: waited.into_iter().enumerate().map(rank).collect(),
            verdict: Vec::new(),
        };
        profile.verdict = verdict(&profile);
        profile
    }

    fn last_column(profile: &Profile) -> String {
        let table = table(profile);
        let line = table.lines().find(|line| line.contains("late.rs:16"));
        line.unwrap_or_default().to_owned()
    }

    /// 0, 8, 9 and 10 ms before each call: rank 3 alone can save anything, and 1 ms.
    #[test]
    fn on_a_staircase_the_last_step_is_to_blame_and_for_its_own_height() {
        let profile = run(
            [950 * MS, 180 * MS, 90 * MS, 0],
            [0, MS, 2 * MS, 88 * MS],
            [0, 3, 9, 88],
        );
        assert_eq!(
            profile.verdict,
            [
                "rank 3 is last in 88 % of the allreduces at late.rs:16, on average 1 ms after the \
                 one before it: 8.8 % of the run could be saved"
            ]
        );
        let line = last_column(&profile);
        assert!(line.ends_with("  rank 3 88 %"), "{line}");
    }

    /// 0, 10, 10 and 10 ms: three are late alike, so that none of them could save anything alone.
    #[test]
    fn ranks_that_are_late_together_are_not_blamed_alone() {
        let profile = run(
            [970 * MS, 9 * MS, 8 * MS, 9 * MS],
            [0, 2 * MS, 3 * MS, 2 * MS],
            [0, 30, 40, 30],
        );
        assert_eq!(
            profile.verdict,
            [
                "25 % of the ranks' time is spent waiting, for no rank in particular, 100 % of it in the \
              allreduces at late.rs:16"
            ]
        );
        // Also if what each costs is worth telling: they take turns.
        let turns = run([500 * MS; 3], [90 * MS, 100 * MS, 95 * MS], [33, 34, 33]);
        assert!(
            turns.verdict[0].contains("no rank in particular"),
            "{:?}",
            turns.verdict
        );
    }

    #[test]
    fn little_waiting_blames_nobody() {
        let profile = run([20 * MS, 0], [0, 20 * MS], [0, 100]);
        let expected = "no rank holds the others up: 1.0 % of the ranks' time is spent waiting";
        assert_eq!(profile.verdict, [expected]);
    }

    #[test]
    fn a_root_that_is_late_is_named_although_nobody_counts_who_is_last() {
        let profile = run([500 * MS, 0], [0, 500 * MS], [0, 0]);
        assert_eq!(
            profile.verdict,
            [
                "rank 1 keeps the others waiting in the allreduces at late.rs:16, on average 5 ms after the one \
              before it: 50 % of the run could be saved"
            ]
        );
        assert!(last_column(&profile).ends_with("  rank 1"));
    }

    #[test]
    fn who_never_joined_is_told() {
        let mut profile = run([500 * MS, 0, 0], [0, 500 * MS, 0], [0, 100, 0]);
        let absent = |rank: &mut Rank| {
            rank.left = false;
            rank.elapsed_ns = 0;
        };
        absent(&mut profile.ranks[2]);
        assert_eq!(verdict(&profile)[0], "rank 2 never joined the job");
        profile.ranks.iter_mut().for_each(absent);
        profile.verdict = verdict(&profile);
        let expected = "no rank joined the job, so nothing was recorded (a program joins with cobre_shm::init)";
        assert_eq!(profile.verdict, [expected]);
        assert_eq!(table(&profile), format!("{expected}\n"));
    }
}
