//! A chart, drawn by plotters in stand-in colours.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::axis::{Axis, has_place};
use super::{Chart, Scale, Series};
use crate::palette::{GRID, INK, series as colour_of};

/// How large everything is, in units of the picture.
pub struct Sheet {
    /// Width and height.
    pub size: (u32, u32),
    /// Of text.
    pub text: u32,
    /// Left free above the frame, and beneath the axis.
    pub room: (u32, u32),
}

/// On a page, which scales it to its own width.
const ON_A_PAGE: Sheet = Sheet { size: (920, 360), text: 14, room: (16, 16) };

/// The chart as an `<svg>` for a [`page`](crate::page), whose rules give it its colours.
pub fn draw(chart: &Chart) -> String {
    // A width and a height would keep the page from scaling it.
    let (width, height) = ON_A_PAGE.size;
    let sized = format!("width=\"{width}\" height=\"{height}\" ");
    draw_on(&ON_A_PAGE, chart).replacen(&sized, "role=\"img\" ", 1)
}

/// The chart as an `<svg>` in stand-in colours.
///
/// # Panics
/// Never: a picture in memory has no device to fail.
pub fn draw_on(sheet: &Sheet, chart: &Chart) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, sheet.size).into_drawing_area();
        frame(sheet, chart, &area).and_then(|()| area.present()).expect("a picture in memory");
    }
    svg
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;
type Failed<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn axes(chart: &Chart) -> (Axis, Axis) {
    let bands = || chart.series.iter().flat_map(|series| series.band.iter().flatten());
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let x = points().map(|point| point.0).chain(bands().map(|edge| edge.0));
    let y = points().map(|point| point.1).chain(bands().flat_map(|edge| [edge.1, edge.2]));
    let many = if chart.x_scale == Scale::Whole { 16 } else { 9 };
    (Axis::new(x, chart.x_scale, many), Axis::new(y, chart.y_scale, 6))
}

fn frame<'b>(sheet: &Sheet, chart: &Chart, area: &Area<'b>) -> Result<(), Failed<'b>> {
    let (x, y) = axes(chart);
    let longest = y.ticks.iter().map(|tick| y.label(*tick).chars().count()).max().unwrap_or(0) as u32;
    let mut plot = ChartBuilder::on(area)
        .margin(16)
        .margin_top(sheet.room.0)
        .margin_bottom(sheet.room.1)
        .margin_right(36)
        .x_label_area_size(20 + 2 * sheet.text)
        // Digits, and the axis's name on its side.
        .y_label_area_size((12 + 4 * sheet.text).max(longest * sheet.text / 2 + 2 * sheet.text))
        .build_cartesian_2d(x.clone(), y.clone())?;
    let text = ("sans-serif", sheet.text).into_font().color(&INK);
    plot.configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(text.clone())
        .axis_desc_style(text)
        .x_desc(&chart.x)
        .y_desc(&chart.y)
        .x_labels(x.ticks.len())
        .y_labels(y.ticks.len())
        .x_label_formatter(&|value| x.label(*value))
        .y_label_formatter(&|value| y.label(*value))
        .draw()?;
    // All areas are beneath all lines.
    for (colour, series) in chart.coloured() {
        draw_band(&mut plot, chart, series, colour)?;
    }
    for (colour, series) in chart.coloured() {
        draw_points(&mut plot, chart, series, colour)?;
    }
    Ok(())
}

fn draw_band<'b>(
    plot: &mut Plot<'_, 'b>,
    chart: &Chart,
    series: &Series,
    colour: usize,
) -> Result<(), Failed<'b>> {
    let pale = colour_of(colour, false).mix(0.2);
    let has_place = |edge: &(f64, f64, f64)| {
        has_place(edge.0, chart.x_scale) && [edge.1, edge.2].iter().all(|y| has_place(*y, chart.y_scale))
    };
    for piece in pieces(series.band.as_deref().unwrap_or(&[]), has_place) {
        let there = piece.iter().map(|edge| (edge.0, edge.2));
        let outline: Vec<_> = there.chain(piece.iter().rev().map(|edge| (edge.0, edge.1))).collect();
        if piece.len() == 1 {
            plot.draw_series([PathElement::new(outline, pale.stroke_width(6))])?;
        } else {
            plot.draw_series([Polygon::new(outline, pale)])?;
        }
    }
    Ok(())
}

fn draw_points<'b>(
    plot: &mut Plot<'_, 'b>,
    chart: &Chart,
    series: &Series,
    colour: usize,
) -> Result<(), Failed<'b>> {
    let (stroke, fill) = (colour_of(colour, series.dashed), colour_of(colour, false));
    let has_place =
        |point: &(f64, f64)| has_place(point.0, chart.x_scale) && has_place(point.1, chart.y_scale);
    for piece in pieces(&series.points, has_place) {
        if series.line && piece.len() > 1 {
            plot.draw_series([PathElement::new(piece.to_vec(), stroke.stroke_width(2))])?;
        }
        // A line through one point is none.
        if series.dots || piece.len() == 1 {
            let radius = if series.dots { 4 } else { 3 };
            plot.draw_series(piece.iter().map(|point| Circle::new(*point, radius, fill.filled())))?;
        }
    }
    Ok(())
}

/// What lies between gaps.
fn pieces<T>(all: &[T], has_place: impl Fn(&T) -> bool) -> impl Iterator<Item = &[T]> {
    all.split(move |item| !has_place(item)).filter(|piece| !piece.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: Vec<Series>) -> Chart {
        Chart { x: "epoch".into(), y: "loss".into(), x_scale: Scale::Whole, y_scale: Scale::Linear, series }
    }

    fn count(svg: &str, what: &str) -> usize {
        svg.matches(what).count()
    }

    /// The points of the element that holds this.
    fn places(svg: &str, what: &str) -> Vec<String> {
        let line =
            svg.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what} in {svg}"));
        let points = line.split_once("points=\"").expect("points").1.split_once('"').expect("an end").0;
        points.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_gap_splits_a_line() {
        let points = |middle: f64| vec![(0.0, 3.0), (1.0, 2.0), (2.0, middle), (3.0, 1.5), (4.0, 1.0)];
        let whole = draw(&chart(vec![Series::curve("a", points(1.8))]));
        assert_eq!(count(&whole, "stroke=\"#0A0000\""), 1);
        assert_eq!(places(&whole, "stroke=\"#0A0000\"").len(), 5);
        for gap in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            let svg = draw(&chart(vec![Series::curve("a", points(gap))]));
            assert_eq!(count(&svg, "stroke=\"#0A0000\""), 2, "{gap}");
            assert_eq!(
                places(&svg, "stroke=\"#0A0000\""),
                places(&whole, "stroke=\"#0A0000\"")[..2],
                "{gap}"
            );
            assert_eq!(count(&svg, "<circle"), 0);
        }
        let dots = draw(&chart(vec![Series::line("a", points(f64::NAN))]));
        assert_eq!(count(&dots, "<circle"), 4);
    }

    #[test]
    fn a_point_between_gaps_is_seen() {
        let points = vec![(0.0, f64::NAN), (1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 3.0)];
        let svg = draw(&chart(vec![Series::curve("a", points)]));
        assert_eq!((count(&svg, "<circle"), count(&svg, "stroke=\"#0A0000\"")), (1, 1));
    }

    #[test]
    fn what_is_not_positive_is_a_gap_on_a_logarithmic_axis() {
        let points = vec![(0.0, 1.0), (1.0, 0.1), (2.0, 0.0), (3.0, -1.0), (4.0, 0.1), (5.0, 0.01)];
        let mut chart = chart(vec![Series::curve("a", points)]);
        assert_eq!(count(&draw(&chart), "stroke=\"#0A0000\""), 1);
        chart.y_scale = Scale::Log10;
        let svg = draw(&chart);
        assert_eq!(count(&svg, "stroke=\"#0A0000\""), 2);
        // A power of ten is as high as the next.
        let height = |place: &str| place.split_once(',').expect("x,y").1.parse::<i32>().expect("y");
        let [first, second] = places(&svg, "stroke=\"#0A0000\"").try_into().expect("two");
        let last = svg.lines().rfind(|line| line.contains("stroke=\"#0A0000\"")).expect("the second piece");
        let [third, fourth] = places(last, "points").try_into().expect("two");
        assert_eq!(height(&second), height(&third));
        assert!((height(&second) - height(&first) - (height(&fourth) - height(&third))).abs() <= 1);
    }

    #[test]
    fn a_chart_of_nothing_has_axes() {
        for scale in [Scale::FromZero, Scale::Linear, Scale::Whole, Scale::Log10, Scale::Bytes] {
            for series in [vec![], vec![Series::line("a", vec![(f64::NAN, f64::NAN), (f64::INFINITY, 1.0)])]]
            {
                let svg = draw(&Chart { x_scale: scale, y_scale: scale, ..chart(series) });
                assert!(svg.contains("epoch") && svg.contains("loss"), "{svg}");
                assert!(count(&svg, "<text") > 3, "ticks have labels: {svg}");
                assert_eq!(count(&svg, "#0A"), 0);
            }
        }
    }

    #[test]
    fn a_band_goes_there_above_and_back_below_beneath_every_line() {
        let band = vec![(0.0, 2.0, 4.0), (1.0, 1.0, 3.0), (2.0, 1.0, 2.0)];
        let series = || Series::curve("b", vec![(0.0, 3.0), (1.0, 2.0), (2.0, 1.5)]);
        let svg = draw(&chart(vec![series(), series().with_band(band.clone())]));
        let outline = places(&svg, "<polygon");
        assert_eq!(outline.len(), 6);
        let height = |place: &str| place.split_once(',').expect("x,y").1.parse::<i32>().expect("y");
        // SVG counts down.
        assert!(height(&outline[0]) < height(&outline[5]) && height(&outline[2]) < height(&outline[3]));
        assert!(svg.contains("<polygon opacity=\"0.2\" fill=\"#0A0001\""), "{svg}");
        assert!(svg.find("<polygon") < svg.find("stroke=\"#0A0000\""), "{svg}");
        // The axis holds the band, and a gap splits it.
        assert_eq!(axes(&chart(vec![series().with_band(band.clone())])).1.label(4.0), "4");
        let torn = [band.clone(), vec![(3.0, f64::NAN, 1.0), (4.0, 1.0, 2.0)], band].concat();
        assert_eq!(count(&draw(&chart(vec![series().with_band(torn)])), "<polygon"), 2);
    }

    #[test]
    fn a_dashed_line_has_the_colour_that_it_is_given() {
        let points = || vec![(0.0, 3.0), (1.0, 2.0)];
        let svg = draw(&chart(vec![
            Series::curve("a", points()),
            Series::curve("b", points()),
            Series::line("c", points()).coloured(1).dashed(),
        ]));
        assert_eq!(count(&svg, "stroke=\"#0A0101\""), 1);
        assert_eq!(count(&svg, "fill=\"#0A0001\""), 2, "its dots are whole: {svg}");
    }
}
