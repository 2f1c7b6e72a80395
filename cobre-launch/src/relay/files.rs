//! The files of `--output-dir`.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};

use cobre_comm_trait::text::count;
use cobre_profile::Results;

use crate::error::LaunchError;
use crate::plan::{Plan, template};
use crate::report;

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
    let size = plan.ranks.len();
    let mut files = Vec::with_capacity(size);
    let mut folders = BTreeSet::new();
    for rank in 0..size {
        let folder = PathBuf::from(template::fill(folder.as_os_str(), rank, size));
        if !folders.contains(&folder) {
            DirBuilder::new()
                .recursive(true)
                .create(&folder)
                .map_err(failed(&folder))?;
        }
        let file = |stream: &str| {
            let path = folder.join(format!("rank-{rank}.{stream}"));
            regular(&path).map_err(failed(&path))
        };
        files.push([file(STREAMS[0])?, file(STREAMS[1])?]);
        folders.insert(folder);
    }
    for folder in &folders {
        remove_higher_ranks(folder, size).map_err(failed(folder))?;
    }
    Ok(files)
}

/// A pipe would be full whenever its reader is slow, and nothing waits for it: what a rank writes
/// must go on to others.
fn regular(path: &Path) -> io::Result<File> {
    let file = Results::create(path)?.into_file();
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is there, and no regular file")),
    }
}

/// Removes what an earlier job of more ranks has left in `folder`: its other files have just been
/// replaced, so nobody can want the rest.
fn remove_higher_ranks(folder: &Path, size: usize) -> io::Result<()> {
    let mut removed = 0;
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        if name
            .to_str()
            .and_then(rank_of)
            .is_some_and(|rank| rank >= size)
            && entry.file_type()?.is_file()
        {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    if removed > 0 {
        let files = count(removed, "file");
        let folder = folder.display();
        report::note(&format!(
            "--output-dir: removed {files} of an earlier job with more ranks from {folder}"
        ));
    }
    Ok(())
}

/// The rank in the name of one of these files.
fn rank_of(name: &str) -> Option<usize> {
    let (rank, stream) = name.strip_prefix("rank-")?.split_once('.')?;
    let number = rank.parse().ok()?;
    // Nobody else's `rank-007.stdout`.
    (STREAMS.contains(&stream) && format!("{number}") == rank).then_some(number)
}

/// The same files once more, for another attempt, which writes on.
pub(crate) fn again(files: &[RankFiles]) -> io::Result<Vec<RankFiles>> {
    let pair = |[out, err]: &RankFiles| Ok([out.try_clone()?, err.try_clone()?]);
    files.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::rank_of;

    #[test]
    fn only_our_own_names_have_a_rank() {
        assert_eq!(rank_of("rank-12.stdout"), Some(12));
        assert_eq!(rank_of("rank-0.stderr"), Some(0));
        for name in [
            "rank-1.log",
            "rank-01.stdout",
            "rank-.stdout",
            "rank-1.stdout.gz",
            "x-1.stdout",
        ] {
            assert_eq!(rank_of(name), None, "{name}");
        }
    }
}
