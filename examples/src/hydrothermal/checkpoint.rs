//! A file from which a run that was interrupted goes on, to the same bits.
//!
//! It is replaced as a whole after every iteration: whenever the writer is killed, there is the old
//! file or the new one. Numbers are written so that reading them back gives the same bits.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Progress, Settings};

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    case: String,
    settings: Settings,
    progress: Progress,
}

/// Why a file is none to go on from.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It holds something else.
    #[error("this is no checkpoint: {0}")]
    Strange(#[from] serde_json::Error),
    /// Going on from it would not end with the bits of a run from the start.
    #[error(
        "this is a checkpoint of another run (another case, seed or number of forward passes); \
         remove it to start afresh"
    )]
    Other,
}

/// The text of the file at `path`; empty if there is none.
///
/// # Errors
/// What the system says.
pub fn read(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

/// What `text`, from [`read`], has learnt about this case; `None` if it is empty. How long and how
/// wide it was to be played at the end may differ.
///
/// # Errors
/// See [`CheckpointError`].
pub fn parse(
    text: &str,
    case: &str,
    settings: Settings,
) -> Result<Option<Progress>, CheckpointError> {
    if text.is_empty() {
        return Ok(None);
    }
    let contents: Contents = serde_json::from_str(text)?;
    let of = |settings: Settings| (settings.seed, settings.forward_passes);
    let done = contents.progress.iterations.len();
    if contents.case != case || of(contents.settings) != of(settings) || done > settings.iterations
    {
        return Err(CheckpointError::Other);
    }
    Ok(Some(contents.progress))
}

/// Replaces the file at `path`.
///
/// # Errors
/// What the system says; the old file is still there.
pub fn write(path: &Path, case: &str, settings: Settings, progress: &Progress) -> io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    let mut file = BufWriter::new(File::create(&next)?);
    let contents = Contents {
        case: case.to_owned(),
        settings,
        progress: progress.clone(),
    };
    serde_json::to_writer(&mut file, &contents)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    std::fs::rename(next, path)
}
