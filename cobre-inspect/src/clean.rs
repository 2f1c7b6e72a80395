//! `clean`: what dead processes left in `/dev/shm`.

use cobre_shm::{
    Leftover, LeftoverState,
    board::standing::{self, BoardError, LeftOver},
};
use serde::Serialize;

use crate::{error::Error, text};

/// A name in `/dev/shm`, and what became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Swept {
    name: String,
    bytes: u64,
    founder: Option<u32>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// Removes what is provably abandoned, or with `dry_run` only says what that would be.
pub(crate) fn clean(dry_run: bool) -> Result<Vec<Swept>, Error> {
    let found = if dry_run {
        cobre_shm::leftovers()
    } else {
        cobre_shm::sweep()
    };
    let found = found.map_err(Error::system("cannot read /dev/shm"))?;
    let mut swept: Vec<Swept> = found.into_iter().map(Swept::from).collect();
    for board in standing::left_over() {
        swept.extend(clean_board(board, dry_run));
    }
    Ok(swept)
}

/// What becomes of a board that nobody is on; `None` if somebody else was faster.
fn clean_board(board: LeftOver, dry_run: bool) -> Option<Swept> {
    let (state, why) = match dry_run {
        true => ("abandoned board", None),
        false => match standing::sweep(&board.name) {
            Ok(true) => ("removed board", None),
            Ok(false) | Err(BoardError::NotFound { .. }) => return None,
            Err(why) => ("left alone", Some(why.to_string())),
        },
    };
    Some(Swept {
        name: board.name,
        bytes: board.bytes,
        founder: None,
        state,
        why,
    })
}

impl From<Leftover> for Swept {
    fn from(leftover: Leftover) -> Self {
        let (state, why) = match leftover.state {
            LeftoverState::Abandoned => ("abandoned", None),
            LeftoverState::Removed => ("removed", None),
            LeftoverState::Forming => ("forming", None),
            LeftoverState::Unclear(why) => ("left alone", Some(why)),
            _ => ("left alone", None),
        };
        Self {
            name: leftover.name,
            bytes: leftover.bytes,
            founder: leftover.founder,
            state,
            why,
        }
    }
}

pub(crate) fn show(swept: &[Swept]) -> String {
    if swept.is_empty() {
        return "nothing of any job or board is left in /dev/shm\n".to_owned();
    }
    let rows = swept.iter().map(|one| {
        [
            one.name.clone(),
            text::bytes(one.bytes),
            one.founder
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            one.why.as_ref().map_or_else(
                || one.state.to_owned(),
                |why| format!("{}: {why}", one.state),
            ),
        ]
    });
    text::table(["NAME", "MEMORY", "FOUNDER", "STATE"], rows)
}
