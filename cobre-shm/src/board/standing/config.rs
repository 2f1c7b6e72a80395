//! Configuration files: the boards of a system of services, JSON or TOML.

use std::{collections::BTreeMap, collections::BTreeSet, path::Path};

use serde::Deserialize;

use super::{
    description::{Description, Field, MemberConfig, default_interval, default_staleness},
    error::BoardError,
    member::BoardMember,
};

/// The boards that a configuration describes.
///
/// ```
/// # fn main() -> Result<(), cobre_shm::board::standing::BoardError> {
/// let boards = cobre_shm::board::standing::Boards::from_json(r#"{
///     "shared_memory": {
///         "segments": [
///             {"name": "shm_host1", "members": ["A", "B", "D"], "teams": {"GREEN": ["B", "D"]}},
///             {"name": "shm_host2", "members": ["C", "E", "F"]}
///         ],
///         "fields": ["status", "queue_size", "last_ts_ms"]
///     }
/// }"#)?;
/// assert_eq!(boards.board_of("E")?.name, "/shm_host2");
/// # Ok(())
/// # }
/// ```
///
/// Only the section `shared_memory` is looked at: the rest of the file may be the services' own.
/// `fields`, `interval` and `staleness` (seconds) may stand in the section, for all boards, or in a
/// segment, for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Boards {
    boards: Vec<Description>,
}

#[derive(Deserialize)]
struct File {
    shared_memory: Section,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    segments: Vec<Segment>,
    fields: Option<BTreeSet<Field>>,
    interval: Option<f64>,
    staleness: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Segment {
    name: String,
    members: Vec<MemberConfig>,
    #[serde(default)]
    teams: BTreeMap<String, Vec<String>>,
    fields: Option<BTreeSet<Field>>,
    interval: Option<f64>,
    staleness: Option<f64>,
}

impl Boards {
    /// Reads a file: TOML if its name ends in `.toml`, otherwise JSON.
    ///
    /// # Errors
    /// [`BoardError::Config`], with the place in the file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, BoardError> {
        let path = path.as_ref();
        let what = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| BoardError::Config {
            what: what.clone(),
            problem: error.to_string(),
        })?;
        let toml = path.extension().is_some_and(|end| end == "toml");
        Self::parse(&text, toml, what)
    }

    /// The boards that `text`, JSON, describes.
    ///
    /// # Errors
    /// [`BoardError::Config`].
    pub fn from_json(text: &str) -> Result<Self, BoardError> {
        Self::parse(text, false, "configuration".to_owned())
    }

    /// The boards that `text`, TOML, describes.
    ///
    /// # Errors
    /// [`BoardError::Config`].
    pub fn from_toml(text: &str) -> Result<Self, BoardError> {
        Self::parse(text, true, "configuration".to_owned())
    }

    fn parse(text: &str, toml: bool, what: String) -> Result<Self, BoardError> {
        let file: Result<File, String> = if toml {
            toml::from_str(text).map_err(|error| error.to_string())
        } else {
            serde_json::from_str(text).map_err(|error| error.to_string())
        };
        file.and_then(|file| Self::described(file.shared_memory))
            .map_err(|problem| BoardError::Config { what, problem })
    }

    fn described(section: Section) -> Result<Self, String> {
        let mut boards: Vec<Description> = Vec::new();
        for segment in section.segments {
            let name = segment.name.trim_start_matches('/');
            let fields = segment.fields.or_else(|| section.fields.clone());
            let interval = segment.interval.or(section.interval);
            let staleness = segment.staleness.or(section.staleness);
            let board = Description {
                name: format!("/{name}"),
                members: segment.members,
                teams: segment.teams,
                fields: fields.unwrap_or_else(Field::all),
                interval: interval.unwrap_or_else(default_interval),
                staleness: staleness.unwrap_or_else(default_staleness),
            };
            board.check()?;
            if boards.iter().any(|other| other.name == board.name) {
                return Err(format!("board {} is there twice", board.name));
            }
            boards.push(board);
        }
        Ok(Self { boards })
    }

    /// The boards, in the order of the file.
    #[must_use]
    pub fn all(&self) -> &[Description] {
        &self.boards
    }

    /// The board of this name, with or without the slash.
    ///
    /// # Errors
    /// [`BoardError::UnknownBoard`].
    pub fn board(&self, name: &str) -> Result<&Description, BoardError> {
        let wanted = name.trim_start_matches('/');
        let found = self.boards.iter().find(|board| board.name[1..] == *wanted);
        found.ok_or_else(|| BoardError::UnknownBoard {
            board: name.to_owned(),
            known: self.boards.iter().map(|board| board.name.clone()).collect(),
        })
    }

    /// The one board that has this member.
    ///
    /// # Errors
    /// [`BoardError::UnknownMember`], [`BoardError::Ambiguous`].
    pub fn board_of(&self, member: &str) -> Result<&Description, BoardError> {
        let having = |board: &&Description| board.index_of(member).is_some();
        let found: Vec<&Description> = self.boards.iter().filter(having).collect();
        match found.as_slice() {
            [board] => Ok(board),
            [] => Err(BoardError::UnknownMember {
                member: member.to_owned(),
                known: self
                    .boards
                    .iter()
                    .map(Description::members_in_short)
                    .collect(),
            }),
            several => Err(BoardError::Ambiguous {
                member: member.to_owned(),
                boards: several.iter().map(|board| board.name.clone()).collect(),
            }),
        }
    }

    /// Joins the board that has the member `member`, as that member, making the board if it is the
    /// first one there.
    ///
    /// # Errors
    /// See [`BoardError`].
    pub fn join(&self, member: &str) -> Result<BoardMember, BoardError> {
        BoardMember::join(self.board_of(member)?, member)
    }
}

impl Description {
    pub(super) fn members_in_short(&self) -> String {
        let names: Vec<_> = self
            .members
            .iter()
            .map(|member| member.name.as_str())
            .collect();
        format!("{}: {}", self.name, names.join(", "))
    }
}
