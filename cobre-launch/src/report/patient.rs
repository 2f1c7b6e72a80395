//! Writing to a stream of the launcher's that somebody else has made non-blocking: the flag belongs
//! to the open file, which is theirs too.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Such a stream, whose writes wait for a slow reader.
#[derive(Debug)]
pub(super) struct Patient<W>(pub(super) W);

impl<W: Write + AsFd> Patient<W> {
    fn retry<T>(&mut self, mut attempt: impl FnMut(&mut W) -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait(&self.0)?,
                done => return done,
            }
        }
    }
}

impl<W: Write + AsFd> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.retry(|to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.retry(W::flush)
    }
}

/// Writes all of `bytes`, and waits for a slow reader.
pub(super) fn write(to: impl Write + AsFd, bytes: &[u8]) -> io::Result<()> {
    let mut to = Patient(to);
    to.write_all(bytes)?;
    to.flush()
}

fn wait(to: &impl AsFd) -> io::Result<()> {
    let mut fds = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::write;
    use std::io::{self, Read};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_slow_reader_of_a_stream_that_does_not_block_gets_everything() -> io::Result<()> {
        let (to, mut from) = UnixStream::pair()?;
        to.set_nonblocking(true)?;
        let sent: Vec<u8> = (0..1 << 22).map(|n: u32| n as u8).collect();
        let mut read = vec![0; 1 << 22];
        std::thread::scope(|scope| {
            scope.spawn(|| from.read_exact(&mut read));
            write(to, &sent)
        })?;
        assert!(sent == read);
        Ok(())
    }
}
