//! Numbers as the tables show them.

use bn_suite::number::Number;
use serde_json::Value;

/// The day of a moment in seconds since 1970.
pub fn day(seconds: u64) -> String {
    bn_page::date(seconds).split_whitespace().next().unwrap_or_default().into()
}

/// |got − expected| / allowance in few characters.
pub fn ratio(ratio: Option<Number>) -> String {
    match ratio {
        None => "–".into(),
        Some(Number(ratio)) if ratio.is_infinite() => "∞".into(),
        Some(Number(ratio)) if ratio >= 1000.0 => format!("{ratio:.0e}"),
        Some(Number(ratio)) => format!("{ratio:.2}"),
    }
}

/// An error in units in the last place.
pub fn ulps(ulps: Option<Number>) -> String {
    match ulps {
        None => "–".into(),
        Some(Number(ulps)) if ulps.is_infinite() => "∞".into(),
        Some(Number(ulps)) if ulps >= 1000.0 => format!("{ulps:.0e}"),
        Some(Number(ulps)) => format!("{ulps:.1}"),
    }
}

/// What was answered, or what is right.
pub fn value(value: &Value) -> String {
    match value {
        Value::Null => "–".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), decimal),
        other => other.to_string(),
    }
}

/// Nine digits tell every f32 from its neighbours.
fn decimal(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-3..1e7).contains(&size) {
        let text = format!("{number:.8}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    } else {
        format!("{number:.8e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_nothing_is_hidden() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(ratio(Some(Number(79554.56))), "8e4");
        assert_eq!(ratio(Some(Number(f64::INFINITY))), "∞");
        assert_eq!((ulps(Some(Number(0.5))), ulps(Some(Number(2.7e6)))), ("0.5".into(), "3e6".into()));
        assert_eq!(value(&serde_json::json!(1.0)), "1");
        assert_eq!(value(&serde_json::json!(0.1)), "0.1");
        assert_eq!(value(&serde_json::json!(1e-9)), "1.00000000e-9");
        assert_eq!(value(&serde_json::json!("NaN")), "NaN");
        assert_eq!(value(&serde_json::json!([2, 3])), "[2,3]");
    }
}
