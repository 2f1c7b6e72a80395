//! Where metrics are served.

use std::{
    fmt, fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::FileTypeExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use nix::sys::stat::{Mode, umask};

use crate::error::Error;

/// What stands before the path of a socket.
const UNIX: &str = "unix:";

/// An address that is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX).filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let address = text.replacen("localhost:", "127.0.0.1:", 1);
        let address = address.parse().map(Self::Tcp);
        address.map_err(|_| "expected ADDRESS:PORT, as 127.0.0.1:9100, or unix:PATH".to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}/metrics"),
            Self::Unix(path) => write!(f, "{UNIX}{}, path /metrics", path.display()),
        }
    }
}

impl Address {
    /// Listens there; says where that is, if the system was to choose a port.
    pub(crate) fn listen(self) -> Result<(Listener, Self), Error> {
        let failed = Error::system("cannot listen");
        match self {
            Self::Tcp(address) if !address.ip().is_loopback() => Err(Error::NotLoopback(address)),
            Self::Tcp(address) => {
                let listener = TcpListener::bind(address).map_err(failed)?;
                let bound = listener.local_addr().unwrap_or(address);
                Ok((Listener::Tcp(listener), Self::Tcp(bound)))
            }
            Self::Unix(path) => {
                let listener = bind_own(&path).map_err(|source| Error::File {
                    path: path.clone(),
                    source,
                })?;
                Ok((Listener::Unix(listener), Self::Unix(path)))
            }
        }
    }
}

/// A socket at `path` to which this user alone can connect; one that nobody listens on any more is
/// replaced.
fn bind_own(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    // Private from the beginning. No other thread creates files meanwhile: there is none yet.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    listener
}
