//! Finding programs before anything is started.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::error::LaunchError;

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
