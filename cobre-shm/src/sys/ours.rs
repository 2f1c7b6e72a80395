//! Opening what belongs to this user, and nothing else.
//!
//! Everybody may make names in `/dev/shm`, and to open what stands under one can block: a FIFO until
//! somebody opens its other end, a file on which somebody has a lease for as long as the system allows
//! (45 s). So whatever is there is looked at before it is opened, it is opened without waiting, and what
//! was opened must be what was looked at.

use std::{
    fs::{self, File, FileType, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::shm::FOLDER;

/// Why something was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOurs {
    /// It is nothing that a process of this user would share, for this reason.
    #[error("{0}")]
    Refused(&'static str),
    /// There is no such name, or the system says no.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl From<NotOurs> for io::Error {
    fn from(why: NotOurs) -> Self {
        match why {
            // A number, so that it can be told to other ranks.
            NotOurs::Refused(_) => Self::from_raw_os_error(libc::EACCES),
            NotOurs::System(error) => error,
        }
    }
}

impl NotOurs {
    /// Whether there is no such name.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::System(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// What an object is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// Opens the object `name`; symbolic links are not followed.
pub(crate) fn open(name: &str, access: Access) -> Result<File, NotOurs> {
    let path = path(name)?;
    let seen = fs::symlink_metadata(&path)?;
    open_seen(&path, &seen, access, libc::O_NOFOLLOW)
}

/// Opens what `link`, in `/proc/PID/fd`, leads to.
pub(crate) fn open_held(link: &Path, access: Access) -> Result<File, NotOurs> {
    // Follows the link, which does not open what it leads to.
    let seen = fs::metadata(link)?;
    open_seen(link, &seen, access, 0)
}

fn open_seen(path: &Path, seen: &Metadata, access: Access, flags: i32) -> Result<File, NotOurs> {
    check(seen)?;
    let file = OpenOptions::new()
        .read(true)
        .write(access == Access::ReadWrite)
        .custom_flags(flags | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EWOULDBLOCK) => NotOurs::Refused("another process has a lease on it"),
            Some(libc::EACCES) => NotOurs::Refused("its mode keeps its own user out"),
            Some(libc::ELOOP | libc::ENXIO | libc::ENODEV) => NotOurs::Refused(EXCHANGED),
            _ => error.into(),
        })?;
    let opened = file.metadata()?;
    if identity(&opened) != identity(seen) {
        return Err(NotOurs::Refused(EXCHANGED));
    }
    check(&opened)?;
    Ok(file)
}

const EXCHANGED: &str = "something else has just taken its name";

/// Whether this is a regular file that this user alone may use.
fn check(meta: &Metadata) -> Result<(), NotOurs> {
    if !meta.is_file() {
        return Err(NotOurs::Refused(kind(meta.file_type())));
    }
    if meta.uid() != this_user() {
        return Err(NotOurs::Refused("it belongs to another user"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(NotOurs::Refused("others may access it"));
    }
    Ok(())
}

fn kind(kind: FileType) -> &'static str {
    if kind.is_symlink() {
        "it is a symbolic link"
    } else if kind.is_dir() {
        "it is a directory"
    } else if kind.is_fifo() {
        "it is a FIFO"
    } else if kind.is_socket() {
        "it is a socket"
    } else {
        "it is a device"
    }
}

/// Whether `name` stands for the object `file`. Opens nothing.
pub(crate) fn stands_for(name: &str, file: &File) -> io::Result<bool> {
    match fs::symlink_metadata(path(name)?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        now => Ok(identity(&now?) == identity(&file.metadata()?)),
    }
}

/// How many names a start looks at for what dead processes have left: some milliseconds at most,
/// however many others have made.
pub(crate) const AT_A_START: usize = 4096;

/// The names of this user's objects among the first `most` that the system lists. Opens nothing.
pub(crate) fn names(most: usize) -> io::Result<impl Iterator<Item = String>> {
    let me = this_user();
    let entries = fs::read_dir(FOLDER)?.take(most).flatten();
    Ok(entries.filter_map(move |entry| {
        let name = entry.file_name().into_string().ok()?;
        // Of the entry itself, not of what a link leads to.
        let meta = entry.metadata().ok()?;
        (meta.is_file() && meta.uid() == me).then(|| format!("/{name}"))
    }))
}

/// Whether two open files are of one object.
pub(crate) fn is_same(one: &File, other: &File) -> io::Result<bool> {
    Ok(identity(&one.metadata()?) == identity(&other.metadata()?))
}

fn this_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Where the object `name` lies, as `shm_open` has it.
fn path(name: &str) -> io::Result<PathBuf> {
    let file = name.strip_prefix('/').unwrap_or(name);
    if file.is_empty() || file.contains('/') {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(Path::new(FOLDER).join(file))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::{Access, NotOurs, names, open, open_held, path, stands_for};
    use crate::{job::names::unswept, sys::shm};

    #[test]
    fn what_is_no_object_of_this_user_alone_is_refused() {
        let name = unswept();
        let at = path(&name).unwrap();
        let refused = || match open(&name, Access::ReadWrite) {
            Err(NotOurs::Refused(what)) => what,
            other => panic!("{other:?}"),
        };
        assert!(open(&name, Access::Read).unwrap_err().is_nothing());
        nix::unistd::mkfifo(&at, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(refused(), "it is a FIFO");
        assert!(!names(usize::MAX).unwrap().any(|other| other == name));
        fs::remove_file(&at).unwrap();
        symlink("/dev/null", &at).unwrap();
        assert_eq!(refused(), "it is a symbolic link");
        fs::remove_file(&at).unwrap();
        fs::create_dir(&at).unwrap();
        assert_eq!(refused(), "it is a directory");
        fs::remove_dir(&at).unwrap();
        let file = shm::create(&name).unwrap();
        assert!(open(&name, Access::ReadWrite).is_ok() && stands_for(&name, &file).unwrap());
        assert!(names(usize::MAX).unwrap().any(|other| other == name));
        let for_all = std::os::unix::fs::PermissionsExt::from_mode(0o604);
        file.set_permissions(for_all).unwrap();
        assert_eq!(refused(), "others may access it");
        shm::unlink(&name).unwrap();
        assert!(!stands_for(&name, &file).unwrap());
        for strange in ["", "/", "//", "/a/b", "/../x"] {
            assert!(open(strange, Access::Read).is_err(), "{strange}");
        }
    }

    /// Neither end of a pipe is opened, however `/proc` came to lead there.
    #[test]
    fn a_descriptor_of_something_else_is_not_opened() {
        use std::os::fd::AsRawFd;
        let (reader, _writer) = std::io::pipe().unwrap();
        let link = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let Err(NotOurs::Refused(what)) = open_held(link.as_ref(), Access::Read) else {
            panic!("it was opened");
        };
        assert_eq!(what, "it is a FIFO");
    }

    #[test]
    fn no_more_names_are_looked_at_than_asked_for() {
        let made = [(); 5].map(|()| unswept());
        let files = made.each_ref().map(|name| shm::create(name).unwrap());
        assert!(names(3).unwrap().count() <= 3);
        assert!(names(usize::MAX).unwrap().count() >= files.len());
        for name in &made {
            shm::unlink(name).unwrap();
        }
    }
}
