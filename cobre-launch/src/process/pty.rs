//! `--pty`: what a rank writes to is a terminal of its own, for programs that write line by line
//! only then. The rank stays in the launcher's session and process group: this terminal controls
//! nobody.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, Winsize, tcgetattr, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};

use crate::plan::Plan;

/// A new terminal of this size: the launcher's end, and the rank's.
pub(crate) fn open(size: Winsize) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    let mut modes = tcgetattr(&theirs)?;
    // What is written arrives unchanged, as through a pipe: no carriage return before a newline.
    modes.output_modes.remove(OutputModes::OPOST);
    // Nobody types here.
    modes.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&theirs, OptionalActions::Now, &modes)?;
    resize(&ours, size)?;
    Ok((ours, theirs))
}

/// Changes the size of the terminal of which this is an end.
pub(crate) fn resize(end: impl AsFd, size: Winsize) -> io::Result<()> {
    Ok(tcsetwinsize(end, size)?)
}

/// The size of the ranks' terminals: that of the launcher's, or the customary one; without the
/// columns that labels take.
pub(crate) fn size(plan: &Plan) -> Winsize {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let size = tcgetwinsize(&stdout)
        .or_else(|_| tcgetwinsize(&stderr))
        .ok();
    let mut size = size.filter(|size| size.ws_col > 0).unwrap_or(Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    });
    // Brackets and a blank.
    let label = plan.label_width().map_or(0, |digits| digits + 3);
    let label = u16::try_from(label).unwrap_or(u16::MAX);
    size.ws_col = size.ws_col.saturating_sub(label).max(1);
    size
}
