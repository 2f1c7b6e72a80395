//! A board seen by those who only look.

use std::{fs::File, io};

use super::{
    description::Description,
    error::BoardError,
    gate::{Gate, is_anybody_here},
    layout::{self, Geometry, Seat},
};
use crate::{
    board::{
        Candidate, Choice, LeastLoaded, Load, Member, Policy, Record,
        route::{self},
    },
    memory::segment::Segment,
    sync::primitive::Ordering,
    sys::{
        clock,
        lock::{self, LockFile},
        ours::{self, Access},
        shm,
    },
};

/// A board, mapped for reading: for members and clients, who look often.
///
/// Whoever can write the board (this user) could also cut it short, which would end this process; to
/// be safe from that too, use [`Snapshot`].
#[derive(Debug)]
pub struct Board {
    description: Description,
    geometry: Geometry,
    segment: Segment,
    file: File,
}

/// Members to choose among.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    members: Vec<usize>,
}

impl Board {
    /// Opens the board `name`, with or without the slash, for reading. One that all members left by
    /// being killed counts as not there, and is removed.
    ///
    /// # Errors
    /// [`BoardError::NotFound`], [`BoardError::NotABoard`], [`BoardError::System`].
    pub fn open(name: &str) -> Result<Self, BoardError> {
        let (name, file) = open(name)?;
        let (description, geometry) = layout::read(&file, &name)?;
        let io = |source| BoardError::system(&name, "examine", source);
        if !is_anybody_here(&file).map_err(io)? && sweep(&name)? {
            return Err(BoardError::NotFound { board: name });
        }
        Self::map(file, description, geometry)
            .map_err(|source| BoardError::system(&name, "map", source))
    }

    pub(super) fn map(
        file: File,
        description: Description,
        geometry: Geometry,
    ) -> io::Result<Self> {
        Ok(Self {
            segment: Segment::map_read_only(&file, geometry.total_bytes())?,
            description,
            geometry,
            file,
        })
    }

    /// What the board's members agree on.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Whether all members have left, and the board with them. Those that come later make another
    /// one: who is no member and looks for long opens it again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        // What cannot be asked about is not known to be over.
        self.file.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }

    /// The members of `team`.
    ///
    /// # Errors
    /// [`BoardError::UnknownTeam`].
    pub fn team(&self, team: &str) -> Result<Team, BoardError> {
        team_of(&self.description, Some(team))
    }

    /// All members as a team.
    #[must_use]
    pub fn everybody(&self) -> Team {
        Team {
            members: (0..self.geometry.members).collect(),
        }
    }

    fn seat(&self, member: usize) -> &Seat {
        Seat::at(&self.segment, self.geometry.seat(member))
    }

    /// What member `index` says: one record, whole; `None` if it published so fast that no attempt to
    /// read succeeded.
    ///
    /// # Panics
    /// If there is no such member.
    #[must_use]
    #[inline]
    pub fn record(&self, index: usize) -> Option<Record> {
        assert!(index < self.geometry.members);
        Record::read(&self.seat(index).record)
    }

    /// All members as they are just now.
    ///
    /// # Errors
    /// The kernel cannot be asked who lives.
    pub fn members(&self) -> Result<Vec<Member>, BoardError> {
        let member = |index| {
            let seat = self.seat(index);
            let pid = seat.pid.load(Ordering::Relaxed);
            let alive = lock::is_held(&self.file, index)?;
            let record = Record::read(&seat.record);
            Ok(layout::seen(&self.description, index, pid, alive, record))
        };
        let members: io::Result<_> = (0..self.geometry.members).map(member).collect();
        members.map_err(|source| BoardError::system(&self.description.name, "examine", source))
    }

    /// The member of `team` that `policy` chooses; `None` if nobody takes work.
    #[must_use]
    pub fn choose(&self, team: &Team, policy: &(impl Policy + ?Sized)) -> Option<usize> {
        let candidate = |index: usize| {
            let config = &self.description.members[index];
            Some(Candidate {
                load: Load::read(&self.seat(index).record)?,
                weight: config.weight,
                class: config.class,
            })
        };
        let limits = (clock::now(), self.description.staleness());
        // When the kernel cannot be asked, nobody is declared dead.
        let is_alive = |index| lock::is_held(&self.file, index).unwrap_or(true);
        route::choose(&team.members, policy, limits, candidate, is_alive)
    }

    /// The least loaded member of the team of this name; `None` if nobody takes work.
    ///
    /// # Errors
    /// [`BoardError::UnknownTeam`].
    pub fn least_loaded(&self, team: &str) -> Result<Option<&str>, BoardError> {
        let chosen = self.choose(&self.team(team)?, &LeastLoaded);
        Ok(chosen.map(|index| self.description.members[index].name.as_str()))
    }

    /// What [`choose`](Self::choose) chooses, and why.
    ///
    /// # Errors
    /// The kernel cannot be asked who lives.
    pub fn explain(
        &self,
        team: &Team,
        policy: &(impl Policy + ?Sized),
    ) -> Result<Choice, BoardError> {
        let members = self.members()?;
        let asked = team.members.iter().map(|&index| &members[index]);
        let limits = (clock::now(), self.description.staleness());
        Ok(Choice::among(asked, policy, limits))
    }
}

fn team_of(description: &Description, team: Option<&str>) -> Result<Team, BoardError> {
    let Some(team) = team else {
        return Ok(Team {
            members: (0..description.members.len()).collect(),
        });
    };
    let members = description.teams.get(team);
    let members = members.ok_or_else(|| BoardError::UnknownTeam {
        board: description.name.clone(),
        team: team.to_owned(),
        known: description.teams.keys().cloned().collect(),
    })?;
    // All are members: checked with the description.
    let members = members.iter().filter_map(|name| description.index_of(name));
    Ok(Team {
        members: members.collect(),
    })
}

/// A board at a moment, copied: nothing that happens to the board can hurt who looks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// What the board's members agree on.
    pub description: Description,
    /// All members.
    pub members: Vec<Member>,
    /// Whether nobody is on it: all were killed, and it is there until somebody sweeps.
    pub left_over: bool,
    /// When, in nanoseconds of [`board::now`](crate::board::now).
    pub taken_ns: u64,
}

impl Snapshot {
    /// Reads the board `name`, with or without the slash.
    ///
    /// # Errors
    /// [`BoardError::NotFound`], [`BoardError::NotABoard`], [`BoardError::System`]; never a panic or a
    /// signal, whatever the file holds.
    pub fn read(name: &str) -> Result<Self, BoardError> {
        let (name, file) = open(name)?;
        let (description, geometry) = layout::read(&file, &name)?;
        let member = |index| layout::member(&file, &description, geometry, index);
        let members: io::Result<Vec<Member>> = (0..geometry.members).map(member).collect();
        let members = members.map_err(|source| BoardError::system(&name, "read", source))?;
        Ok(Self {
            description,
            left_over: !members.iter().any(|member| member.alive),
            members,
            taken_ns: clock::now(),
        })
    }

    /// What `policy` chooses among the members of `team`, or all, and why.
    ///
    /// # Errors
    /// [`BoardError::UnknownTeam`].
    pub fn choice(
        &self,
        team: Option<&str>,
        policy: &(impl Policy + ?Sized),
    ) -> Result<Choice, BoardError> {
        let team = team_of(&self.description, team)?;
        let asked = team.members.iter().map(|&index| &self.members[index]);
        let limits = (self.taken_ns, self.description.staleness());
        Ok(Choice::among(asked, policy, limits))
    }
}

/// The names of this user's boards, in alphabetical order.
#[must_use]
pub fn names() -> Vec<String> {
    let names = ours::names(usize::MAX).into_iter().flatten();
    let is_board = |name: &String| open(name).is_ok_and(|(_, file)| layout::is_board(&file));
    let mut names: Vec<String> = names.filter(is_board).collect();
    names.sort();
    names
}

/// A board that is there although nobody is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOver {
    /// Its name.
    pub name: String,
    /// Bytes of memory it holds.
    pub bytes: u64,
}

/// This user's boards that nobody is on, in alphabetical order: their members were killed. They go
/// when anybody makes or opens a board of this name, makes any other one, or sweeps.
#[must_use]
pub fn left_over() -> Vec<LeftOver> {
    left_over_among(usize::MAX)
}

/// Those among the first `most` names in `/dev/shm`.
fn left_over_among(most: usize) -> Vec<LeftOver> {
    let left_over = |name: String| {
        use std::os::unix::fs::MetadataExt;
        let (name, file) = open(&name).ok()?;
        let left = layout::is_board(&file) && !is_anybody_here(&file).ok()?;
        let bytes = file.metadata().ok()?.blocks() * 512;
        left.then_some(LeftOver { name, bytes })
    };
    let names = ours::names(most).into_iter().flatten();
    let mut found: Vec<LeftOver> = names.filter_map(left_over).collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Removes the boards that nobody is on, as far as it finds any in little time. Says nothing: who wants to
/// know asks one by one.
pub(super) fn sweep_left_over() {
    for board in left_over_among(ours::AT_A_START) {
        let _ = sweep(&board.name);
    }
}

/// Removes the board `name` if nobody is on it; whether it did.
///
/// # Errors
/// [`BoardError::NotFound`], [`BoardError::NotABoard`], [`BoardError::System`].
pub fn sweep(name: &str) -> Result<bool, BoardError> {
    let (name, file) = open(name)?;
    let io = |source| BoardError::system(&name, "sweep", source);
    if !layout::is_board(&file) {
        return Err(BoardError::not_a_board(&name, "it is something else"));
    }
    // To lock it takes an open file that may be written.
    let locks = LockFile::new(shm::reopen(&file).map_err(io)?);
    let gate = Gate::enter(&locks, &name)?;
    let left_over =
        !gate.is_anybody_here().map_err(io)? && ours::stands_for(&name, &file).map_err(io)?;
    if left_over {
        shm::unlink(&name).map_err(io)?;
    }
    Ok(left_over)
}

/// Opens the board `name` for reading, if it is this user's.
fn open(name: &str) -> Result<(String, File), BoardError> {
    let name = format!("/{}", name.trim_start_matches('/'));
    match ours::open(&name, Access::Read) {
        Ok(file) => Ok((name, file)),
        Err(why) if why.is_nothing() => Err(BoardError::NotFound { board: name }),
        Err(why) => Err(BoardError::not_opened(&name, why)),
    }
}
