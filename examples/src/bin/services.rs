//! Six services on two status boards, without a launcher: who is free is asked of shared memory.
//!
//! `services` plays all six, each as a process: it starts them, and asks A's board who of the team
//! GREEN should get work. `services NAME CONFIG` is one service, which does what it is told by lines.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that talks to a person")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use cobre_shm::board::{
    LeastLoaded, State,
    standing::{Board, Boards},
};

/// The boards, their members and teams.
const CONFIG: &str = include_str!("services.json");

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => play(),
        [name, config] => serve(name, config),
        _ => Err("usage: services [NAME CONFIG]".into()),
    }
}

/// One service: joins, says that it is idle, and then what it is told.
fn serve(name: &str, config: &str) -> Result<(), Box<dyn Error>> {
    let member = Boards::from_json(config)?.join(name)?;
    let status = member.status();
    status.state(State::Idle);
    println!("{name} is on {}", member.board().description().name);
    for line in std::io::stdin().lock().lines() {
        match line?.split_once(' ') {
            Some(("busy", queue)) => {
                let queue = queue.parse()?;
                // Both at once: nobody sees a busy service without its queue.
                status.update(|record| {
                    record.load.state = State::Busy;
                    record.load.queue = queue;
                });
            }
            _ => status.state(State::Shutdown),
        }
        println!("done");
    }
    Ok(())
}

/// A service that was started, and its standard streams.
struct Service {
    child: Child,
    tell: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
}

impl Service {
    fn start(name: &str, config: &str) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([name, config])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let hear = child.stdout.take().ok_or("no output")?;
        let mut service = Self {
            tell: child.stdin.take(),
            child,
            hear: BufReader::new(hear),
        };
        service.answer()?;
        Ok(service)
    }

    fn answer(&mut self) -> Result<(), Box<dyn Error>> {
        let mut line = String::new();
        match self.hear.read_line(&mut line)? {
            0 => Err("a service has ended".into()),
            _ => Ok(()),
        }
    }

    fn tell(&mut self, what: &str) -> Result<(), Box<dyn Error>> {
        let tell = self.tell.as_mut().ok_or("no input")?;
        writeln!(tell, "{what}")?;
        self.answer()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.tell.take());
        let _ = self.child.wait();
    }
}

fn play() -> Result<(), Box<dyn Error>> {
    // Boards of this run alone.
    let config = CONFIG.replace("cobre_host", &format!("cobre-{}-host", std::process::id()));
    let mut services = Vec::new();
    for name in ["A", "B", "C", "D", "E", "F"] {
        services.push(Service::start(name, &config)?);
    }
    let boards = Boards::from_json(&config)?;
    let board = Board::open(&boards.board_of("A")?.name)?;
    let green = board.team("GREEN")?;
    let ask = |what: &str| -> Result<(), Box<dyn Error>> {
        println!("{what}: {}\n", board.explain(&green, &LeastLoaded)?);
        Ok(())
    };
    services[3].tell("busy 5")?;
    ask("D has work")?;
    services[1].tell("busy 7")?;
    ask("B has more")?;
    services[3].tell("shutdown")?;
    ask("D shuts down")?;
    drop(services.remove(1));
    ask("B is gone")?;
    Ok(())
}
