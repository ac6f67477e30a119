//! Pages, pictures and tables of trainings and of claims.

pub mod claims;
pub mod training;

/// A loss in four digits, as the documents print it.
pub fn loss(value: f64) -> String {
    if value.is_finite() && value.abs() < 1000.0 { format!("{value:.4}") } else { format!("{value:.2e}") }
}

/// A figure in few characters, however small or large.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (0.001..1e4).contains(&size) && value.fract() == 0.0 => format!("{value}"),
        size if (0.001..1e4).contains(&size) => format!("{value:.4}"),
        _ => format!("{value:.1e}"),
    }
}
