//! What a board is: its members, teams and limits. The same in a configuration file and in the board.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::board::route::DEFAULT_STALENESS;
use crate::job::config::{DEFAULT_STATUS_INTERVAL, MIN_STATUS_INTERVAL, check_name};

/// The most members of one board.
const MAX_MEMBERS: usize = 1 << 16;
/// The longest name of a member, in bytes.
const MAX_NAME: usize = 64;

/// One board: what its members agree on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Description {
    /// The name of its segment, beginning with a slash.
    pub name: String,
    /// Its members; their order decides between equals.
    pub members: Vec<MemberConfig>,
    /// Named subsets of the members.
    #[serde(default)]
    pub teams: BTreeMap<String, Vec<String>>,
    /// What members publish besides state and time.
    #[serde(default = "Field::all")]
    pub fields: BTreeSet<Field>,
    /// Seconds between refreshes of memory and CPU time; 0 for none.
    #[serde(default = "default_interval")]
    pub interval: f64,
    /// Seconds after which a record is too old for its member to be chosen.
    #[serde(default = "default_staleness")]
    pub staleness: f64,
}

/// One member of a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "MemberForm")]
#[non_exhaustive]
pub struct MemberConfig {
    /// Its name, unique on the board.
    pub name: String,
    /// How much of the work it shall get, relative to the others.
    pub weight: f64,
    /// Its priority class; 0 is asked first.
    pub class: u32,
}

/// A member as people write it: its name, or a table.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a member is a name, or a table of name and, if wanted, weight and class"
)]
enum MemberForm {
    Name(String),
    Full(FullMember),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FullMember {
    name: String,
    #[serde(default = "one")]
    weight: f64,
    #[serde(default)]
    class: u32,
}

impl From<MemberForm> for MemberConfig {
    fn from(form: MemberForm) -> Self {
        match form {
            MemberForm::Name(name) => Self {
                name,
                weight: one(),
                class: 0,
            },
            MemberForm::Full(full) => Self {
                name: full.name,
                weight: full.weight,
                class: full.class,
            },
        }
    }
}

/// Something that members publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Field {
    /// What the member is doing; always published.
    #[serde(alias = "status")]
    State,
    /// When the record was last updated; always published.
    #[serde(alias = "last_ts_ms", alias = "last_update_ms")]
    Updated,
    /// Requests that wait.
    #[serde(alias = "queue_size")]
    Queue,
    /// Items done, and how long they take.
    #[serde(alias = "requests_processed")]
    Items,
    /// Done of total.
    Progress,
    /// Resident memory and its peak.
    #[serde(alias = "memory_bytes")]
    Memory,
    /// CPU time.
    Cpu,
    /// A short free text.
    Text,
}

impl Field {
    /// Every field.
    #[must_use]
    pub fn all() -> BTreeSet<Self> {
        BTreeSet::from([
            Self::State,
            Self::Updated,
            Self::Queue,
            Self::Items,
            Self::Progress,
            Self::Memory,
            Self::Cpu,
            Self::Text,
        ])
    }
}

fn one() -> f64 {
    1.0
}

pub(super) fn default_interval() -> f64 {
    DEFAULT_STATUS_INTERVAL.as_secs_f64()
}

pub(super) fn default_staleness() -> f64 {
    DEFAULT_STALENESS.as_secs_f64()
}

impl Description {
    /// The index of the member of this name.
    #[must_use]
    pub fn index_of(&self, member: &str) -> Option<usize> {
        self.members.iter().position(|known| known.name == member)
    }

    /// How old a record may be for its member to be chosen.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        Duration::from_secs_f64(self.staleness)
    }

    /// How often memory and CPU time are refreshed, if they are.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        let refreshed = [Field::Memory, Field::Cpu, Field::Updated];
        let wanted = refreshed.iter().any(|field| self.fields.contains(field));
        (self.interval > 0.0 && wanted).then(|| Duration::from_secs_f64(self.interval))
    }

    /// Whether this can be a board; what is wrong, if not.
    pub(super) fn check(&self) -> Result<(), String> {
        check_name(&self.name)
            .map_err(|expected| format!("board {:?}: its name must be {expected}", self.name))?;
        self.check_members()
            .and_then(|()| self.check_teams())
            .and_then(|()| self.check_times())
            .map_err(|problem| format!("board {}: {problem}", self.name))
    }

    fn check_members(&self) -> Result<(), String> {
        if !(1..=MAX_MEMBERS).contains(&self.members.len()) {
            let count = self.members.len();
            return Err(format!(
                "{count} members; from 1 to {MAX_MEMBERS} are possible"
            ));
        }
        let mut names = BTreeSet::new();
        for MemberConfig { name, weight, .. } in &self.members {
            if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
                let expected =
                    format!("a name has 1 to {MAX_NAME} bytes, none of them a control character");
                return Err(format!("member {name:?}: {expected}"));
            }
            if !names.insert(name) {
                return Err(format!("member {name:?} is there twice"));
            }
            if !(weight.is_finite() && *weight > 0.0) {
                return Err(format!("member {name:?}: weight {weight} is not above 0"));
            }
        }
        Ok(())
    }

    fn check_teams(&self) -> Result<(), String> {
        for (team, members) in &self.teams {
            if members.is_empty() {
                return Err(format!("team {team:?} has no members"));
            }
            for (place, member) in members.iter().enumerate() {
                if self.index_of(member).is_none() {
                    let members = self.members.iter().map(|member| member.name.as_str());
                    let known = members.collect::<Vec<_>>().join(", ");
                    return Err(format!(
                        "team {team:?}: {member:?} is no member; there are {known}"
                    ));
                }
                if members[..place].contains(member) {
                    return Err(format!("team {team:?}: {member:?} is there twice"));
                }
            }
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), String> {
        let seconds = |name: &str, value: f64| {
            let duration = Duration::try_from_secs_f64(value);
            duration.map_err(|_| format!("{name} {value} is no number of seconds"))
        };
        let interval = seconds("interval", self.interval)?;
        let staleness = seconds("staleness", self.staleness)?;
        if !interval.is_zero() && interval < MIN_STATUS_INTERVAL {
            return Err(format!(
                "interval {interval:?} is below {MIN_STATUS_INTERVAL:?}; 0 is for no refreshing"
            ));
        }
        if staleness.is_zero() || staleness < interval {
            return Err(format!(
                "staleness {staleness:?} must be above 0 and not below the interval ({interval:?})"
            ));
        }
        Ok(())
    }
}
