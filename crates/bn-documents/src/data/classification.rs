//! The points of the document that trains with and without batch norm: scikit-learn's
//! `make_classification` with the document's arguments, standardised and split as there.
//!
//! They are in `data/classification.txt`, whose head says how they came about; Rust has no
//! `make_classification`.

use super::{Dataset, Split, Targets, Values};

const FILE: &str = include_str!("../../data/classification.txt");
const FEATURES: usize = 20;
/// The first rows of the file; the others validate.
const TRAIN: usize = 800;

/// 800 points to train on and 200 to validate on, of shape (20,), in two classes. Over all 1000,
/// each feature has mean 0 and biased variance 1.
pub fn classification() -> Split {
    let rows: Vec<Vec<f32>> = FILE.lines().filter(|line| !line.starts_with('#')).map(row).collect();
    let (train, validation) = rows.split_at(TRAIN);
    Split { train: dataset("training", train), validation: dataset("validation", validation) }
}

/// The class, then the features.
fn row(line: &str) -> Vec<f32> {
    line.split(' ').map(|word| word.parse().expect("a number")).collect()
}

fn dataset(purpose: &str, rows: &[Vec<f32>]) -> Dataset {
    let targets = Targets::Binary(rows.iter().map(|row| row[0]).collect());
    let values = Values::F32(rows.iter().flat_map(|row| &row[1..]).copied().collect());
    Dataset::new(format!("classification, {purpose}"), &[FEATURES], values, targets)
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, Axis, concatenate};

    use super::*;

    fn all(data: &Dataset) -> ArrayD<f64> {
        data.batch(&(0..data.len()).collect::<Vec<_>>())
    }

    fn of_class_1(data: &Dataset) -> usize {
        match data.targets() {
            Targets::Binary(of) => {
                assert!(of.iter().all(|&class| class == 0.0 || class == 1.0));
                of.iter().filter(|&&class| class == 1.0).count()
            }
            other => panic!("{other:?}"),
        }
    }

    /// scikit-learn: 503 of 1000 are of class 1 (1 % of the classes are drawn anew), 405 of the 800.
    #[test]
    fn the_data_are_complete() {
        let Split { train, validation } = classification();
        assert_eq!((train.len(), validation.len()), (800, 200));
        assert_eq!((of_class_1(&train), of_class_1(&validation)), (405, 98));
        assert_eq!((train.example_shape(), validation.example_shape()), (&[20][..], &[20][..]));
    }

    /// u = 2⁻²⁴ is what rounding to f32 may change of a value x that was standardised in f64:
    /// |δ| ≤ u·|x|. The mean moves by at most u·mean|x| ≤ u·√mean(x²) = u, the variance by
    /// 2u·mean(x²) = 2u. What the f64 of scikit-learn and of this test round is below 1 % of that:
    /// 1000 additions of 2⁻⁵³ each are 2⁻⁴³ of the values' size.
    #[test]
    fn all_rows_together_are_standardised() {
        let u = 2f64.powi(-24);
        let Split { train, validation } = classification();
        let rows = concatenate(Axis(0), &[all(&train).view(), all(&validation).view()]).unwrap();
        let (mean, var_biased) = (rows.mean_axis(Axis(0)).unwrap(), rows.var_axis(Axis(0), 0.0));
        for feature in 0..FEATURES {
            assert!(mean[[feature]].abs() <= 1.01 * u, "{feature}: {}", mean[[feature]]);
            assert!(
                (var_biased[[feature]] - 1.0).abs() <= 1.01 * 2.0 * u,
                "{feature}: {}",
                var_biased[[feature]]
            );
        }
    }

    /// Against the arrays that scikit-learn gave, read off there: the corners of both parts. Means
    /// and variances cannot tell the order of rows and features.
    #[test]
    fn rows_and_features_stand_in_scikit_learns_order() {
        let Split { train, validation } = classification();
        let corner = |data: &Dataset, row, feature| data.batch::<f32>(&[row])[[0, feature]];
        assert_eq!(corner(&train, 0, 0), 0.013568758);
        assert_eq!(corner(&train, 799, 19), 1.992919);
        assert_eq!(corner(&validation, 0, 0), 0.8849068);
        assert_eq!(corner(&validation, 199, 19), 0.070721306);
        let first = Targets::Binary(vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!(train.targets().at(&[0, 1, 2, 3, 4, 5, 6, 7]), first);
        let last = Targets::Binary(vec![1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(validation.targets().at(&[192, 193, 194, 195, 196, 197, 198, 199]), last);
    }
}
