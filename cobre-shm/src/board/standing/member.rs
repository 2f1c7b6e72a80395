//! Joining a board as a member, and leaving it; the steps are numbered in the specification.

use std::{fs::File, io, sync::Arc};

use super::{
    description::{Description, Field},
    error::BoardError,
    gate::Gate,
    layout::{self, Geometry, Seat},
    view::{self, Board},
};
use crate::{
    board::{Publisher, RecordLatch, State, publisher::Home, refresher::Refresher},
    job::exit::Live,
    memory::segment::Segment,
    sync::primitive::Ordering,
    sys::{
        lock::LockFile,
        ours::{self, Access},
        process, shm,
    },
};

/// What this process is on and has not left.
static LIVE: Live<Membership> = Live::new(leave_all);

extern "C" fn leave_all() {
    LIVE.for_each_own(|membership| {
        // An exit in the middle of an update cannot wait for its end.
        if !membership.publisher.is_in_use() {
            // What cannot be done here the kernel does with the process, and whoever sweeps.
            let _ = membership.leave();
        }
    });
}

/// This process as a member of a board. Dropping it, or exiting, leaves the board; the last one out
/// removes it.
#[derive(Debug)]
pub struct BoardMember {
    refresher: Option<Refresher>,
    membership: Arc<Membership>,
    board: Board,
}

/// A seat that this process has taken.
#[derive(Debug)]
struct Membership {
    board: String,
    index: usize,
    publisher: Publisher,
    locks: LockFile,
}

/// A member's record in its seat.
#[derive(Debug)]
struct SeatHome {
    segment: Segment,
    offset: usize,
}

impl Home for SeatHome {
    fn latch(&self) -> &RecordLatch {
        &Seat::at(&self.segment, self.offset).record
    }
}

impl BoardMember {
    /// Joins the board `description` as `member`, making the board if it is the first one there.
    ///
    /// # Errors
    /// See [`BoardError`].
    pub fn join(description: &Description, member: &str) -> Result<Self, BoardError> {
        let index = description.index_of(member);
        let index = index.ok_or_else(|| BoardError::UnknownMember {
            member: member.to_owned(),
            known: vec![description.members_in_short()],
        })?;
        loop {
            let joined = match open(&description.name)? {
                Some(file) => enter(file, description, index)?,
                None => create(description, index)?,
            };
            if let Some(member) = joined {
                return Ok(member);
            }
        }
    }

    /// Takes the seat whose lock this process has.
    fn sit(
        file: File,
        locks: LockFile,
        (description, geometry): (Description, Geometry),
        index: usize,
    ) -> io::Result<Self> {
        let map = || Segment::map(&file, geometry.total_bytes());
        let home = SeatHome {
            segment: map()?,
            offset: geometry.seat(index),
        };
        let seat = Seat::at(&home.segment, home.offset);
        seat.pid.store(std::process::id(), Ordering::Relaxed);
        let namespace = process::pid_namespace();
        seat.pid_namespace.store(namespace, Ordering::Relaxed);
        let publisher = Publisher::publishing(home, keep(&description));
        // The first record of this member replaces that of the one before.
        publisher.state(State::Starting);
        let interval = description.interval();
        let membership = Arc::new(Membership {
            board: description.name.clone(),
            index,
            publisher,
            locks,
        });
        LIVE.add(&membership);
        let publisher = &membership.publisher;
        Ok(Self {
            refresher: interval.map(|interval| Refresher::start(publisher, interval)),
            board: Board::map(file, description, geometry)?,
            membership,
        })
    }

    /// This member's place in the configuration.
    #[must_use]
    pub fn index(&self) -> usize {
        self.membership.index
    }

    /// This member's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.board.description().members[self.index()].name
    }

    /// This member's record, to write.
    #[must_use]
    pub fn status(&self) -> &Publisher {
        &self.membership.publisher
    }

    /// The board, to read.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }
}

impl Membership {
    /// Leaves, once; not in a forked child, which is not the member.
    fn leave(&self) -> Result<(), BoardError> {
        if !self.publisher.farewell() {
            return Ok(());
        }
        let io = |source| BoardError::system(&self.board, "leave", source);
        let gate = Gate::enter(&self.locks, &self.board)?;
        self.locks.unlock(self.index).map_err(io)?;
        let last = !gate.is_anybody_here().map_err(io)?;
        if last && ours::stands_for(&self.board, self.locks.file()).map_err(io)? {
            shm::unlink(&self.board).map_err(io)?;
        }
        Ok(())
    }
}

impl Drop for BoardMember {
    fn drop(&mut self) {
        // First, so that the last record is the farewell, and nobody is just saying something.
        self.refresher = None;
        // What cannot be done here the kernel does with the process, and the next one to join.
        let _ = self.membership.leave();
    }
}

/// What of a record the board's fields let through.
fn keep(description: &Description) -> impl Fn(&mut crate::board::Record) + Send + Sync + use<> {
    let has = |field| description.fields.contains(&field);
    let (queue, items, progress) = (has(Field::Queue), has(Field::Items), has(Field::Progress));
    let (memory, cpu, text) = (has(Field::Memory), has(Field::Cpu), has(Field::Text));
    move |record| {
        if !queue {
            (record.load.queue, record.load.smoothed_queue) = (0, 0.0);
        }
        if !items {
            let load = &mut record.load;
            (load.items, load.mean_service_ns, load.p90_service_ns) = (0, 0, 0);
        }
        if !progress {
            record.progress = None;
        }
        if !memory {
            (record.resident, record.peak) = (0, 0);
        }
        if !cpu {
            record.cpu = core::time::Duration::ZERO;
        }
        if !text {
            record.text = crate::board::Text::default();
        }
    }
}

/// Opens the name for joining; `None` if there is none. What is not a board of this user is an error.
fn open(name: &str) -> Result<Option<File>, BoardError> {
    let file = match ours::open(name, Access::ReadWrite) {
        Ok(file) => file,
        Err(why) if why.is_nothing() => return Ok(None),
        Err(why) => return Err(BoardError::not_opened(name, why)),
    };
    if !layout::is_board(&file) {
        let found = "something else has this name; choose another one for the board";
        return Err(BoardError::not_a_board(name, found));
    }
    Ok(Some(file))
}

/// Steps 3 to 6 of joining; `None` to begin again.
fn enter(
    file: File,
    description: &Description,
    index: usize,
) -> Result<Option<BoardMember>, BoardError> {
    let name = &description.name;
    let io = |source| BoardError::system(name, "join", source);
    // Locks need an open file that is not mapped.
    let locks = LockFile::new(shm::reopen(&file).map_err(io)?);
    let gate = Gate::enter(&locks, name)?;
    if !ours::stands_for(name, &file).map_err(io)? {
        return Ok(None);
    }
    if !gate.is_anybody_here().map_err(io)? {
        // Left over, of whatever release: only members keep a board.
        shm::unlink(name).map_err(io)?;
        return Ok(None);
    }
    let (found, geometry) = layout::read(&file, name)?;
    if found != *description {
        return Err(BoardError::ConfigDiffers {
            board: name.clone(),
            difference: difference(&found, description),
        });
    }
    if !locks.try_lock(index).map_err(io)? {
        let taken = layout::member(&file, &found, geometry, index).map_err(io)?;
        return Err(BoardError::MemberTaken {
            board: name.clone(),
            member: taken.name,
            pid: taken.pid.unwrap_or(0),
        });
    }
    drop(gate);
    let member = BoardMember::sit(file, locks, (found, geometry), index);
    member.map(Some).map_err(io)
}

/// Makes the board, complete before it has its name; `None` if somebody else was faster.
fn create(description: &Description, index: usize) -> Result<Option<BoardMember>, BoardError> {
    let name = &description.name;
    view::sweep_left_over();
    let io = |source| BoardError::system(name, "create", source);
    let file = shm::unnamed().map_err(io)?;
    let geometry = layout::write(&file, description).map_err(io)?;
    let locks = LockFile::new(shm::reopen(&file).map_err(io)?);
    locks.try_lock(index).map_err(io)?;
    match shm::link(&file, name) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(source) => return Err(io(source)),
    }
    let member = BoardMember::sit(file, locks, (description.clone(), geometry), index);
    member.map(Some).map_err(io)
}

fn difference(theirs: &Description, ours: &Description) -> String {
    if theirs.members != ours.members {
        let (theirs, ours) = (theirs.members_in_short(), ours.members_in_short());
        return format!("members there: {theirs}; here: {ours}");
    }
    let parts = [
        ("teams", theirs.teams != ours.teams),
        ("fields", theirs.fields != ours.fields),
        ("interval", theirs.interval != ours.interval),
        ("staleness", theirs.staleness != ours.staleness),
    ];
    let differ = parts.iter().filter(|(_, differs)| *differs);
    differ.map(|(what, _)| *what).collect::<Vec<_>>().join(", ")
}
