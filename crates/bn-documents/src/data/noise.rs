//! The dummy data of the documents that only show a network: standard normal numbers, here with
//! labels that can be learnt.
//!
//! The label of x is that of a *teacher*, a linear map of the same kind of numbers:
//! argmax over c of Σᵢ W[c, i]·x[i]. No label is wrong, so that a network with enough weights
//! can fit all of them.

use std::f64::consts::TAU;

use fastrand::Rng;

use super::{Dataset, Split, Targets, VALIDATES, Values};

/// A slip in an extent must not ask for all the memory there is: as many f32 fill 1 GiB.
const MOST_VALUES: usize = 1 << 28;

/// Why there is no such data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// An axis without extent holds no number.
    #[error("expected no axis of extent 0, got the shape {0:?}")]
    Shape(Vec<usize>),
    /// One class leaves nothing to tell apart.
    #[error("expected at least 2 classes, got {0}")]
    Classes(usize),
    /// Both parts hold an example.
    #[error("expected at least {VALIDATES} examples, one of which validates, got {0}")]
    Count(usize),
    /// The examples, or the teacher, would fill the memory.
    #[error("expected at most {MOST_VALUES} numbers, got {rows} rows of the shape {shape:?}")]
    TooLarge {
        /// Examples, or classes.
        rows: usize,
        /// Of one of them.
        shape: Vec<usize>,
    },
}

/// `count` examples of this shape and a teacher's labels for them, of which examples 4, 9, 14, …
/// validate. The same arguments give the same data, apart from last bits where another machine's
/// ln or cos rounds otherwise.
///
/// # Errors
/// [`NoiseError`]: there would be nothing to learn, nothing to validate, or more than memory holds.
pub fn noise(shape: &[usize], classes: usize, count: usize, seed: u64) -> Result<Split, NoiseError> {
    if shape.contains(&0) {
        return Err(NoiseError::Shape(shape.to_vec()));
    }
    if classes < 2 {
        return Err(NoiseError::Classes(classes));
    }
    if count < VALIDATES {
        return Err(NoiseError::Count(count));
    }
    let (weights, numbers) = (fitting(classes, shape)?, fitting(count, shape)?);
    let mut rng = Rng::with_seed(seed);
    let (teacher, values) = (normals(&mut rng, weights), normals(&mut rng, numbers));
    let size = shape.iter().product();
    let of = values.chunks_exact(size).map(|example| label(&teacher, example)).collect();
    let targets = Targets::Classes { of, count: classes };
    Ok(Dataset::new("noise", shape, Values::F32(values), targets).every_fifth_validates())
}

/// How many numbers so many rows of this shape are.
fn fitting(rows: usize, shape: &[usize]) -> Result<usize, NoiseError> {
    let count = shape.iter().try_fold(rows, |product, &extent| product.checked_mul(extent));
    count
        .filter(|&count| count <= MOST_VALUES)
        .ok_or_else(|| NoiseError::TooLarge { rows, shape: shape.to_vec() })
}

/// Standard normal numbers (Box and Muller 1958): with u and v uniform on (0, 1],
/// √(−2·ln u)·cos(2π·v). Its sibling with the sine is left unused: one pair, one number.
fn normals(rng: &mut Rng, count: usize) -> Vec<f32> {
    // f64() is below 1 and may be 0, of which there is no logarithm.
    let mut uniform = || 1.0 - rng.f64();
    (0..count).map(|_| ((-2.0 * uniform().ln()).sqrt() * (TAU * uniform()).cos()) as f32).collect()
}

/// The row of the teacher with the largest product, the first of equals.
fn label(teacher: &[f32], example: &[f32]) -> usize {
    let product =
        |row: &[f32]| row.iter().zip(example).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>();
    let products = teacher.chunks_exact(example.len()).map(product).enumerate();
    let best = products.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.expect("at least two classes").0
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Ix2};

    use super::*;

    fn examples(data: &Dataset) -> Array2<f64> {
        let all: Vec<usize> = (0..data.len()).collect();
        data.batch(&all).into_dimensionality::<Ix2>().unwrap()
    }

    fn classes(data: &Dataset) -> &[usize] {
        match data.targets() {
            Targets::Classes { of, .. } => of,
            other => panic!("{other:?}"),
        }
    }

    /// Of n numbers, the mean is off by about 1/√n, the mean of x² by √(2/n), of x⁴ by √(96/n);
    /// five of these are one seed in two million.
    #[test]
    fn the_numbers_are_standard_normal() {
        let numbers = normals(&mut Rng::with_seed(7), 100_000);
        let moment = |power: i32| numbers.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / 1e5;
        for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let off = (moment(power) - expected).abs();
            assert!(off < 5.0 * f64::sqrt(variance / 1e5), "x^{power}: {off}");
        }
        // Neighbours, which share no uniform number, do not follow each other.
        let lag = numbers.windows(2).map(|pair| f64::from(pair[0] * pair[1])).sum::<f64>() / 1e5;
        assert!(lag.abs() < 5.0 / f64::sqrt(1e5), "{lag}");
    }

    #[test]
    fn the_seed_alone_decides() {
        let split = noise(&[2, 3], 4, 53, 1).unwrap();
        assert!(split == noise(&[2, 3], 4, 53, 1).unwrap());
        assert!(split != noise(&[2, 3], 4, 53, 2).unwrap());
        assert_eq!((split.train.len(), split.validation.len()), (43, 10));
        assert_eq!(split.train.batch::<f32>(&[0, 1]).shape(), [2, 2, 3]);
        assert!(matches!(split.train.targets(), Targets::Classes { count: 4, .. }));
    }

    /// Rosenblatt's perceptron makes no more mistakes once it has met linear labels often enough;
    /// of labels that mean nothing, it would tell a third apart.
    #[test]
    fn a_linear_model_learns_the_labels() {
        let split = noise(&[4], 3, 500, 3).unwrap();
        let mut weight = Array2::<f64>::zeros((3, 4));
        let answer = |weight: &Array2<f64>, x: &[f64]| {
            let flat: Vec<f32> = weight.iter().map(|&w| w as f32).collect();
            label(&flat, &x.iter().map(|&x| x as f32).collect::<Vec<_>>())
        };
        let train = examples(&split.train);
        let mut clean = false;
        for _ in 0..2000 {
            clean = true;
            for (x, &class) in train.outer_iter().zip(classes(&split.train)) {
                let said = answer(&weight, x.as_slice().unwrap());
                if said != class {
                    clean = false;
                    weight.row_mut(class).scaled_add(1.0, &x);
                    weight.row_mut(said).scaled_add(-1.0, &x);
                }
            }
            if clean {
                break;
            }
        }
        assert!(clean, "400 linear labels are fitted");
        let validation = examples(&split.validation);
        let right = validation.outer_iter().zip(classes(&split.validation));
        let right = right.filter(|(x, class)| answer(&weight, x.as_slice().unwrap()) == **class).count();
        assert!(right >= 90, "{right} of 100");
    }

    #[test]
    fn the_teacher_has_no_favourite() {
        let split = noise(&[3, 32, 32], 10, 500, 5).unwrap();
        for class in 0..10 {
            let members = classes(&split.train).iter().filter(|&&of| of == class).count();
            assert!((10..120).contains(&members), "{class}: {members} of 400");
        }
    }

    #[test]
    fn what_cannot_be_learnt_or_held_is_refused() {
        let refusal = |shape: &[usize], classes, count| noise(shape, classes, count, 0).unwrap_err();
        assert_eq!(refusal(&[3, 0], 2, 5), NoiseError::Shape(vec![3, 0]));
        assert_eq!(refusal(&[3], 1, 5).to_string(), "expected at least 2 classes, got 1");
        let expected = "expected at least 5 examples, one of which validates, got 4";
        assert_eq!(refusal(&[3], 2, 4).to_string(), expected);
        let expected = "expected at most 268435456 numbers, got 5 rows of the shape [16384, 16384]";
        assert_eq!(refusal(&[1 << 14, 1 << 14], 2, 5).to_string(), expected.replace("5 rows", "2 rows"));
        for (classes, count) in [(2, usize::MAX), (usize::MAX, 5)] {
            let rows = usize::MAX;
            assert_eq!(refusal(&[3], classes, count), NoiseError::TooLarge { rows, shape: vec![3] });
        }
        assert!(noise(&[], 2, 5, 0).is_ok());
    }
}
