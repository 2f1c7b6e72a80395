//! A member of a standing board: `board-member CONFIG NAME` joins, prints `joined`, then does what the
//! lines of its standard input say.
//!
//! | line | what it does |
//! |---|---|
//! | `idle`, `busy`, `shutdown` | publishes the state, prints it |
//! | `queue N` | publishes the queue, prints `queue` |
//! | `update` | publishes as fast as it can, until it is killed; prints `update` before |
//! | `exit` | exits at once, without leaving by itself |
//! | `leave`, or the end of the input | leaves, prints `left` |

use std::io::{BufRead, stdin};

use cobre_shm::board::{State, standing::Boards};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, config, name] = &std::env::args().collect::<Vec<_>>()[..] else {
        return Err("usage: board-member CONFIG NAME".into());
    };
    let member = match Boards::from_file(config)?.join(name) {
        Ok(member) => member,
        Err(error) => return say(&format!("refused {error}")),
    };
    say("joined")?;
    let status = member.status();
    for line in stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("idle", _) => status.state(State::Idle),
            ("busy", _) => status.state(State::Busy),
            ("shutdown", _) => status.state(State::Shutdown),
            ("queue", depth) => status.queue(depth.parse()?),
            ("update", _) => {
                say("update")?;
                loop {
                    status.update(|record| record.load.queue += 1);
                }
            }
            ("exit", _) => std::process::exit(0),
            ("leave", _) => break,
            _ => return Err(format!("cannot do {line:?}").into()),
        }
        say(line.split(' ').next().unwrap_or_default())?;
    }
    drop(member);
    say("left")
}

fn say(line: &str) -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
