//! The programs of a job, found before anything is started.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cobre_shm::BACKEND_VAR;
use nix::unistd::{AccessFlags, access};

use crate::error::LaunchError;
use crate::plan::cli::GroupArgs;
use crate::plan::{IDENTITY, template};

/// One of the programs of a job.
#[derive(Debug)]
pub(crate) struct Program {
    /// As the user wrote it.
    pub(crate) name: OsString,
    /// What is executed.
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) folder: Option<PathBuf>,
}

/// Whether ranks with these words get different ones.
pub(super) fn differs(group: &GroupArgs, command: &[OsString], substitute: bool) -> bool {
    let env = group.env.iter().map(OsString::as_os_str);
    let folder = group.wdir.iter().map(|folder| folder.as_os_str());
    let command = command
        .iter()
        .filter(|_| substitute)
        .map(OsString::as_os_str);
    env.chain(folder).chain(command).any(template::differs)
}

impl Program {
    /// What `rank` of `size` ranks executes for these words; `{rank}` and `{size}` in `command` are
    /// numbers if `substitute` is set.
    pub(super) fn new(
        group: &GroupArgs,
        command: &[OsString],
        substitute: bool,
        rank: usize,
        size: usize,
        inherited: &dyn Fn(&OsStr) -> Option<OsString>,
    ) -> Result<Self, LaunchError> {
        let mut env = BTreeMap::from([(BACKEND_VAR.into(), "shm".into())]);
        for setting in &group.env {
            let setting = template::fill(setting, rank, size);
            let (name, value) = setting_of(&setting, inherited)?;
            env.insert(name, value);
        }
        let folder = group.wdir.as_deref().map(Path::as_os_str);
        let folder = folder.map(|folder| PathBuf::from(template::fill(folder, rank, size)));
        if let Some(folder) = &folder {
            check_folder(folder)?;
        }
        let mut words = command.iter().map(|word| match substitute {
            true => template::fill(word, rank, size),
            false => word.clone(),
        });
        // Clap wants one.
        let name = words.next().unwrap_or_default();
        let search = env
            .get(OsStr::new("PATH"))
            .cloned()
            .or_else(|| inherited(OsStr::new("PATH")));
        let path = find(&name, folder.as_deref().unwrap_or(Path::new("")), search)?;
        Ok(Self {
            name,
            path,
            args: words.collect(),
            env,
            folder,
        })
    }
}

/// Whether ranks can start in `folder`.
fn check_folder(folder: &Path) -> Result<(), LaunchError> {
    let shown = folder.display();
    if !folder.is_dir() {
        let message = format!("--wdir: there is no folder `{shown}`");
        return Err(LaunchError::Usage(message));
    }
    access(folder, AccessFlags::X_OK).map_err(|errno| {
        let why = errno.desc();
        LaunchError::Usage(format!("--wdir: `{shown}` cannot be entered: {why}"))
    })
}

/// Reads `NAME=VALUE`, or `NAME` for what the launcher itself was given.
fn setting_of(
    setting: &OsStr,
    inherited: &dyn Fn(&OsStr) -> Option<OsString>,
) -> Result<(OsString, OsString), LaunchError> {
    let bytes = setting.as_bytes();
    let (name, value) = match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) => (
            OsStr::from_bytes(&bytes[..at]),
            Some(OsStr::from_bytes(&bytes[at + 1..]).to_owned()),
        ),
        None => (setting, inherited(setting)),
    };
    let shown = name.to_string_lossy();
    if name.is_empty() {
        return Err(LaunchError::Usage(format!(
            "--env '{}': expected NAME or NAME=VALUE",
            setting.to_string_lossy()
        )));
    }
    if IDENTITY.iter().any(|identity| name == *identity) {
        return Err(LaunchError::Usage(format!(
            "--env {shown}: the launcher sets this variable for each rank"
        )));
    }
    match value {
        Some(value) => Ok((name.to_owned(), value)),
        None => Err(LaunchError::Usage(format!(
            "--env {shown}: {shown} is not set here; give a value with --env {shown}=VALUE"
        ))),
    }
}

/// What a process that starts in `folder` (empty: here) with this PATH executes for `program`.
///
/// A name with a slash is a path from `folder` and stays as it is; any other is looked up in PATH,
/// as `execvp` does, and becomes absolute.
pub(crate) fn find(
    program: &OsStr,
    folder: &Path,
    path: Option<OsString>,
) -> Result<PathBuf, LaunchError> {
    let not_found = || LaunchError::NotInPath {
        program: program.to_string_lossy().into_owned(),
    };
    if program.is_empty() {
        return Err(not_found());
    }
    if program.as_bytes().contains(&b'/') {
        let file = folder.join(program);
        return match check(&file) {
            Check::Executable => Ok(program.into()),
            Check::Absent => Err(LaunchError::NoSuchFile { path: file }),
            Check::NotExecutable(why) => Err(LaunchError::NotExecutable { path: file, why }),
        };
    }
    // What execvp searches when there is no PATH.
    let path = path.unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    let mut refused = None;
    for entry in std::env::split_paths(&path) {
        let file = folder.join(entry).join(program);
        match check(&file) {
            Check::Executable => {
                return std::path::absolute(file)
                    .map_err(LaunchError::system("finding this folder"));
            }
            Check::Absent => {}
            Check::NotExecutable(why) => {
                refused.get_or_insert(LaunchError::NotExecutable { path: file, why });
            }
        }
    }
    Err(refused.unwrap_or_else(not_found))
}

/// The interpreter that the first line of `script` names, if there is one.
pub(crate) fn interpreter(script: &Path) -> Option<String> {
    // The kernel reads no more of it.
    let file = std::fs::File::open(script).ok()?.take(256);
    let mut line = Vec::new();
    BufReader::new(file).read_until(b'\n', &mut line).ok()?;
    let line = line.strip_prefix(b"#!")?.trim_ascii_start();
    let end = line.iter().position(|byte| b" \t\n".contains(byte));
    let name = &line[..end.unwrap_or(line.len())];
    Some(name.escape_ascii().to_string())
}

enum Check {
    Executable,
    Absent,
    NotExecutable(String),
}

fn check(file: &Path) -> Check {
    match std::fs::metadata(file) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Check::Absent
        }
        Err(error) => Check::NotExecutable(error.to_string()),
        Ok(metadata) if metadata.is_dir() => Check::NotExecutable("it is a folder".to_owned()),
        Ok(_) => match access(file, AccessFlags::X_OK) {
            Ok(()) => Check::Executable,
            Err(errno) => Check::NotExecutable(errno.desc().to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::find;
    use crate::error::LaunchError;
    use std::ffi::OsStr;
    use std::path::Path;

    fn look(program: &str, path: &str) -> Result<std::path::PathBuf, LaunchError> {
        find(OsStr::new(program), Path::new("/"), Some(path.into()))
    }

    #[test]
    fn names_are_looked_up_in_path_and_paths_from_the_folder() {
        assert_eq!(look("sh", "/nowhere:/bin").unwrap(), Path::new("/bin/sh"));
        assert_eq!(look("bin/sh", "").unwrap(), Path::new("bin/sh"));
        assert!(find(OsStr::new("sh"), Path::new("/"), None).is_ok());
    }

    #[test]
    fn absent_and_not_executable_differ() {
        for program in ["no-such-program", "./no-such-program", "/bin/sh/x"] {
            let error = look(program, "/bin:/usr/bin").unwrap_err();
            assert_eq!(error.exit().code(), 127, "{error}");
        }
        for program in ["/etc", "/etc/passwd"] {
            let error = look(program, "").unwrap_err();
            assert_eq!(error.exit().code(), 126, "{error}");
        }
        assert_eq!(look("passwd", "/etc").unwrap_err().exit().code(), 126);
        assert_eq!(look("", "/bin").unwrap_err().exit().code(), 127);
        let name = "x".repeat(300);
        let error = look(&format!("./{name}"), "").unwrap_err();
        assert_eq!(error.exit().code(), 126, "{error}");
    }
}
