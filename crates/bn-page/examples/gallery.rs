//! One picture of each kind, on a page and as files, for eyes to judge:
//! `cargo run -p bn-page --example gallery -- FOLDER`.

use std::path::Path;

use bn_page::charts::{Chart, Scale, Series, standalone};
use bn_page::{FileError, WholeFile, figure, page};
use maud::html;

fn main() -> Result<(), FileError> {
    let folder = std::env::args().nth(1).expect("a folder to write to");
    let folder = Path::new(&folder);
    let pictures = [
        ("losses", "Training and validation loss, five seeds", losses(Scale::Linear)),
        ("logarithmic", "The same losses, by powers of ten", losses(Scale::Log10)),
        (
            "gap",
            "A training that diverged, and what came back of it: the title is so long that one line does not hold it",
            gap(),
        ),
        ("points", "Bytes and speed", points()),
        ("many", "As many series as there are colours, and one more", many()),
        ("empty", "Nothing to see", Chart { series: vec![], ..gap() }),
    ];
    let body = html! {
        h1 { "Gallery" }
        @for (name, title, chart) in &pictures {
            h2 { (name) }
            (figure(chart, title))
        }
    };
    WholeFile::create(&folder.join("gallery.html"))?.finish(page("Gallery", "en", body))?;
    for (name, title, chart) in &pictures {
        WholeFile::create(&folder.join(format!("{name}.svg")))?.finish(standalone(chart, title))?;
    }
    Ok(())
}

fn curve(epochs: u32, of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    (1..=epochs).map(|epoch| (f64::from(epoch), of(f64::from(epoch)))).collect()
}

fn losses(y_scale: Scale) -> Chart {
    let series = [("with batch norm", 2.5), ("without", 7.0), ("layer norm", 4.0)].into_iter().enumerate();
    let series = series.flat_map(|(colour, (name, slowness))| {
        let loss =
            move |epoch: f64| 0.08 + 2.2 * (-epoch / slowness).exp() + 0.02 * (3.0 * epoch).sin() / epoch;
        let spread = |epoch: f64| 1.0 + 0.3 / (1.0 + 0.2 * epoch);
        let band = (1..=25)
            .map(f64::from)
            .map(|epoch| (epoch, loss(epoch) / spread(epoch), loss(epoch) * spread(epoch)));
        let validation = curve(25, |epoch| loss(epoch) + 0.05 + 0.004 * epoch);
        [
            Series::curve(format!("{name}, training"), curve(25, loss))
                .with_band(band.collect())
                .coloured(colour),
            Series::curve(format!("{name}, validation"), validation).coloured(colour).dashed(),
        ]
    });
    Chart { x: "epoch".into(), y: "loss".into(), x_scale: Scale::Whole, y_scale, series: series.collect() }
}

fn gap() -> Chart {
    let loss = |epoch: f64| if (8.0..=12.0).contains(&epoch) { f64::NAN } else { 0.693 + 1e-4 * epoch.cos() };
    let mut points = curve(25, loss);
    points[20].1 = f64::INFINITY;
    points[22].1 = f64::INFINITY;
    let series = vec![Series::curve("", points)];
    Chart { x: "epoch".into(), y: "loss".into(), x_scale: Scale::Whole, y_scale: Scale::Linear, series }
}

fn points() -> Chart {
    let sizes = (10..28).map(|power| 2_f64.powi(power));
    let speeds: Vec<_> =
        sizes.map(|size| (size, 40.0 / (1.0 + 1e5 / size) - 8.0 / (1.0 + 3e7 / size))).collect();
    let series = vec![
        Series::dots("ours", speeds.iter().map(|(x, y)| (*x, 0.8 * y)).collect()),
        Series::line("copy", speeds),
    ];
    Chart {
        x: "bytes moved".into(),
        y: "GB/s".into(),
        x_scale: Scale::Bytes,
        y_scale: Scale::FromZero,
        series,
    }
}

fn many() -> Chart {
    let series = (0..9).map(|n| {
        Series::line(
            format!("forward-train/f32/number {n}"),
            curve(6, |x| 1.0 + 0.3 * f64::from(n) + (x + f64::from(n)).sin() / 4.0),
        )
    });
    Chart {
        x: "run, of 6".into(),
        y: "libtorch's time / ours".into(),
        x_scale: Scale::Whole,
        y_scale: Scale::FromZero,
        series: series.collect(),
    }
}
