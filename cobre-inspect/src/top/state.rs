//! What the user has asked to see, and what each key changes about it.

use nix::sys::signal::Signal;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::sample::Picture;

/// By what ranks are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Rank,
    Wait,
    Compute,
    Calls,
    Memory,
}

impl Sort {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rank => "rank",
            Self::Wait => "wait",
            Self::Compute => "compute",
            Self::Calls => "calls",
            Self::Memory => "memory",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Rank => Self::Wait,
            Self::Wait => Self::Compute,
            Self::Compute => Self::Calls,
            Self::Calls => Self::Memory,
            Self::Memory => Self::Rank,
        }
    }
}

/// The process of a rank, and when it started, so that no other with its number is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) rank: usize,
    pub(super) pid: u32,
    pub(super) started: f64,
}

/// What follows from a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum After {
    Go,
    Quit,
    Send(Target, Signal),
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sort: Sort,
    pub(super) paused: bool,
    /// The rank that is marked.
    pub(super) selected: usize,
    /// Whether it is shown in detail.
    pub(super) detail: bool,
    /// The rank that is asked about whether to end it.
    pub(super) asking: Option<usize>,
    /// What happened last.
    pub(super) said: Option<String>,
}

impl State {
    pub(super) fn say(&mut self, what: String) {
        self.said = Some(what);
    }

    pub(super) fn key(&mut self, key: KeyEvent, picture: &Picture) -> After {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return After::Quit;
        }
        self.said = None;
        if let Some(rank) = self.asking.take() {
            return self.answer(rank, key.code, picture);
        }
        match key.code {
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Esc if self.detail => self.detail = false,
            KeyCode::Esc => return After::Quit,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Down => self.step(picture, 1),
            KeyCode::Up => self.step(picture, -1),
            KeyCode::Enter => self.detail = !self.detail,
            KeyCode::Char('k') => self.asking = Some(self.selected),
            _ => {}
        }
        After::Go
    }

    /// The ranks in the order in which they are shown.
    pub(super) fn order(&self, picture: &Picture) -> Vec<usize> {
        let mut order: Vec<usize> = (0..picture.job.ranks.len()).collect();
        let value = |rank: usize| {
            let [compute, _, wait] = picture.rates[rank].shares.fractions();
            match self.sort {
                Sort::Rank => 0.0,
                Sort::Wait => wait,
                Sort::Compute => compute,
                Sort::Calls => picture.rates[rank].calls,
                Sort::Memory => {
                    let process = picture.job.ranks[rank].process.as_ref();
                    process.map_or(0.0, |facts| facts.resident as f64)
                }
            }
        };
        // Stable: equal ranks stay in order.
        order.sort_by(|&one, &other| value(other).total_cmp(&value(one)));
        order
    }

    fn step(&mut self, picture: &Picture, by: isize) {
        let order = self.order(picture);
        let at = order.iter().position(|&rank| rank == self.selected);
        let at = at.unwrap_or(0).saturating_add_signed(by);
        self.selected = order[at.min(order.len() - 1)];
    }

    fn answer(&mut self, rank: usize, key: KeyCode, picture: &Picture) -> After {
        let signal = match key {
            KeyCode::Char('t') => Signal::SIGTERM,
            KeyCode::Char('9') => Signal::SIGKILL,
            _ => return After::Go,
        };
        match &picture.job.ranks[rank].process {
            Some(facts) => {
                let (pid, started) = (facts.pid, facts.started);
                let target = Target { rank, pid, started };
                After::Send(target, signal)
            }
            None => {
                self.say(format!("rank {rank} has no process"));
                After::Go
            }
        }
    }
}
