//! A table of the ranks by columns, which makes do with the width there is.

use crate::{
    job::{Job, Rank, Said},
    text,
};

/// Titles with a cell for each rank.
#[derive(Debug)]
pub(crate) struct Columns {
    /// Blanks between them.
    gap: usize,
    columns: Vec<(&'static str, Vec<String>)>,
}

/// A step that makes a table narrower.
pub(crate) type Narrower = fn(&mut Columns);

impl Columns {
    pub(crate) fn new(
        gap: usize,
        columns: impl IntoIterator<Item = (&'static str, Vec<String>)>,
    ) -> Self {
        Self {
            gap,
            columns: columns.into_iter().collect(),
        }
    }

    /// Without these columns if they say nothing about any rank: have a dash, or 0, for each.
    pub(crate) fn without_silent(mut self, titles: &[&str]) -> Self {
        let is_silent = |cell: &String| cell == "-" || cell == "0";
        self.columns
            .retain(|(title, cells)| !titles.contains(title) || !cells.iter().all(is_silent));
        self
    }

    /// Takes one step after the other until it fits.
    pub(crate) fn fit(mut self, steps: &[Narrower], columns: Option<usize>) -> Self {
        for narrow in steps {
            if columns.is_none_or(|columns| self.width() <= columns) {
                break;
            }
            narrow(&mut self);
        }
        self
    }

    /// Of the whole table, in characters.
    pub(crate) fn width(&self) -> usize {
        let all = (0..self.columns.len()).map(|column| self.width_of(column) + self.gap);
        all.sum::<usize>().saturating_sub(self.gap)
    }

    /// Of its widest cell.
    pub(crate) fn width_of(&self, column: usize) -> usize {
        let (title, cells) = &self.columns[column];
        let cells = cells.iter().map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(title.len())
    }

    pub(crate) fn titles(&self) -> Vec<&'static str> {
        self.columns.iter().map(|(title, _)| *title).collect()
    }

    /// The cells of `rank`.
    pub(crate) fn row(&self, rank: usize) -> impl Iterator<Item = &str> {
        self.columns
            .iter()
            .map(move |(_, cells)| cells[rank].as_str())
    }

    pub(crate) fn drop(&mut self, title: &str) {
        self.columns.retain(|(other, _)| *other != title);
    }

    pub(crate) fn change(&mut self, title: &str, change: impl Fn(&str) -> String) {
        for (_, cells) in self.columns.iter_mut().filter(|(other, _)| *other == title) {
            cells.iter_mut().for_each(|cell| *cell = change(cell));
        }
    }
}

/// A cell for each rank.
pub(crate) fn column(
    title: &'static str,
    job: &Job,
    cell: fn(&Rank) -> Option<String>,
) -> (&'static str, Vec<String>) {
    let cell = |rank| text::clean(&cell(rank).unwrap_or_else(|| "-".to_owned())).into_owned();
    (title, job.ranks.iter().map(cell).collect())
}

pub(crate) fn state(rank: &Rank) -> Option<String> {
    Some(rank.state().to_owned())
}

pub(crate) fn operation(rank: &Rank) -> Option<String> {
    Some(rank.operation.as_ref()?.show())
}

/// The end of the place where it is called.
pub(crate) fn place(rank: &Rank) -> Option<String> {
    let place = rank.operation.as_ref()?.location.as_deref()?;
    Some(text::tail(place, 40))
}

pub(crate) fn awaited(rank: &Rank) -> Option<String> {
    Some(format!("rank {}", rank.waits?.rank))
}

pub(crate) fn since(rank: &Rank) -> Option<String> {
    Some(text::seconds(rank.waits?.seconds))
}

pub(crate) fn done(rank: &Rank) -> Option<String> {
    rank.said.as_ref().and_then(Said::done)
}

pub(crate) fn queue(rank: &Rank) -> Option<String> {
    Some(rank.said.as_ref()?.queue.to_string())
}

pub(crate) fn memory(rank: &Rank) -> Option<String> {
    Some(text::bytes(rank.process.as_ref()?.resident))
}

pub(crate) fn cores(rank: &Rank) -> Option<String> {
    rank.process.as_ref()?.allowed.clone()
}

/// `allreduce #17` of `allreduce(f64[3], sum) #17`.
pub(crate) fn without_arguments(operation: &str) -> String {
    match (operation.split_once('('), operation.rsplit_once(')')) {
        (Some((name, _)), Some((_, number))) => format!("{name}{number}"),
        _ => operation.to_owned(),
    }
}

/// The file's name and the line, of a place.
pub(crate) fn without_folders(place: &str) -> String {
    place.rsplit('/').next().unwrap_or(place).to_owned()
}

#[cfg(test)]
mod tests {
    use super::without_arguments;

    #[test]
    fn operations_are_known_without_their_arguments() {
        assert_eq!(
            without_arguments("allreduce(f64[3], Sum) #17"),
            "allreduce #17"
        );
        assert_eq!(
            without_arguments("barrier() #5 of split 2"),
            "barrier #5 of split 2"
        );
        assert_eq!(without_arguments("-"), "-");
    }
}
