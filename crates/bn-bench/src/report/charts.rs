//! Lines and points in a frame with axes, as SVG in stand-in colours.

use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;

/// So many colours there are for series; more begin again.
pub const COLOURS: usize = 8;

/// Of text and axes, and of the grid: the style sheet knows them.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);

/// In units of the picture, which is scaled to the page's width.
const SIZE: (u32, u32) = (920, 360);

/// How an axis goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0.
    FromZero,
    /// Of whole numbers.
    Whole,
    /// By powers.
    Logarithmic,
}

/// Points of one colour.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// In the order of x.
    pub points: Vec<(f64, f64)>,
    /// Whether a line joins them.
    pub line: bool,
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What is on the axis below.
    pub x: String,
    /// What is on the axis on the left.
    pub y: String,
    /// How the axis below goes.
    pub x_scale: Scale,
    /// How the axis on the left goes.
    pub y_scale: Scale,
    /// What is drawn, in the order of the colours.
    pub series: Vec<Series>,
}

/// The chart as an `<svg>`.
///
/// # Panics
/// Never: a picture in memory has no device to fail.
pub fn draw(chart: &Chart) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let [x, y] = [bounds(chart, chart.x_scale, |p| p.0), bounds(chart, chart.y_scale, |p| p.1)];
        let drawn = match chart.x_scale {
            Scale::Logarithmic => frame(chart, &area, (x[0]..x[1]).log_scale(), y),
            _ => frame(chart, &area, x[0]..x[1], y),
        };
        drawn.and_then(|()| area.present()).expect("a picture in memory");
    }
    // A width and a height would keep the page from scaling it.
    let (width, height) = SIZE;
    svg.replacen(&format!("width=\"{width}\" height=\"{height}\" "), "role=\"img\" ", 1)
}

/// What the axis must hold, with room at its ends.
fn bounds(chart: &Chart, scale: Scale, of: impl Fn(&(f64, f64)) -> f64) -> [f64; 2] {
    let values = || chart.series.iter().flat_map(|series| &series.points).map(&of);
    let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
    if low > high {
        return [1.0, 2.0];
    }
    match scale {
        Scale::FromZero => [0.0, 1.15 * high],
        Scale::Whole => [low - 0.5, high + 0.5],
        Scale::Logarithmic => [low / 1.5, high * 1.5],
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Failed<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn frame<'a, X>(
    chart: &Chart,
    area: &Area<'a>,
    x: impl plotters::coord::ranged1d::AsRangedCoord<CoordDescType = X, Value = f64>,
    y: [f64; 2],
) -> Result<(), Failed<'a>>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut context = ChartBuilder::on(area)
        .margin(16)
        .margin_right(36)
        .x_label_area_size(48)
        .y_label_area_size(68)
        .build_cartesian_2d(x, y[0]..y[1])?;
    let text = ("sans-serif", 14).into_font().color(&INK);
    context
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(text.clone())
        .axis_desc_style(text)
        .x_desc(&chart.x)
        .y_desc(&chart.y)
        .x_labels(if chart.x_scale == Scale::Whole { whole_labels(chart) } else { 8 })
        .y_labels(6)
        .x_label_formatter(&|x| label(*x, chart.x_scale))
        .y_label_formatter(&|y| label(*y, chart.y_scale))
        .draw()?;
    for (index, series) in chart.series.iter().enumerate() {
        let colour = RGBColor(10, 0, (index % COLOURS) as u8);
        if series.line {
            context.draw_series(LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)))?;
        }
        let dots = series.points.iter().map(|point| Circle::new(*point, 4, colour.filled()));
        context.draw_series(dots)?;
    }
    Ok(())
}

/// One for each number, if there is room.
fn whole_labels(chart: &Chart) -> usize {
    let [low, high] = bounds(chart, Scale::Whole, |point| point.0);
    ((high - low) as usize + 1).clamp(2, 16)
}

/// What stands beside a tick; nothing between two whole numbers.
fn label(value: f64, scale: Scale) -> String {
    match scale {
        Scale::Whole if value.fract() != 0.0 => String::new(),
        Scale::Logarithmic => bytes(value),
        _ => format!("{}", (value * 100.0).round() / 100.0),
    }
}

/// `3 MB`.
fn bytes(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e9 => (v / 1e9, "GB"),
        v if v >= 1e6 => (v / 1e6, "MB"),
        v if v >= 1e3 => (v / 1e3, "kB"),
        v => (v, "B"),
    };
    format!("{} {unit}", (value * 10.0).round() / 10.0)
}
