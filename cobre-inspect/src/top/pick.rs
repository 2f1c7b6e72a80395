//! The list from which a job is chosen, and the wait for the first one.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Modifier, Style},
    text::Line,
    widgets::{Paragraph, Row, Table, TableState},
};

use super::LOOK;
use crate::{
    handle::{self, Handle},
    job::Job,
    list, text,
};

/// The longest time between two looks for the first job, which may be a short one.
const SOON: Duration = Duration::from_millis(200);

/// Where the choice stands.
#[derive(Debug, Default)]
struct Picker {
    /// By name, so that it stays when jobs come and go.
    selected: Option<String>,
}

/// What follows from a key.
#[derive(Debug, PartialEq)]
enum After {
    Go,
    Quit,
    Take,
}

/// The job that the user chooses; if `wait` and there is none yet, the first one that comes. `None` if
/// the user, or a signal, has ended it.
pub(super) fn pick(
    terminal: &mut DefaultTerminal,
    wait: bool,
    interval: Duration,
    ended_by: &AtomicUsize,
) -> io::Result<Option<Handle>> {
    let mut picker = Picker::default();
    let mut waits = wait;
    loop {
        let mut found = look();
        if waits && found.len() == 1 {
            return Ok(found.pop().map(|(handle, _)| handle));
        }
        waits &= found.is_empty();
        let jobs: Vec<Job> = found.iter().map(|(_, job)| job.clone()).collect();
        let looked = Instant::now();
        let interval = match jobs.len() {
            0 => interval.min(SOON),
            _ => interval,
        };
        loop {
            let at = picker.at(&jobs);
            terminal.draw(|frame| draw(frame, &jobs, at))?;
            match next_key(ended_by, interval.saturating_sub(looked.elapsed()))? {
                Some(key) => match picker.key(key, &jobs) {
                    After::Go => {}
                    After::Quit => return Ok(None),
                    After::Take => return Ok(Some(found.swap_remove(at).0)),
                },
                None if ended_by.load(Ordering::Relaxed) != 0 => return Ok(None),
                None => break,
            }
        }
    }
}

fn look() -> Vec<(Handle, Job)> {
    let (handles, _) = handle::find();
    let jobs = handles.into_iter();
    jobs.filter_map(|handle| handle.look().ok().map(|job| (handle, job)))
        .collect()
}

/// A key, if one is pressed within that time.
fn next_key(ended_by: &AtomicUsize, within: Duration) -> io::Result<Option<KeyEvent>> {
    let begin = Instant::now();
    while ended_by.load(Ordering::Relaxed) == 0 {
        if event::poll(LOOK)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => return Ok(Some(key)),
                // Drawn again at once.
                Event::Resize(..) => return Ok(None),
                _ => {}
            }
        }
        if begin.elapsed() >= within {
            break;
        }
    }
    Ok(None)
}

impl Picker {
    /// The place of the chosen job: the first, if that is gone.
    fn at(&self, jobs: &[Job]) -> usize {
        let chosen = |job: &Job| Some(&job.name) == self.selected.as_ref();
        jobs.iter().position(chosen).unwrap_or(0)
    }

    fn key(&mut self, key: KeyEvent, jobs: &[Job]) -> After {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let at = self.at(jobs);
        let next = match key.code {
            KeyCode::Char('c') if control => return After::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return After::Quit,
            KeyCode::Enter if !jobs.is_empty() => return After::Take,
            KeyCode::Down => at + 1,
            KeyCode::Up => at.saturating_sub(1),
            _ => at,
        };
        let next = jobs.get(next.min(jobs.len().saturating_sub(1)));
        self.selected = next.map(|job| job.name.clone());
        After::Go
    }
}

fn draw(frame: &mut Frame<'_>, jobs: &[Job], selected: usize) {
    let rows = [
        Constraint::Length(2),
        Constraint::Min(1),
        Constraint::Length(1),
    ];
    let [head, area, keys] = Layout::vertical(rows).areas(frame.area());
    let title = match jobs.len() {
        0 => "no job of this user runs here yet: waiting for one".to_owned(),
        n => format!("{}: which one?", text::count(n, "job")),
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(Line::styled(title, bold)), head);
    let cells: Vec<[String; 7]> = jobs
        .iter()
        .map(|job| list::row(job, Some(area.width.into())))
        .map(|row| row.map(|cell| text::clean(&cell).into_owned()))
        .collect();
    let widths = (0..list::HEADER.len()).map(|column| {
        let cells = cells.iter().map(|row| row[column].chars().count());
        Constraint::Length(cells.fold(list::HEADER[column].len(), usize::max) as u16)
    });
    let header = Row::new(list::HEADER).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let table = Table::new(cells.iter().map(|row| Row::new(row.clone())), widths)
        .column_spacing(text::GAP as u16)
        .header(header)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut position = TableState::new().with_selected((!jobs.is_empty()).then_some(selected));
    if !jobs.is_empty() {
        frame.render_stateful_widget(table, area, &mut position);
    }
    let help = Line::styled(
        "q quit  Up/Down choose  Enter show",
        Style::new().add_modifier(Modifier::REVERSED),
    );
    frame.render_widget(Paragraph::new(help), keys);
}

#[cfg(test)]
mod tests {
    use ratatui::{
        Terminal,
        backend::TestBackend,
        crossterm::event::{KeyCode, KeyEvent},
    };

    use super::{After, Picker, draw};
    use crate::{job::Job, top::view::tests::picture};

    fn jobs(names: &[&str]) -> Vec<Job> {
        let job = |name: &&str| Job {
            name: (*name).to_owned(),
            ..picture().job
        };
        names.iter().map(job).collect()
    }

    #[test]
    fn a_choice_stays_when_jobs_come_and_go() {
        let mut picker = Picker::default();
        let mut press = |key, jobs: &[Job]| {
            let after = picker.key(KeyEvent::from(key), jobs);
            (after, picker.at(jobs))
        };
        let three = jobs(&["/a", "/b", "/c"]);
        assert_eq!(press(KeyCode::Up, &three), (After::Go, 0));
        assert_eq!(press(KeyCode::Down, &three), (After::Go, 1));
        let other = jobs(&["/c", "/x", "/b"]);
        assert_eq!(press(KeyCode::Enter, &other), (After::Take, 2));
        assert_eq!(press(KeyCode::Down, &other), (After::Go, 2));
        // The chosen one has ended.
        assert_eq!(press(KeyCode::Enter, &jobs(&["/y"])), (After::Take, 0));
        // Without jobs there is nothing to take, and one may leave.
        assert_eq!(press(KeyCode::Enter, &[]), (After::Go, 0));
        assert_eq!(press(KeyCode::Char('q'), &[]).0, After::Quit);
    }

    #[test]
    fn the_list_says_what_it_waits_for_and_fits_any_size() {
        for (width, height) in [(80, 24), (1, 1), (200, 50)] {
            for names in [&[][..], &["/cobre-1"], &["/cobre-1", "/cobre-2"]] {
                let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
                terminal.draw(|frame| draw(frame, &jobs(names), 0)).unwrap();
                let shown = terminal.backend().to_string();
                let told = ["waiting for one", "1 job: which one?", "2 jobs: which one?"];
                assert!(width < 80 || shown.contains(told[names.len()]), "{shown}");
                assert!(width < 80 || names.iter().all(|name| shown.contains(name)));
            }
        }
    }
}
