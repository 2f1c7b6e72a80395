//! The files of `--output-dir`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::LaunchError;
use crate::plan::Plan;

/// A rank's output streams, as files and reports name them.
pub(crate) const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// The files of one rank, for standard output and standard error.
pub(crate) type RankFiles = [File; 2];

/// Creates the files that `--output-dir` asks for, readable by their owner only.
pub(crate) fn create(plan: &Plan) -> Result<Vec<RankFiles>, LaunchError> {
    let Some(folder) = &plan.output_dir else {
        return Ok(Vec::new());
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LaunchError::OutputDir { path, source }
    };
    DirBuilder::new()
        .recursive(true)
        .create(folder)
        .map_err(failed(folder))?;
    let file = |rank: usize, stream: &str| {
        let path = folder.join(format!("rank-{rank}.{stream}"));
        owner_only(&path).map_err(failed(&path))
    };
    (0..plan.ranks.len())
        .map(|rank| Ok([file(rank, STREAMS[0])?, file(rank, STREAMS[1])?]))
        .collect()
}

/// The same files once more, for another attempt, which writes on.
pub(crate) fn again(files: &[RankFiles]) -> io::Result<Vec<RankFiles>> {
    let pair = |[out, err]: &RankFiles| Ok([out.try_clone()?, err.try_clone()?]);
    files.iter().map(pair).collect()
}

/// A new or emptied file that nobody but its owner reads; or a device or a pipe, as it is.
pub(crate) fn owner_only(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => io::Error::other("it is a symbolic link, which is not followed"),
            _ => error,
        })?;
    // The mode above is for a new file only.
    if file.metadata()?.is_file() {
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
    }
    Ok(file)
}
