//! The source text of numbers and arrays, for programs that play a case again.
//!
//! Exact: a number is written in the fewest digits that its dtype reads back to the same
//! bits, NaN and the infinities by name.

use bn_protocol::tensor::{DType, Tensor};

/// The widest line of a program.
const WIDTH: usize = 100;

/// A number as Rust reads it where the dtype is known from elsewhere: `0.1`, `-0.0`,
/// `f32::NAN`; f16 and bf16 as the f32 of the same value.
pub fn number(dtype: DType, value: f64) -> String {
    let (text, name) = match dtype {
        DType::F64 => (format!("{value:?}"), "f64"),
        _ => (format!("{:?}", value as f32), "f32"),
    };
    match text.as_str() {
        "NaN" => format!("{name}::NAN"),
        "inf" => format!("{name}::INFINITY"),
        "-inf" => format!("{name}::NEG_INFINITY"),
        _ => text,
    }
}

/// The elements between brackets, broken into lines that continue at `indent` spaces.
pub fn elements(tensor: &Tensor, indent: usize) -> String {
    let numbers: Vec<String> = tensor.data.iter().map(|&value| number(tensor.dtype, value)).collect();
    let one_line = format!("[{}]", numbers.join(", "));
    if indent + one_line.len() <= WIDTH {
        return one_line;
    }
    let margin = " ".repeat(indent);
    let mut lines = vec![format!("{margin}   ")];
    for number in &numbers {
        let line = lines.last_mut().expect("there is one from the start");
        if line.len() + number.len() + 2 <= WIDTH {
            *line += &format!(" {number},");
        } else {
            lines.push(format!("{margin}    {number},"));
        }
    }
    format!("[\n{}\n{margin}]", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_shortest_of_their_dtype() {
        assert_eq!(number(DType::F32, f64::from(0.1_f32)), "0.1");
        assert_eq!(number(DType::F64, f64::from(0.1_f32)), "0.10000000149011612");
        assert_eq!(number(DType::F32, -0.0), "-0.0");
        assert_eq!(number(DType::Bf16, f64::NAN), "f32::NAN");
        assert_eq!(number(DType::F64, f64::NEG_INFINITY), "f64::NEG_INFINITY");
    }

    #[test]
    fn long_arrays_are_broken_into_lines() {
        assert_eq!(elements(&Tensor::from_f32(&[2], &[1.0, 0.5]), 8), "[1.0, 0.5]");
        let text = elements(&Tensor::from_f32(&[60], &[0.5; 60]), 4);
        assert!(text.lines().all(|line| line.len() <= WIDTH) && text.lines().count() == 6, "{text}");
        assert_eq!(text.matches("0.5,").count(), 60);
        assert!(text.starts_with("[\n        0.5,") && text.ends_with("0.5,\n    ]"), "{text}");
    }
}
