//! `board` and `route`: a standing board, and who of it would get work.

use std::{collections::BTreeMap, time::Duration};

use cobre_shm::board::{
    Choice, Member, Policy, State,
    standing::{self, Description, Snapshot},
};
use serde::Serialize;

use crate::{error::Error, job::Said, text};

/// A board at a moment.
#[derive(Debug, Serialize)]
pub(crate) struct Board {
    pub(crate) name: String,
    /// Nobody is on it: its members were killed, and nobody has swept yet.
    pub(crate) left_over: bool,
    /// Seconds between two refreshes of memory and CPU time; 0 for none.
    interval: f64,
    /// Seconds after which a member gets no work.
    staleness: f64,
    teams: BTreeMap<String, Vec<String>>,
    pub(crate) members: Vec<Row>,
}

/// One member.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) pid: Option<u32>,
    pub(crate) alive: bool,
    weight: f64,
    class: u32,
    /// Its last update is older than the board allows.
    stale: bool,
    pub(crate) said: Option<Said>,
    pub(crate) resident: Option<u64>,
    peak: Option<u64>,
    /// Seconds.
    pub(crate) cpu: Option<f64>,
}

/// The answer of `route`.
#[derive(Debug, Serialize)]
pub(crate) struct Routed {
    board: String,
    team: Option<String>,
    policy: &'static str,
    pub(crate) chosen: Option<String>,
    considered: Vec<Considered>,
    #[serde(skip)]
    choice: Choice,
}

#[derive(Debug, Serialize)]
struct Considered {
    name: String,
    state: &'static str,
    queue: u64,
    age: Option<f64>,
    cost: Option<[f64; 3]>,
    dropped: Option<String>,
}

/// This user's boards; those that cannot be read, with the reason.
pub(crate) fn find() -> Vec<Result<Board, (String, String)>> {
    let read = |name: String| match Snapshot::read(&name) {
        Ok(snapshot) => Ok(Board::new(&snapshot)),
        Err(why) => Err((name, why.to_string())),
    };
    standing::names().into_iter().map(read).collect()
}

/// The board that `wanted` names, by its name or the front of it; without a wish the only one there is.
pub(crate) fn select(wanted: Option<&str>) -> Result<Snapshot, Error> {
    let mut names = standing::names();
    let Some(wanted) = wanted else {
        return match names.len() {
            0 => Err(Error::NoBoards),
            1 => Ok(Snapshot::read(&names.swap_remove(0))?),
            _ => Err(Error::WhichBoard(names)),
        };
    };
    let wanted = format!("/{}", wanted.trim_start_matches('/'));
    let prefixed: Vec<&String> = names
        .iter()
        .filter(|name| name.starts_with(&wanted))
        .collect();
    match prefixed.as_slice() {
        [one] if !names.contains(&wanted) => Ok(Snapshot::read(one)?),
        // Also of what is no board: the error says what it is.
        _ => Snapshot::read(&wanted).map_err(|why| Error::Board { why, names }),
    }
}

/// Whom `policy` chooses of the members of `team`, or of all.
pub(crate) fn route(
    board: &Snapshot,
    team: Option<&str>,
    policy: &dyn Policy,
) -> Result<Routed, Error> {
    let choice = board.choice(team, policy)?;
    let considered = choice.considered.iter().map(|member| Considered {
        name: member.name.clone(),
        state: member.state.name(),
        queue: member.queue,
        age: member.age.map(|age| age.as_secs_f64()),
        cost: member.verdict.ok(),
        dropped: member.verdict.err().map(|why| why.to_string()),
    });
    Ok(Routed {
        board: board.description.name.clone(),
        team: team.map(str::to_owned),
        policy: choice.policy,
        chosen: choice.name().map(str::to_owned),
        considered: considered.collect(),
        choice,
    })
}

impl Routed {
    pub(crate) fn show(&self) -> String {
        let whom = match &self.team {
            Some(team) => format!("team {team} of board {}", self.board),
            None => format!("board {}", self.board),
        };
        format!("{whom}: {}\n", self.choice)
    }

    /// That nobody takes work is an answer, but not the one that was hoped for.
    pub(crate) fn outcome(&self) -> Result<(), Error> {
        match self.chosen {
            Some(_) => Ok(()),
            None => Err(Error::NobodyTakesWork(self.board.clone())),
        }
    }
}

impl Board {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let Description {
            name,
            interval,
            staleness,
            teams,
            ..
        } = &snapshot.description;
        let limit = snapshot.description.staleness();
        let row = |member| Row::new(member, snapshot.taken_ns, limit);
        Self {
            name: name.clone(),
            left_over: snapshot.left_over,
            interval: *interval,
            staleness: *staleness,
            teams: teams.clone(),
            members: snapshot.members.iter().map(row).collect(),
        }
    }

    /// How many members are there.
    pub(crate) fn here(&self) -> usize {
        self.members.iter().filter(|member| member.alive).count()
    }

    pub(crate) fn show(&self) -> String {
        let refreshed = match self.interval {
            0.0 => "not refreshed".to_owned(),
            interval => format!("refreshed every {}", text::seconds(interval)),
        };
        let mut said = format!(
            "board {}: {}, {} there; {refreshed}, stale after {}\n",
            self.name,
            text::count(self.members.len(), "member"),
            self.here(),
            text::seconds(self.staleness)
        );
        if self.left_over {
            said +=
                "nobody is on it any more: what was said last; `cobre-inspect clean` removes it\n";
        }
        said.push('\n');
        let header = [
            "MEMBER", "PID", "STATE", "QUEUE", "DONE", "MEMORY", "CPU", "UPDATED",
        ];
        said += &text::table(header, self.members.iter().map(Row::show));
        let words = |member: &Row| Some((member.name.clone(), member.said.as_ref()?.show()));
        for (name, words) in self.members.iter().filter_map(words) {
            if !words.is_empty() {
                said += &format!("{name}: {words}\n");
            }
        }
        if !self.teams.is_empty() {
            said.push('\n');
        }
        for (team, members) in &self.teams {
            said += &format!("team {team}: {}\n", members.join(", "));
        }
        said
    }
}

impl Row {
    fn new(member: &Member, now: u64, staleness: Duration) -> Self {
        let record = member.record.as_ref();
        let said = record.and_then(Said::of);
        Self {
            name: member.name.clone(),
            pid: member.pid,
            alive: member.alive,
            weight: member.weight,
            class: member.class,
            stale: member.alive && member.age(now).is_some_and(|age| age > staleness),
            resident: record
                .map(|record| record.resident)
                .filter(|&bytes| bytes > 0),
            peak: record.map(|record| record.peak).filter(|&bytes| bytes > 0),
            cpu: record
                .map(|record| record.cpu.as_secs_f64())
                .filter(|&seconds| seconds > 0.0),
            said,
        }
    }

    /// What it is doing, as far as it is there.
    fn state(&self) -> String {
        match &self.said {
            None if self.alive => "starting".to_owned(),
            None => "not there".to_owned(),
            Some(said) if self.alive => said.state.to_owned(),
            Some(said) if said.state == State::Shutdown.name() => "left".to_owned(),
            Some(said) => format!("dead (was {})", said.state),
        }
    }

    fn show(&self) -> [String; 8] {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let said = self.said.as_ref();
        let updated = said.map(|said| {
            let stale = if self.stale { ", stale" } else { "" };
            format!("{} ago{stale}", text::seconds(said.age))
        });
        [
            self.name.clone(),
            or_dash(self.pid.filter(|_| self.alive).map(|pid| pid.to_string())),
            self.state(),
            or_dash(said.map(|said| said.queue.to_string())),
            or_dash(said.map(|said| said.items.to_string())),
            or_dash(self.resident.map(text::bytes)),
            or_dash(self.cpu.map(text::seconds)),
            or_dash(updated),
        ]
    }
}
