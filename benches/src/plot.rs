//! Pictures of a comparison: latency over message size or over the number of ranks, both axes
//! logarithmic. Of each peer its best variant at each point.

use plotters::coord::{CoordTranslate, Shift};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::json::{Comparison, Mode};
use crate::table::{cell, distinct};

const PANEL: (u32, u32) = (430, 300);
/// Height of the strip above the panels that says which line is whose.
const LEGEND: u32 = 40;
/// Ours first, then one for each peer: colours that people with any colour vision tell apart (Okabe and
/// Ito 2008). Where there is no colour, the marks differ.
const COLORS: [RGBColor; 7] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
];

/// What stands at the points of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    Disc,
    Triangle,
    Cross,
    Ring,
}

/// One for each place in [`COLORS`]: colours that are alike in grey have different ones.
const MARKS: [Mark; 7] = [
    Mark::Disc,
    Mark::Triangle,
    Mark::Cross,
    Mark::Ring,
    Mark::Triangle,
    Mark::Disc,
    Mark::Cross,
];

impl Mark {
    fn draw<B: DrawingBackend, C: CoordTranslate>(
        self,
        area: &DrawingArea<B, C>,
        at: C::From,
        size: u32,
        color: RGBColor,
    ) -> Result<(), PlotError>
    where
        C::From: 'static,
    {
        match self {
            Self::Disc => area.draw(&Circle::new(at, size, color.filled())),
            Self::Triangle => area.draw(&TriangleMarker::new(at, size + 2, color.filled())),
            Self::Cross => area.draw(&Cross::new(at, size + 1, color.stroke_width(2))),
            Self::Ring => area.draw(&Circle::new(at, size + 1, color.stroke_width(1))),
        }
        .map_err(drawing)
    }
}

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// Nothing was measured at two places.
    #[error("nothing was measured at two or more places of the axis")]
    Nothing,
    /// The drawing failed.
    #[error("cannot draw: {0}")]
    Drawing(String),
}

/// A line of a panel.
struct Line {
    color: RGBColor,
    mark: Mark,
    width: u32,
    points: Vec<(f64, f64)>,
}

/// One coordinate system.
struct Panel {
    title: String,
    x_title: &'static str,
    x_label: fn(&f64) -> String,
    lines: Vec<Line>,
}

/// Latency over message size: a row of panels for each operation, a column for each rank count.
///
/// # Errors
/// If there is nothing to draw.
pub fn over_sizes(all: &Comparison, mode: Mode, ops: &[String]) -> Result<String, PlotError> {
    let records = || {
        let records = all.entries.iter().map(|entry| &entry.record);
        records.filter(move |record| record.mode == mode && record.bytes > 0)
    };
    let sizes_of = |op: &str| {
        let mut sizes = distinct(records().filter(|r| r.op == op).map(|r| r.bytes));
        sizes.sort_unstable();
        sizes
    };
    let ranks = ascending(records().map(|record| record.ranks));
    let measured = distinct(records().map(|record| record.op.clone()));
    let ops: Vec<String> = measured
        .into_iter()
        .filter(|op| sizes_of(op).len() > 1 && (ops.is_empty() || ops.contains(op)))
        .collect();
    let panel = |op: &String, ranks: usize| Panel {
        title: format!("{op}, {ranks} ranks"),
        x_title: "bytes of each rank",
        x_label: in_binary,
        lines: lines(all, |column| {
            let sizes = sizes_of(op).into_iter();
            let at = |bytes| {
                let case = format!("{op}:{bytes}");
                let cell = cell(all, column, ranks, mode, &case)?;
                Some((bytes as f64, cell.median))
            };
            sizes.filter_map(at).collect()
        }),
    };
    let panels = ops
        .iter()
        .flat_map(|op| ranks.iter().map(move |&ranks| panel(op, ranks)));
    draw(all, panels.collect(), ranks.len())
}

/// Latency over the number of ranks: a panel for each case that was measured at two rank counts.
///
/// # Errors
/// If there is nothing to draw.
pub fn over_ranks(all: &Comparison, mode: Mode, ops: &[String]) -> Result<String, PlotError> {
    let records = || {
        let records = all.entries.iter().map(|entry| &entry.record);
        records.filter(move |record| record.mode == mode)
    };
    let ranks_of = |case: &str| {
        ascending(
            records()
                .filter(|record| record.case() == case)
                .map(|record| record.ranks),
        )
    };
    let cases = distinct(records().map(crate::json::Record::case));
    let wanted = |case: &&String| {
        let op = case.split(':').next().unwrap_or(case);
        ranks_of(case).len() > 1 && (ops.is_empty() || ops.iter().any(|wanted| wanted == op))
    };
    let panel = |case: &String| Panel {
        title: case.clone(),
        x_title: "ranks",
        x_label: |ranks| format!("{ranks:.0}"),
        lines: lines(all, |column| {
            let ranks = ranks_of(case).into_iter();
            let at = |ranks| {
                let cell = cell(all, column, ranks, mode, case)?;
                Some((ranks as f64, cell.median))
            };
            ranks.filter_map(at).collect()
        }),
    };
    draw(all, cases.iter().filter(wanted).map(panel).collect(), 3)
}

fn ascending(values: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut values = distinct(values);
    values.sort_unstable();
    values
}

/// A peer without its variant.
fn group(column: &str) -> &str {
    column.split(' ').next().unwrap_or(column)
}

/// One line for each peer: at each place the best of its columns.
fn lines(all: &Comparison, points_of: impl Fn(&str) -> Vec<(f64, f64)>) -> Vec<Line> {
    let groups = distinct(all.columns.iter().map(|column| group(&column.name)));
    let line = |(index, name): (usize, &&str)| {
        let columns = all.columns.iter().filter(|c| group(&c.name) == *name);
        let points: Vec<(f64, f64)> = columns.flat_map(|c| points_of(&c.name)).collect();
        let mut places = distinct(points.iter().map(|&(x, _)| x));
        places.sort_by(f64::total_cmp);
        let best = |x: f64| {
            let here = points.iter().filter(|point| point.0 == x && point.1 > 0.0);
            here.map(|point| point.1)
                .min_by(f64::total_cmp)
                .map(|y| (x, y))
        };
        Line {
            color: COLORS[index % COLORS.len()],
            mark: MARKS[index % MARKS.len()],
            width: if index == 0 { 3 } else { 1 },
            points: places.into_iter().filter_map(best).collect(),
        }
    };
    groups.iter().enumerate().map(line).collect()
}

/// All panels, so many beside each other, below a strip with the names.
fn draw(all: &Comparison, panels: Vec<Panel>, columns: usize) -> Result<String, PlotError> {
    if panels.is_empty() {
        return Err(PlotError::Nothing);
    }
    let columns = columns.min(panels.len());
    let rows = panels.len().div_ceil(columns);
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32 + LEGEND);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        let (above, below) = root.split_vertically(LEGEND);
        legend(&above, all)?;
        let areas = below.split_evenly((rows, columns));
        for (area, panel) in areas.iter().zip(&panels) {
            panel.draw(area)?;
        }
        root.present().map_err(drawing)?;
    }
    Ok(text)
}

/// Which color and mark is whose.
fn legend<B: DrawingBackend>(
    strip: &DrawingArea<B, Shift>,
    all: &Comparison,
) -> Result<(), PlotError> {
    const FONT: i32 = 14;
    let style = TextStyle::from(("sans-serif", FONT)).pos(Pos::new(HPos::Left, VPos::Center));
    let middle = LEGEND as i32 / 2;
    let mut x = 16;
    for (index, name) in distinct(all.columns.iter().map(|column| group(&column.name)))
        .into_iter()
        .enumerate()
    {
        let first = all
            .columns
            .iter()
            .find(|column| group(&column.name) == name);
        let said = match first {
            Some(column) if !column.ours => column.about.split(" (").next().unwrap_or(name),
            _ => name,
        };
        let color = COLORS[index % COLORS.len()];
        let line = PathElement::new([(x, middle), (x + 24, middle)], color.stroke_width(3));
        strip.draw(&line).map_err(drawing)?;
        let mark = MARKS[index % MARKS.len()];
        mark.draw(strip, (x + 12, middle), 3, color)?;
        let label = Text::new(said.to_owned(), (x + 30, middle), style.clone());
        strip.draw(&label).map_err(drawing)?;
        // As wide as the widest letters would make it.
        x += 30 + said.len() as i32 * FONT * 6 / 10 + 18;
    }
    Ok(())
}

impl Panel {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), PlotError> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let ends = |of: fn(&(f64, f64)) -> f64| {
            points()
                .map(of)
                .fold((f64::MAX, 0.0_f64), |(low, high), x| {
                    (low.min(x), high.max(x))
                })
        };
        if points().next().is_none() {
            return Ok(());
        }
        let ((left, right), (bottom, top)) = (ends(|p| p.0), ends(|p| p.1));
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 15))
            .margin(8)
            .margin_right(26)
            .x_label_area_size(38)
            .y_label_area_size(58)
            .build_cartesian_2d(
                (left / 1.3..right * 1.3).log_scale().base(2.0),
                (bottom / 1.5..top * 1.5).log_scale(),
            )
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .x_desc(self.x_title)
            .y_desc("µs, median")
            .x_label_formatter(&self.x_label)
            .y_label_formatter(&|us| format!("{us}"))
            .x_labels(7)
            .y_labels(6)
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .draw()
            .map_err(drawing)?;
        // Ours last, above the others.
        for line in self.lines.iter().rev() {
            let style = line.color.stroke_width(line.width);
            let points = line.points.iter().copied();
            chart
                .draw_series(LineSeries::new(points.clone(), style))
                .map_err(drawing)?;
            for at in points {
                line.mark
                    .draw(chart.plotting_area(), at, line.width + 1, line.color)?;
            }
        }
        Ok(())
    }
}

fn in_binary(bytes: &f64) -> String {
    match *bytes {
        b if b >= 1024.0 * 1024.0 => format!("{:.0} Mi", b / 1024.0 / 1024.0),
        b if b >= 1024.0 => format!("{:.0} Ki", b / 1024.0),
        b => format!("{b:.0}"),
    }
}

fn drawing(error: impl std::fmt::Display) -> PlotError {
    PlotError::Drawing(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{COLORS, MARKS, RGBColor};

    /// Lines that a grey printer makes alike have different marks.
    #[test]
    fn lines_can_be_told_apart_in_grey() {
        let lightness = |RGBColor(red, green, blue): RGBColor| {
            let part = |value: u8| (f64::from(value) / 255.0).powf(2.2);
            let luminance = 0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue);
            116.0 * luminance.cbrt() - 16.0
        };
        for (at, one) in COLORS.iter().enumerate() {
            // Ours is the thick one.
            for other in 1..at {
                let apart = (lightness(*one) - lightness(COLORS[other])).abs();
                assert!(
                    apart >= 15.0 || MARKS[at] != MARKS[other],
                    "{at} {other}: {apart}"
                );
            }
        }
    }
}
