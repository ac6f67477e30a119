//! Lines, points and bands in a frame with axes, as SVG.
//!
//! What cannot be drawn is a gap: NaN, an infinity, a number that is not positive on a
//! logarithmic axis. A curve that ends because a training diverged ends in the picture.

mod axis;
mod draw;
mod standalone;

pub use self::draw::draw;
pub use self::standalone::standalone;

/// So many colours there are for series; more begin again.
pub const COLOURS: usize = 8;

/// How an axis goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0, to what is furthest from it.
    FromZero,
    /// From the lowest number to the highest, with a little room.
    Linear,
    /// Of whole numbers.
    Whole,
    /// By powers of ten.
    Log10,
    /// By powers of ten, of bytes.
    Bytes,
}

/// What is drawn in one colour.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// What the legend calls it; without a name it is not in the legend.
    pub name: String,
    /// In the order of x.
    pub points: Vec<(f64, f64)>,
    /// Whether a line joins them.
    pub line: bool,
    /// Whether each has a dot. A point without neighbours has one in any case.
    pub dots: bool,
    /// Whether the line is dashed.
    pub dashed: bool,
    /// x, low and high of an area beneath the line, in the order of x.
    pub band: Option<Vec<(f64, f64, f64)>>,
    /// Which of the colours; without one, that of its place.
    pub colour: Option<usize>,
}

impl Series {
    /// A line through dots.
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Series {
        Series { name: name.into(), points, line: true, dots: true, ..Series::default() }
    }

    /// A line alone.
    pub fn curve(name: impl Into<String>, points: Vec<(f64, f64)>) -> Series {
        Series { dots: false, ..Series::line(name, points) }
    }

    /// Dots alone.
    pub fn dots(name: impl Into<String>, points: Vec<(f64, f64)>) -> Series {
        Series { line: false, ..Series::line(name, points) }
    }

    /// The same, dashed.
    pub fn dashed(self) -> Series {
        Series { dashed: true, ..self }
    }

    /// The same, in this colour: that of another series to which it belongs.
    pub fn coloured(self, colour: usize) -> Series {
        Series { colour: Some(colour), ..self }
    }

    /// The same, above an area from low to high: x, low, high.
    pub fn with_band(self, band: Vec<(f64, f64, f64)>) -> Series {
        Series { band: Some(band), ..self }
    }
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

impl Chart {
    /// Each series with the number of its colour.
    fn coloured(&self) -> impl Iterator<Item = (usize, &Series)> {
        self.series
            .iter()
            .enumerate()
            .map(|(place, series)| (series.colour.unwrap_or(place) % COLOURS, series))
    }
}
