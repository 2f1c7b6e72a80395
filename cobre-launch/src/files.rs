//! The files of `--output-dir` and `--report`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::LaunchError;
use crate::last_words::Report;
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

/// Creates the file that `--report` asks for.
pub(crate) fn create_report(plan: &Plan) -> Result<Option<File>, LaunchError> {
    let Some(path) = &plan.report else {
        return Ok(None);
    };
    let failed = |source| LaunchError::Report {
        path: path.clone(),
        source,
    };
    owner_only(path).map(Some).map_err(failed)
}

/// Writes the report, instead of that of an earlier attempt.
pub(crate) fn write_report(
    plan: &Plan,
    file: Option<&File>,
    report: Option<&Report>,
) -> Result<(), LaunchError> {
    let (Some(mut file), Some(report), Some(path)) = (file, report, &plan.report) else {
        return Ok(());
    };
    let mut write = || {
        let mut text = serde_json::to_vec_pretty(report)?;
        text.push(b'\n');
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&text)
    };
    write().map_err(|source| LaunchError::Report {
        path: path.clone(),
        source,
    })
}

/// The same files once more, for another attempt, which writes on.
pub(crate) fn again(files: &[RankFiles]) -> io::Result<Vec<RankFiles>> {
    let pair = |[out, err]: &RankFiles| Ok([out.try_clone()?, err.try_clone()?]);
    files.iter().map(pair).collect()
}

fn owner_only(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    // The mode above is for a new file only.
    file.set_permissions(PermissionsExt::from_mode(0o600))?;
    Ok(file)
}
