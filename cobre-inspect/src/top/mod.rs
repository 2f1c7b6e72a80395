//! `top`: one job live, full screen.
//!
//! Which job it is may be chosen from a list (`pick`). Then one loop: look at shared memory many times a
//! second (`sample`), take in keys (`state`), and draw once in an interval or after a key (`view`).

mod pick;
mod ranks;
mod sample;
mod state;
mod view;

use std::{
    env,
    io::{self, IsTerminal},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal},
};

use crate::{cli, error::Error, process, select};
use sample::Sampler;
use state::{After, State, Target};
use view::Looks;

/// Time between two looks at shared memory.
const LOOK: Duration = Duration::from_millis(20);

/// What ends a program that does not ask for more.
const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Shows a job until the user has seen enough. The terminal is given back as it was, also after a
/// signal that ends this process, and after a panic (by ratatui's hook).
pub(crate) fn run(args: &cli::Top) -> Result<(), Error> {
    let terminal = env::var("TERM").unwrap_or_default();
    if !io::stdout().is_terminal() {
        return Err(Error::NoScreen("standard output is no terminal"));
    }
    if matches!(terminal.as_str(), "" | "dumb") {
        return Err(Error::NoScreen(
            "the terminal (TERM) cannot show a full screen",
        ));
    }
    let handle = match select::job(args.which.job.as_deref()) {
        Ok(handle) => Some(handle),
        // Chosen on the screen.
        Err(Error::WhichJob(_)) => None,
        Err(Error::NoJobs) if args.wait => None,
        Err(error) => return Err(error),
    };
    let ended_by = Arc::new(AtomicUsize::new(0));
    for signal in ENDING {
        let signal = signal as i32;
        signal_hook::flag::register_usize(signal, Arc::clone(&ended_by), signal as usize)
            .map_err(Error::system("cannot listen for signals"))?;
    }
    let mut terminal = ratatui::try_init().map_err(Error::system("cannot take the screen"))?;
    let picked = match handle {
        None => pick::pick(&mut terminal, args.wait, args.interval, &ended_by),
        handle => Ok(handle),
    };
    let outcome = match picked {
        Ok(Some(handle)) => Sampler::new(handle)
            .map(|mut sampler| live(&mut terminal, &mut sampler, args.interval, &ended_by)),
        Ok(None) => Ok(Ok(())),
        Err(error) => Ok(Err(error)),
    };
    // Shows the cursor again.
    drop(terminal);
    ratatui::restore();
    let signal = ended_by.load(Ordering::Relaxed);
    if signal != 0 {
        // As it would have ended without listening.
        let ended = signal_hook::low_level::emulate_default_handler(signal as i32);
        ended.map_err(Error::system("cannot end by the signal"))?;
    }
    outcome?.map_err(Error::system("the terminal failed"))
}

fn live(
    terminal: &mut DefaultTerminal,
    sampler: &mut Sampler,
    interval: Duration,
    ended_by: &AtomicUsize,
) -> io::Result<()> {
    let looks = Looks::from_env();
    let mut state = State::default();
    let mut picture = sampler.refresh();
    let mut refreshed = Instant::now();
    loop {
        terminal.draw(|frame| view::draw(frame, &picture, &state, looks))?;
        loop {
            if ended_by.load(Ordering::Relaxed) != 0 {
                return Ok(());
            }
            if event::poll(LOOK)? {
                match event::read()? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        match state.key(key, &picture) {
                            After::Go => {}
                            After::Quit => return Ok(()),
                            After::Send(target, signal) => {
                                state.say(send(sampler, target, signal));
                            }
                        }
                        break;
                    }
                    Event::Resize(..) => break,
                    _ => {}
                }
            }
            sampler.look();
            if refreshed.elapsed() >= interval {
                refreshed = Instant::now();
                let next = sampler.refresh();
                if !state.paused {
                    picture = next;
                    break;
                }
            }
        }
    }
}

/// Sends a signal to a process, if it is still the rank that was shown.
fn send(sampler: &Sampler, target: Target, signal: Signal) -> String {
    let pid = target.pid;
    match try_to_send(sampler, target, signal) {
        Ok(true) => format!("sent {signal} to process {pid}"),
        Ok(false) | Err(Errno::SRCH) => format!("process {pid} has gone"),
        Err(Errno::XDEV) => format!(
            "cannot signal process {pid}: /proc is that of another PID namespace, whose numbers mean \
             other processes here"
        ),
        Err(error) => format!("cannot signal process {pid}: {error}"),
    }
}

/// `false` if the process is not the rank that was shown.
fn try_to_send(sampler: &Sampler, target: Target, signal: Signal) -> rustix::io::Result<bool> {
    if !process::numbers_are_ours() {
        return Err(Errno::XDEV);
    }
    let pid = Pid::from_raw(target.pid.cast_signed()).ok_or(Errno::SRCH)?;
    let signal = rustix::process::Signal::from_named_raw(signal as i32).ok_or(Errno::INVAL)?;
    // What is looked at after the handle was opened is the process that the handle means: were it
    // a later one of the same number, it would have started later, or be no rank of this job.
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let now = sampler.process(target.rank);
    if now.is_none_or(|now| (now.pid, now.started) != (target.pid, target.started)) {
        return Ok(false);
    }
    pidfd_send_signal(&handle, signal)?;
    Ok(true)
}
