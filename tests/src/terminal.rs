//! A program on a terminal of its own, as a person sees it.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{Pid, setsid};

use crate::{End, patience};

/// What is written when the program has ended, so that everything before it has been read.
const SENTINEL: &str = "(end of the session)";

/// A program on a pseudo-terminal; killed when dropped. Every wait ends after [`patience`].
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    /// Where keys are typed.
    keyboard: File,
    /// What the program has for a terminal, kept open beyond its end.
    device: File,
    output: Receiver<Vec<u8>>,
    screen: Screen,
}

struct Screen(vt100::Parser);

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.screen().contents())
    }
}

impl Terminal {
    /// Starts `command` on a terminal of so many lines and columns.
    ///
    /// # Panics
    /// If there is no terminal, or the program cannot be started.
    #[must_use]
    pub fn start(command: &mut Command, lines: u16, columns: u16) -> Self {
        let size = Winsize {
            ws_row: lines,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).expect("a pseudo-terminal");
        let (master, device) = (File::from(pair.master), File::from(pair.slave));
        let stream = || device.try_clone().expect("a free descriptor");
        command
            .env("TERM", "xterm-256color")
            .env("RUST_BACKTRACE", "0")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream());
        let controls = || {
            setsid()?;
            // SAFETY: descriptor 0 is the terminal by now, which nobody else has for theirs.
            if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } == -1 {
                return Err(std::io::Error::last_os_error());
            }
            // As a shell on a terminal starts it, whatever started the tests.
            for number in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
                // SAFETY: SIG_DFL is no handler.
                unsafe { signal(number, SigHandler::SigDfl) }?;
            }
            Ok(())
        };
        // SAFETY: setsid, ioctl and sigaction are async-signal-safe; nothing here allocates.
        unsafe { command.pre_exec(controls) };
        let child = command.spawn().expect("the program can be started");
        let mut reads = master.try_clone().expect("a free descriptor");
        let (to, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = vec![0; 65536];
            while let Ok(count @ 1..) = reads.read(&mut bytes) {
                if to.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keyboard: master,
            device,
            output,
            screen: Screen(vt100::Parser::new(lines, columns, 0)),
        }
    }

    /// What is on the screen: lines without the blanks at their ends.
    #[must_use]
    pub fn contents(&self) -> String {
        self.screen.0.screen().contents()
    }

    /// Whether the program has taken the whole screen, which gives back later what was there before.
    #[must_use]
    pub fn is_full_screen(&self) -> bool {
        self.screen.0.screen().alternate_screen()
    }

    /// Whether the cursor is shown, and lines are edited and echoed by the terminal, as a shell wants it.
    ///
    /// # Panics
    /// If the terminal cannot be asked.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        let modes = tcgetattr(&self.device).expect("a terminal").local_flags;
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        let screen = self.screen.0.screen();
        modes.contains(cooked) && !screen.alternate_screen() && !screen.hide_cursor()
    }

    /// Reads until the screen shows all of `wanted` at once.
    ///
    /// # Panics
    /// If it does not within [`patience`].
    pub fn see(&mut self, wanted: &[&str]) {
        let begin = Instant::now();
        loop {
            let shown = self.contents();
            // What is too long for a line goes on in the next.
            let joined = shown.replace('\n', " ");
            let seen = |wanted: &&str| shown.contains(wanted) || joined.contains(wanted);
            if wanted.iter().all(seen) {
                return;
            }
            // A program that draws the same again and again does not get further.
            match self
                .output
                .recv_timeout(patience().saturating_sub(begin.elapsed()))
            {
                Ok(bytes) => self.screen.0.process(&bytes),
                Err(_) => panic!("never all of {wanted:?} on the screen:\n{shown}"),
            }
        }
    }

    /// Reads until the screen does not show `unwanted` any more.
    ///
    /// # Panics
    /// If it still does after [`patience`].
    pub fn until_gone(&mut self, unwanted: &str) {
        let begin = Instant::now();
        while self.contents().contains(unwanted) {
            match self
                .output
                .recv_timeout(patience().saturating_sub(begin.elapsed()))
            {
                Ok(bytes) => self.screen.0.process(&bytes),
                Err(_) => panic!("{unwanted:?} stays on the screen:\n{}", self.contents()),
            }
        }
    }

    /// Makes the terminal larger or smaller, of which its programs are told.
    ///
    /// # Panics
    /// If the terminal cannot be told.
    pub fn resize(&mut self, lines: u16, columns: u16) {
        let size = Winsize {
            ws_row: lines,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: `size` is what this request reads.
        let told =
            unsafe { libc::ioctl(self.device.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(told, 0, "a terminal");
        self.screen.0.screen_mut().set_size(lines, columns);
    }

    /// What is typed does not appear by itself any more.
    ///
    /// # Panics
    /// If the terminal cannot be told.
    pub fn hide_typing(&self) {
        let mut modes = tcgetattr(&self.device).expect("a terminal");
        modes.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&self.device, SetArg::TCSANOW, &modes).expect("a terminal");
    }

    /// Types `keys`.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn press(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("a terminal");
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the program is gone and reaped.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).expect("the program can be signalled");
    }

    /// Waits for the program's end, and reads everything that it has written.
    ///
    /// # Panics
    /// If it does not end within [`patience`].
    pub fn end(&mut self) -> End {
        let begin = Instant::now();
        let end = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break End::from(status);
            }
            assert!(
                begin.elapsed() < patience(),
                "it does not end:\n{}",
                self.contents()
            );
            // An end is not told by the terminal, which this process keeps open too.
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(1)) {
                self.screen.0.process(&bytes);
            }
        };
        self.device
            .write_all(SENTINEL.as_bytes())
            .expect("a terminal");
        self.see(&[SENTINEL]);
        end
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
