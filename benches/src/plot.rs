//! Latency over message size: a row of panels per operation, one panel per rank count.

use plotters::prelude::*;

use crate::json::{Comparison, Mode};
use crate::table::{cell, distinct};

const PANEL: (u32, u32) = (420, 320);
const COLORS: [RGBColor; 7] = [
    RGBColor(200, 30, 30),
    RGBColor(31, 119, 180),
    RGBColor(120, 190, 230),
    RGBColor(44, 140, 44),
    RGBColor(150, 210, 120),
    RGBColor(148, 103, 189),
    RGBColor(120, 120, 120),
];

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// Nothing was measured at two sizes.
    #[error("no operation was measured at two or more message sizes")]
    Nothing,
    /// The drawing failed.
    #[error("cannot draw: {0}")]
    Drawing(String),
}

/// A line of a panel.
struct Line {
    /// `O4` for all variants of that peer.
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws all that was measured in a mode; of each peer its best variant at each size.
///
/// # Errors
/// If there is nothing to draw.
pub fn svg(all: &Comparison, mode: Mode) -> Result<String, PlotError> {
    let records = || {
        let records = all.entries.iter().map(|entry| &entry.record);
        records.filter(move |record| record.mode == mode && record.bytes > 0)
    };
    let sizes_of = |op: &str| {
        let mut sizes = distinct(records().filter(|r| r.op == op).map(|r| r.bytes));
        sizes.sort_unstable();
        sizes
    };
    let ops: Vec<String> = distinct(records().map(|record| record.op.clone()))
        .into_iter()
        .filter(|op| sizes_of(op).len() > 1)
        .collect();
    let mut ranks = distinct(records().map(|record| record.ranks));
    ranks.sort_unstable();
    if ops.is_empty() {
        return Err(PlotError::Nothing);
    }
    let peers = distinct(all.columns.iter().map(|column| group(&column.name)));
    let mut text = String::new();
    {
        let size = (PANEL.0 * ranks.len() as u32, PANEL.1 * ops.len() as u32);
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        let panels = root.split_evenly((ops.len(), ranks.len()));
        let places = ops
            .iter()
            .flat_map(|op| ranks.iter().map(move |&ranks| (op, ranks)));
        for (panel, (op, ranks)) in panels.iter().zip(places) {
            let sizes = sizes_of(op);
            let lines: Vec<Line> = peers
                .iter()
                .map(|peer| line(all, peer, op, &sizes, ranks, mode))
                .collect();
            draw(
                panel,
                &format!("{op}, {ranks} ranks, {}", mode.name()),
                &lines,
            )?;
        }
        root.present().map_err(drawing)?;
    }
    Ok(text)
}

/// A peer without its variant.
fn group(column: &str) -> String {
    column.split(' ').next().unwrap_or(column).to_owned()
}

fn line(all: &Comparison, peer: &str, op: &str, sizes: &[usize], ranks: usize, mode: Mode) -> Line {
    let best = |&bytes: &usize| {
        let variants = all.columns.iter().filter(|c| group(&c.name) == peer);
        let case = format!("{op}:{bytes}");
        variants
            .filter_map(|column| cell(all, &column.name, ranks, mode, &case))
            .map(|cell| cell.median)
            .filter(|&median| median > 0.0)
            .min_by(f64::total_cmp)
            .map(|median| (bytes as f64, median))
    };
    Line {
        name: peer.to_owned(),
        points: sizes.iter().filter_map(best).collect(),
    }
}

fn draw<B: DrawingBackend>(
    panel: &DrawingArea<B, plotters::coord::Shift>,
    title: &str,
    lines: &[Line],
) -> Result<(), PlotError> {
    let points = || lines.iter().flat_map(|line| line.points.iter());
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
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(34)
        .y_label_area_size(52)
        .build_cartesian_2d(
            (left / 1.3..right * 1.3).log_scale(),
            (bottom / 1.5..top * 1.5).log_scale(),
        )
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .x_desc("bytes per rank")
        .y_desc("µs per call, median")
        .x_label_formatter(&|bytes| scaled(*bytes))
        .y_label_formatter(&|us| format!("{us}"))
        .x_labels(8)
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(drawing)?;
    for (index, line) in lines.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let style = color.stroke_width(if index == 0 { 3 } else { 1 });
        let dots = line
            .points
            .iter()
            .map(|&at| Circle::new(at, 2, color.filled()));
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))
            .map_err(drawing)?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style));
        chart.draw_series(dots).map_err(drawing)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 11))
        .draw()
        .map_err(drawing)
}

fn scaled(bytes: f64) -> String {
    match bytes {
        b if b >= 1024.0 * 1024.0 => format!("{:.0} Mi", b / 1024.0 / 1024.0),
        b if b >= 1024.0 => format!("{:.0} Ki", b / 1024.0),
        b => format!("{b:.0}"),
    }
}

fn drawing(error: impl std::fmt::Display) -> PlotError {
    PlotError::Drawing(error.to_string())
}
