//! Files that a user names for results.
//!
//! One way for all of them: a new file is readable by its owner only, nothing that somebody else may have
//! put there is written to, and neither opening nor writing waits for ever.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Seek, Write},
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::Path,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::geteuid,
};

/// So long a reader of a pipe may read nothing, in milliseconds.
const PATIENCE: u16 = 10_000;

/// A file for results, or what stands for one.
#[derive(Debug)]
pub struct Results {
    file: File,
    /// Whether it holds nothing but results.
    whole: bool,
    /// Whether its reader has read nothing for too long: waited for once.
    given_up: bool,
}

impl Results {
    /// Creates the file, readable and writable by its owner only, or empties it if it is there.
    ///
    /// A device, and a pipe (FIFO) of this user that somebody reads from, are written to as they are; so
    /// is `/dev/stdout`, `/dev/stderr` or `/dev/fd/N`, where results come behind what is there. Never
    /// waits.
    ///
    /// # Errors
    /// It is another symbolic link, belongs to another user, nobody reads from the pipe, or the system
    /// refuses.
    pub fn create(path: &Path) -> io::Result<Self> {
        if let Some(number) = own_descriptor(path) {
            let file = descriptor(number)?;
            return Ok(Self::new(file, false));
        }
        let mut options = OpenOptions::new();
        options
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return Ok(Self::new(made?, true)),
        }
        check(&fs::symlink_metadata(path)?)?;
        let file = options
            .open(path)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::ELOOP) => io::Error::other(LINK),
                Some(libc::ENXIO) => io::Error::other("nobody reads from it"),
                Some(libc::EWOULDBLOCK) => io::Error::other("another process has a lease on it"),
                _ => error,
            })?;
        let meta = file.metadata()?;
        check(&meta)?;
        if meta.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.set_len(0)?;
        }
        let whole = meta.is_file();
        Ok(Self::new(file, whole))
    }

    fn new(file: File, whole: bool) -> Self {
        Self {
            file,
            whole,
            given_up: false,
        }
    }

    /// Whether what was written can be taken back: not from a pipe, for example.
    #[must_use]
    pub fn can_begin_again(&self) -> bool {
        self.whole
    }

    /// Takes back what was written, if it holds nothing else.
    ///
    /// # Errors
    /// The system refuses.
    pub fn begin_again(&mut self) -> io::Result<()> {
        if self.whole {
            self.file.set_len(0)?;
            self.file.rewind()?;
        }
        Ok(())
    }

    /// The file, whose writes do not wait: `WouldBlock` if a pipe is full.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Write for Results {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return written,
            }
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            if self.given_up || poll(&mut fds, PollTimeout::from(PATIENCE))? == 0 {
                // A buffer in front of this tries again when it is dropped.
                self.given_up = true;
                let why = format!("nobody has read from it for {} s", PATIENCE / 1000);
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

const LINK: &str = "it is a symbolic link, which is not followed";

/// Whether results may go there.
fn check(meta: &Metadata) -> io::Result<()> {
    let kind = meta.file_type();
    if kind.is_symlink() {
        return Err(io::Error::other(LINK));
    }
    if (kind.is_file() || kind.is_fifo()) && meta.uid() != geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    Ok(())
}

/// The descriptor of this process that the path stands for.
fn own_descriptor(path: &Path) -> Option<u32> {
    match path.to_str()? {
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        other => {
            let number = other.strip_prefix("/dev/fd/");
            let number = number.or_else(|| other.strip_prefix("/proc/self/fd/"))?;
            number.parse().ok()
        }
    }
}

fn descriptor(number: u32) -> io::Result<File> {
    let shared = match number {
        1 => Some(io::stdout().as_fd().try_clone_to_owned()?),
        2 => Some(io::stderr().as_fd().try_clone_to_owned()?),
        _ => None,
    };
    let anew = || {
        let link = format!("/proc/self/fd/{number}");
        let mut options = OpenOptions::new();
        options.append(true).custom_flags(libc::O_NONBLOCK);
        options.open(link)
    };
    match shared.map(File::from) {
        // The same open file: whoever else writes to it goes on behind the results.
        Some(file) if file.metadata()?.is_file() => Ok(file),
        // Whether writing waits is a property of the open file, and others that write to it rely on
        // it. A socket, and a pipe of another user, cannot be opened anew.
        Some(file) => Ok(anew().unwrap_or(file)),
        None => anew(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::{Read, Write},
        os::{
            fd::AsRawFd,
            unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
        },
        path::{Path, PathBuf},
    };

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::Results;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("cobre-results-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).expect("a new folder");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn refused(path: &Path) -> String {
        let error = Results::create(path).expect_err("it was opened");
        error.to_string()
    }

    #[test]
    fn a_file_is_private_and_holds_results_alone() {
        let folder = Folder::new("file");
        let path = folder.0.join("file");
        for before in [None, Some("something longer than the results")] {
            if let Some(before) = before {
                fs::write(&path, before).expect("room");
                fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("ours");
            }
            let mut results = Results::create(&path).expect("a file");
            results.write_all(b"a first attempt").expect("room");
            results.begin_again().expect("a file");
            results.write_all(b"results").expect("room");
            assert_eq!(fs::read(&path).expect("it is there"), b"results");
            assert_eq!(path.metadata().expect("it is there").mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn nothing_that_another_may_have_put_there_is_written_to() {
        let folder = Folder::new("other");
        let (target, link) = (folder.0.join("target"), folder.0.join("link"));
        fs::write(&target, "precious").expect("room");
        symlink(&target, &link).expect("a link");
        assert_eq!(
            refused(&link),
            "it is a symbolic link, which is not followed"
        );
        if chown(&target, Some(65534), None).is_ok() {
            assert_eq!(refused(&target), "it belongs to another user");
        }
        assert_eq!(fs::read(&target).expect("it is there"), b"precious");
        assert!(refused(&folder.0).contains("directory"));
    }

    #[test]
    fn a_pipe_needs_a_reader() {
        let folder = Folder::new("pipe");
        let path = folder.0.join("pipe");
        mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
        assert_eq!(refused(&path), "nobody reads from it");
        // Both ends, so that this does not wait for the other.
        let both = File::options().read(true).write(true).open(&path);
        let mut both = both.expect("a pipe");
        let mut results = Results::create(&path).expect("it has a reader");
        results.begin_again().expect("a pipe has no beginning");
        results.write_all(b"results").expect("room");
        let mut read = [0; 7];
        both.read_exact(&mut read).expect("what was written");
        assert_eq!(&read, b"results");
        // As it was.
        assert_eq!(path.metadata().expect("it is there").mode() & 0o777, 0o700);
    }

    #[test]
    fn results_go_behind_what_an_open_file_has() {
        let folder = Folder::new("open");
        let path = folder.0.join("file");
        let mut open = File::create(&path).expect("room");
        open.write_all(b"before, ").expect("room");
        for prefix in ["/dev/fd/", "/proc/self/fd/"] {
            let name = format!("{prefix}{}", open.as_raw_fd());
            let mut results = Results::create(name.as_ref()).expect("it is open");
            results.begin_again().expect("nothing of ours is there");
            results.write_all(b"results ").expect("room");
        }
        let text = fs::read(&path).expect("it is there");
        assert_eq!(text, b"before, results results ");
        assert!(Results::create("/dev/stdout".as_ref()).is_ok());
        assert!(Results::create("/dev/null".as_ref()).is_ok());
        assert!(Results::create("/dev/fd/987654".as_ref()).is_err());
    }
}
