//! The screen.

use std::env;

use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{ranks, sample::Picture, state::State};
use crate::{diagnosis, job::Rank, show, text};

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    pub(super) colour: bool,
    pub(super) unicode: bool,
}

impl Looks {
    /// As `NO_COLOR` and the locale say.
    pub(super) fn from_env() -> Self {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let locale = locale.unwrap_or_default().to_lowercase();
        Self {
            colour: set("NO_COLOR").is_none(),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    pub(super) fn style(self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// What compute, copy and wait are drawn with.
    pub(super) fn marks(self) -> [&'static str; 3] {
        if self.unicode {
            ["█", "▒", "·"]
        } else {
            ["#", "=", "."]
        }
    }
}

pub(super) const COLOURS: [Color; 3] = [Color::Green, Color::Yellow, Color::Red];
const KINDS: [&str; 3] = ["compute", "copy", "wait"];
/// The most lines that are said below the ranks.
const NOTE_LINES: usize = 8;

pub(super) fn draw(frame: &mut Frame<'_>, picture: &Picture, state: &State, looks: Looks) {
    let notes = notes(picture, state);
    let width = usize::from(frame.area().width);
    let mut notes: Vec<String> = notes
        .iter()
        .flat_map(|note| text::wrap(note, width))
        .collect();
    notes.truncate(NOTE_LINES);
    let detail = if state.detail { 6 } else { 0 };
    let note_lines = notes.len() as u16;
    let rows = [
        Constraint::Length(2),
        Constraint::Min(3),
        Constraint::Length(detail),
        Constraint::Length(note_lines),
        Constraint::Length(1),
    ];
    let [head, table, details, said, keys] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(title(picture, state, looks)), head);
    ranks::draw(frame, table, picture, state, looks);
    if state.detail {
        let rank = &picture.job.ranks[state.selected];
        frame.render_widget(Paragraph::new(details_of(rank)), details);
    }
    let notes: Vec<Line<'_>> = notes.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(notes), said);
    let help = "q quit  p pause  s sort  Up/Down choose  Enter details  k end a rank";
    let help = Line::styled(help, Style::new().add_modifier(Modifier::REVERSED));
    frame.render_widget(Paragraph::new(help), keys);
}

fn title<'a>(picture: &Picture, state: &State, looks: Looks) -> Vec<Line<'a>> {
    let job = &picture.job;
    let now = match (picture.ended, state.paused) {
        (true, _) => "ended",
        (_, true) => "paused",
        _ => job.state,
    };
    let fastest = picture
        .rates
        .iter()
        .map(|rates| rates.calls)
        .fold(0.0, f64::max);
    let cpu: f64 = picture.rates.iter().map(|rates| rates.cpu).sum();
    let first = format!(
        "{}  {}  {now}{}  {fastest:.0} calls/s  {cpu:.1} cpus",
        text::front(&job.name, 24),
        text::count(job.ranks.len(), "rank"),
        show::up(job, "  ")
    );
    let mut legend = vec![Span::raw(format!("sorted by {}   ", state.sort.name()))];
    for ((kind, mark), colour) in KINDS.into_iter().zip(looks.marks()).zip(COLOURS) {
        legend.push(Span::styled(mark, looks.style(colour)));
        legend.push(Span::raw(format!(" {kind}  ")));
    }
    let bold = Style::new().add_modifier(Modifier::BOLD);
    vec![Line::styled(first, bold), Line::from(legend)]
}

fn details_of(rank: &Rank) -> Vec<Line<'static>> {
    let operation = rank.operation.as_ref();
    let place = operation.map_or("none yet".to_owned(), |op| op.show());
    let at = operation
        .and_then(|op| op.location.clone())
        .unwrap_or_default();
    let mut lines = vec![
        format!(
            "rank {}: {}, {} begun",
            rank.rank,
            rank.state(),
            text::count(rank.calls as usize, "collective")
        ),
        format!("operation {place}"),
        format!("at {at}"),
    ];
    if let Some(said) = rank.said.as_ref().filter(|said| !said.show().is_empty()) {
        lines.push(format!("it says: {}", said.show()));
    }
    if let Some(facts) = &rank.process {
        lines.push(format!(
            "process {}: {}, cpu {}, memory {} (peak {}), cores {}",
            facts.pid,
            text::count(facts.threads as usize, "thread"),
            text::seconds(facts.cpu),
            text::bytes(facts.resident),
            text::bytes(facts.peak),
            facts.allowed.as_deref().unwrap_or("?")
        ));
        lines.push(text::clean(&facts.command).into_owned());
    }
    lines.into_iter().map(Line::from).collect()
}

fn notes(picture: &Picture, state: &State) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(rank) = state.asking {
        let pid = picture.job.ranks[rank].pid;
        notes.push(format!(
            "end rank {rank} (process {pid})? t SIGTERM, 9 SIGKILL, any other key: no"
        ));
    }
    notes.extend(state.said.clone());
    if picture.ended {
        let how = picture.job.failure.as_ref();
        let how = how.map_or_else(String::new, |how| format!(": {how}"));
        notes.push(format!(
            "the job has ended{how}; this is what was seen last"
        ));
    } else {
        notes.extend(diagnosis::sentences(&picture.job));
    }
    notes.truncate(3);
    notes
}

#[cfg(test)]
pub(super) mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{Looks, draw};
    use crate::{
        job::{Doing, Job, Wait},
        top::{
            sample::{Picture, Rates, Shares},
            state::State,
        },
    };

    const PLAIN: Looks = Looks {
        colour: false,
        unicode: false,
    };

    /// Rank 1 computes, rank 0 waits for it.
    pub(in crate::top) fn picture() -> Picture {
        let wait = Wait {
            rank: 1,
            seconds: 12.4,
        };
        let shares = |compute, copy, wait| Rates {
            shares: Shares {
                compute,
                copy,
                wait,
            },
            calls: 1234.0,
            cpu: 0.5,
        };
        let mut job = Job::example(2);
        job.ranks[0].doing = Doing::Waiting;
        job.ranks[0].waits = Some(wait);
        Picture {
            job,
            rates: vec![shares(5, 5, 10), shares(20, 0, 0)],
            ended: false,
        }
    }

    fn screen(picture: &Picture, state: &State, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| draw(frame, picture, state, PLAIN))
            .unwrap();
        let buffer = terminal.backend().buffer().clone();
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        let lines = cells.chunks(width.into()).map(|line| line.concat());
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    #[test]
    fn a_screen_of_80_by_24_shows_who_waits_for_whom() {
        let screen = screen(&picture(), &State::default(), 80, 24);
        let expected = [
            "/cobre-0123456789abcdef  2 ranks  running  up 61 s  1234 calls/s  1.0 cpus",
            "sorted by rank   # compute  = copy  . wait",
            "RANK STATE     TIME         CALLS/s OPERATION AT             AWAITS CPU%  MEMORY",
            "   0 waiting   ###===......    1234 allreduce forward.rs:120 rank 1   50 12.3 MB",
            "   1 computing ############    1234 allreduce forward.rs:120 -        50 12.3 MB",
        ];
        assert_eq!(screen[..5], expected);
        let all = screen.join("\n");
        assert!(
            all.contains("rank 0 waits for rank 1 in allreduce(f64[156], Sum) #17 at"),
            "{all}"
        );
        assert!(screen[23].starts_with("q quit"), "{all}");
    }

    #[test]
    fn a_wide_screen_shows_more() {
        let mut picture = picture();
        let progress = crate::job::Said {
            state: "busy",
            queue: 0,
            items: 0,
            progress: Some((33, 200)),
            text: String::new(),
            age: 0.0,
        };
        picture.job.ranks[0].said = Some(progress);
        let screen = screen(&picture, &State::default(), 200, 50);
        let expected = [
            "RANK STATE     TIME                                     CALLS/s OPERATION                    \
             AT                 AWAITS  SINCE DONE   CPU%  MEMORY CORES",
            "   0 waiting   ##########==========....................    1234 allreduce(f64[156], Sum) #17 \
             src/forward.rs:120 rank 1 12.4 s 33/200   50 12.3 MB -",
        ];
        assert_eq!(screen[2..4], expected);
        // Also in a narrow one, which has no room for how many collectives there were.
        let narrow = self::screen(&picture, &State::default(), 80, 24);
        assert!(narrow[3].contains(" 33/200 "), "{}", narrow[3]);
    }

    #[test]
    fn short_waits_are_not_told_and_an_end_is_with_its_cause() {
        let mut picture = picture();
        if let Some(wait) = &mut picture.job.ranks[0].waits {
            wait.seconds = 0.02;
        }
        let all = screen(&picture, &State::default(), 80, 24).join("\n");
        assert!(!all.contains("waits for"), "{all}");
        picture.ended = true;
        picture.job.failure = Some("rank 1 (pid 4001) was killed by signal 9".to_owned());
        let all = screen(&picture, &State::default(), 80, 24).join("\n");
        let told = "the job has ended: rank 1 (pid 4001) was killed by signal 9; this is what was";
        assert!(all.contains(told), "{all}");
    }

    #[test]
    fn what_others_wrote_does_not_control_the_screen() {
        let mut picture = picture();
        let evil = "\u{1b}]0;X\u{7}\n\u{202e}x";
        for rank in &mut picture.job.ranks {
            rank.said = Some(crate::job::Said {
                state: "computing",
                queue: 0,
                items: 0,
                progress: None,
                text: evil.to_owned(),
                age: 0.0,
            });
            if let Some(facts) = &mut rank.process {
                facts.command = evil.to_owned();
            }
        }
        let state = State {
            detail: true,
            ..State::default()
        };
        let screen = screen(&picture, &state, 80, 24).join("\n");
        let seen = r"\u{1b}]0;X\u{7}\n\u{202e}x";
        assert_eq!(screen.matches(seen).count(), 2, "{screen}");
        assert!(
            !screen
                .replace('\n', "")
                .contains(cobre_comm_trait::text::is_misleading)
        );
    }

    #[test]
    fn any_size_can_be_drawn() {
        let state = State {
            detail: true,
            asking: Some(1),
            selected: 1,
            ..State::default()
        };
        for (width, height) in [(1, 1), (10, 3), (40, 10), (300, 100)] {
            let _ = screen(&picture(), &state, width, height);
        }
    }

    #[test]
    fn ending_a_rank_asks_first() {
        use crate::top::state::{After, Target};
        use nix::sys::signal::Signal;
        use ratatui::crossterm::event::{KeyCode, KeyEvent};
        let (picture, mut state) = (picture(), State::default());
        let mut press = |key| state.key(KeyEvent::from(key), &picture);
        assert_eq!(press(KeyCode::Char('t')), After::Go);
        assert_eq!(press(KeyCode::Down), After::Go);
        assert_eq!(press(KeyCode::Char('k')), After::Go);
        assert_eq!(press(KeyCode::Char('n')), After::Go);
        assert_eq!(press(KeyCode::Char('t')), After::Go);
        assert_eq!(press(KeyCode::Char('k')), After::Go);
        let target = Target {
            rank: 1,
            pid: 4001,
            started: 0.0,
        };
        assert_eq!(
            press(KeyCode::Char('t')),
            After::Send(target, Signal::SIGTERM)
        );
        assert_eq!(press(KeyCode::Char('q')), After::Quit);
    }

    #[test]
    fn the_slowest_can_be_sorted_to_the_top() {
        use ratatui::crossterm::event::{KeyCode, KeyEvent};
        let (picture, mut state) = (picture(), State::default());
        assert_eq!(state.order(&picture), [0, 1]);
        for expected in [[0, 1], [1, 0]] {
            state.key(KeyEvent::from(KeyCode::Char('s')), &picture);
            assert_eq!(state.order(&picture), expected, "{:?}", state.sort);
        }
    }
}
