//! The table of the ranks, in the columns that there is room for.

use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Row, Table, TableState},
};

use super::{
    sample::{Picture, Rates},
    state::State,
    view::{COLOURS, Looks},
};
use crate::{
    columns::{self, Columns, Narrower, column},
    job::{Doing, Rank},
};

/// Blanks between columns.
const GAP: usize = 1;
/// Characters of a bar: at least, usually, and where there is room.
const BAR: [usize; 3] = [10, 14, 40];
/// Columns whose cells end at the same place.
const NUMBERS: [&str; 6] = ["RANK", "CALLS/s", "SINCE", "QUEUE", "CPU%", "MEMORY"];

/// What can be done without, from the least on.
const NARROWER: [Narrower; 12] = [
    |ranks| ranks.drop("CORES"),
    |ranks| ranks.drop("SINCE"),
    |ranks| ranks.change("OPERATION", columns::without_arguments),
    |ranks| ranks.change("AT", columns::without_folders),
    |ranks| ranks.change("OPERATION", |cell| front_word(cell).to_owned()),
    |ranks| ranks.drop("QUEUE"),
    |ranks| ranks.change("TIME", |_| " ".repeat(BAR[0])),
    |ranks| ranks.drop("MEMORY"),
    |ranks| ranks.drop("CPU%"),
    |ranks| ranks.drop("CALLS/s"),
    |ranks| ranks.drop("AT"),
    |ranks| ranks.drop("AWAITS"),
];

fn front_word(cell: &str) -> &str {
    cell.split(' ').next().unwrap_or(cell)
}

fn fitted(picture: &Picture, width: usize) -> Columns {
    let job = &picture.job;
    let rates =
        |title, show: fn(&Rates) -> String| (title, picture.rates.iter().map(show).collect());
    let all = [
        column("RANK", job, |rank| Some(rank.rank.to_string())),
        column("STATE", job, columns::state),
        rates("TIME", |_| " ".repeat(BAR[1])),
        rates("CALLS/s", |rates| format!("{:.0}", rates.calls)),
        column("OPERATION", job, columns::operation),
        column("AT", job, columns::place),
        column("AWAITS", job, columns::awaited),
        column("SINCE", job, columns::since),
        column("DONE", job, columns::done),
        column("QUEUE", job, columns::queue),
        rates("CPU%", |rates| format!("{:.0}", rates.cpu * 100.0)),
        column("MEMORY", job, columns::memory),
        column("CORES", job, columns::cores),
    ];
    let mut ranks = Columns::new(GAP, all)
        .without_silent(&["DONE", "QUEUE", "OPERATION", "AT"])
        .fit(&NARROWER, Some(width));
    let spare = width.saturating_sub(ranks.width());
    ranks.change("TIME", |bar| " ".repeat((bar.len() + spare).min(BAR[2])));
    ranks
}

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    picture: &Picture,
    state: &State,
    looks: Looks,
) {
    let order = state.order(picture);
    let columns = fitted(picture, area.width.into());
    let titles = columns.titles();
    let widths = (0..titles.len()).map(|column| columns.width_of(column));
    let widths: Vec<Constraint> = widths
        .map(|width| Constraint::Length(width as u16))
        .collect();
    let header = titles.iter().map(|title| aligned(title, title));
    let header = Row::new(header).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let rows = order.iter().map(|&rank| {
        let cells = titles.iter().zip(columns.row(rank));
        let seen = &picture.job.ranks[rank];
        Row::new(cells.map(|(title, text)| match *title {
            "STATE" => Cell::from(Span::styled(text.to_owned(), looks.style(colour(seen)))),
            "TIME" => Cell::from(bar(&picture.rates[rank], text.len(), looks)),
            _ => aligned(title, text),
        }))
    });
    let table = Table::new(rows, widths)
        .column_spacing(GAP as u16)
        .header(header)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = order.iter().position(|&rank| rank == state.selected);
    let mut position = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut position);
}

fn aligned(title: &str, text: &str) -> Cell<'static> {
    let line = Line::from(text.to_owned());
    Cell::from(match NUMBERS.contains(&title) {
        true => line.right_aligned(),
        false => line,
    })
}

fn colour(rank: &Rank) -> Color {
    match rank.doing {
        Doing::Computing | Doing::Starting => COLOURS[0],
        Doing::Copying => COLOURS[1],
        Doing::Waiting => COLOURS[2],
        _ => Color::Reset,
    }
}

/// Compute, copy and wait, one after the other, to the nearest of `width` parts.
fn bar<'a>(rates: &Rates, width: usize, looks: Looks) -> Line<'a> {
    let mut spans = Vec::new();
    let (mut sum, mut drawn) = (0.0, 0);
    let parts = rates.shares.fractions().into_iter();
    for ((part, mark), colour) in parts.zip(looks.marks()).zip(COLOURS) {
        sum += part;
        let end = (sum * width as f64).round() as usize;
        spans.push(Span::styled(mark.repeat(end - drawn), looks.style(colour)));
        drawn = end;
    }
    Line::from(spans)
}
