//! Shows the jobs and status boards of this user from outside.
//!
//! | module | |
//! |---|---|
//! | `cli` | the command line |
//! | `about` | completions and manual pages |
//! | `find`, `process`, `memory` | what the system says: segments, processes, mappings |
//! | `handle`, `job`, `select` | a job read from these; as it is shown; which one is meant |
//! | `diagnosis`, `columns` | who waits for whom; tables of ranks |
//! | `board` | standing boards: `board`, `route` |
//! | `list`, `show`, `watch`, `metrics`, `serve`, `doctor`, `topology`, `clean`, `top` | one command each |
//!
//! What is read from shared memory is read by [`cobre_shm::inspect`]; nothing here maps it.
#![cfg(target_os = "linux")]

mod about;
mod board;
mod clean;
mod cli;
mod columns;
mod diagnosis;
mod doctor;
mod error;
mod find;
mod handle;
mod job;
mod list;
mod memory;
mod metrics;
mod process;
mod select;
mod serve;
mod show;
mod text;
mod top;
mod topology;
mod watch;

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use clap::Parser;
use cobre_comm_trait::text::is_misleading;
use cobre_profile::{Profile, Results};
use cobre_shm::board::{LeastLoaded, policy_by_name};
use serde::Serialize;

use crate::{
    cli::{Cli, Command},
    error::Error,
    handle::Handle,
    job::Job,
};

/// Runs the inspector with the command line `args`, the program's own name first: exits with 0, with 1
/// if it could not do what was asked for, or with 2 if it did not understand it.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let unclear = |error: clap::Error| {
        // Without a terminal there is nobody to tell.
        let _ = error.print();
        ExitCode::from(error.exit_code() as u8)
    };
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return unclear(error),
    };
    let done = match &cli.command {
        Some(asked) => command(cli.json, asked),
        None => match cli.about.text() {
            Ok(text) => write(&text),
            Err(error) => return unclear(error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = error.to_string();
            let _ = writeln!(io::stderr(), "cobre-inspect: {}", text::clean(&error));
            ExitCode::FAILURE
        }
    }
}

fn command(json: bool, asked: &Command) -> Result<(), Error> {
    match asked {
        Command::List => {
            let listed = list::list();
            print(json, &listed, || listed.show())
        }
        Command::Show(which) => {
            let job = whole(&select::job(which.job.as_deref())?)?;
            print(json, &job, || show::show(&job, text::columns()))
        }
        Command::Top(top) => {
            if json {
                return Err(Error::NoScreen("a full screen is not data"));
            }
            top::run(top)
        }
        Command::Watch(watch) => watch_jobs(json, watch),
        Command::Board(which) => {
            let board = board::Board::new(&board::select(which.board.as_deref())?);
            print(json, &board, || board.show())
        }
        Command::Route(route) => {
            let board = board::select(route.which.board.as_deref())?;
            // One of the names that the command line takes.
            let policy = policy_by_name(&route.policy).unwrap_or_else(|| Box::new(LeastLoaded));
            let routed = board::route(&board, route.team.as_deref(), &*policy)?;
            print(json, &routed, || routed.show())?;
            routed.outcome()
        }
        Command::Metrics(metrics) => match &metrics.listen {
            None => {
                let jobs = jobs();
                print(json, &jobs, || metrics::text(&jobs, &boards()))
            }
            Some(address) => {
                let (listener, bound) = address.clone().listen()?;
                write(&format!("serving {bound}\n"))?;
                serve::serve(&listener, || metrics::text(&jobs(), &boards()))
            }
        },
        Command::Topology(which) => {
            let seen = topology::look(which)?;
            print(json, &seen.data(), || seen.show())
        }
        Command::Doctor(doctor) => {
            let ranks = doctor.n as usize;
            let findings = doctor::examine(ranks);
            print(json, &findings, || doctor::show(ranks, &findings))
        }
        Command::Clean(args) => {
            let swept = clean::clean(args.dry_run)?;
            print(json, &swept, || clean::show(&swept))
        }
        Command::Plot(files) => plot(json, files),
    }
}

fn plot(json: bool, files: &cli::Plot) -> Result<(), Error> {
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |source| Error::File { path, source }
    };
    let text = fs::read_to_string(&files.profile).map_err(failed(&files.profile))?;
    let profile = Profile::from_json(&text).map_err(|why| Error::NoProfile {
        path: files.profile.clone(),
        why,
    })?;
    match &files.picture {
        Some(path) => {
            let picture = cobre_profile::plot(&profile);
            let file = Results::create(path);
            file.and_then(|mut file| file.write_all(picture.as_bytes()))
                .map_err(failed(path))
        }
        None => print(json, &profile, || cobre_profile::plot(&profile)),
    }
}

fn watch_jobs(json: bool, watch: &cli::Watch) -> Result<(), Error> {
    let mut looks = 0;
    loop {
        let jobs = match &watch.which.job {
            Some(name) => vec![whole(&select::job(Some(name))?)?],
            None => jobs(),
        };
        for job in &jobs {
            print(json, job, || watch::line(job))?;
        }
        looks += 1;
        if watch.count.is_some_and(|count| looks >= count) {
            return Ok(());
        }
        thread::sleep(watch.interval);
    }
}

/// Everything about the job.
fn whole(handle: &Handle) -> Result<Job, Error> {
    let mut job = handle.look()?;
    job.memory.windows = handle.windows(&job);
    Ok(job)
}

/// Every job that can be read.
fn jobs() -> Vec<Job> {
    let (handles, _) = handle::find();
    handles
        .iter()
        .filter_map(|handle| whole(handle).ok())
        .collect()
}

/// Every board that can be read.
fn boards() -> Vec<board::Board> {
    board::find().into_iter().flatten().collect()
}

fn print(json: bool, data: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Error> {
    if !json {
        // What others wrote is cleaned where it is put into lines; whatever that forgets, here.
        return write(&text::clean_lines(&text()));
    }
    let text = serde_json::to_string(data).map_err(io::Error::from);
    let text = text.map_err(Error::system("cannot make JSON"))?;
    write(&(escape_json(&text) + "\n"))
}

/// The same JSON without characters that could control a terminal: they stand in strings only, where
/// an escape is the same character.
fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_misleading(c) {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            escaped.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn write(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(Error::system("cannot write")),
    }
}

#[cfg(test)]
mod tests {
    use super::escape_json;

    #[test]
    fn json_is_exact_and_controls_no_terminal() {
        let text = "a\u{1b}[31m\u{9b}\u{202e}\u{e0001}\n\"ß";
        let json = serde_json::to_string(text).unwrap();
        let safe = escape_json(&json);
        assert_eq!(safe, r#""a\u001b[31m\u009b\u202e\udb40\udc01\n\"ß""#);
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }
}
