//! The 8×8 handwritten digits of scikit-learn, in the form of CIFAR-10 and of MNIST: real images,
//! small enough to come along, for the networks whose own data do not.
//!
//! The images are [`bn_suite::digits::images`]; what they show is in `data/digits-labels.txt`,
//! whose head says where both come from.

use super::{Dataset, Split, Targets, Values};

const LABELS: &str = include_str!("../../data/digits-labels.txt");
const CLASSES: usize = 10;
/// Rows, and columns, of an image as it comes.
const SIDE: usize = 8;

/// A shape that the digits are not made for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the shape [3, 32, 32] or [1, 28, 28], got {got:?}")]
pub struct DigitsError {
    /// What was asked for.
    pub got: Vec<usize>,
}

/// The 1797 digits as images of this shape, 0 for paper and 1 for full ink (16 in the data).
/// Images 4, 9, 14, … of scikit-learn's order validate, 359 of them; the other 1438 train.
///
/// | shape | a pixel becomes | around it all |
/// |---|---|---|
/// | (3, 32, 32), as CIFAR-10 | 4×4 pixels, the same in all three channels | nothing |
/// | (1, 28, 28), as MNIST | 3×3 pixels | a border of 2 pixels, all 0 |
///
/// # Errors
/// [`DigitsError`]: another shape.
pub fn digits(shape: &[usize]) -> Result<Split, DigitsError> {
    let (channels, zoom, border) = match shape {
        [3, 32, 32] => (3, 4, 0),
        [1, 28, 28] => (1, 3, 2),
        _ => return Err(DigitsError { got: shape.to_vec() }),
    };
    let images = bn_suite::digits::images();
    let bytes = images.iter().flat_map(|image| enlarged(image, zoom, border).repeat(channels)).collect();
    let targets = Targets::Classes { of: labels(), count: CLASSES };
    Ok(Dataset::new("digits", shape, Values::bytes(bytes, |ink| ink / 16.0), targets).every_fifth_validates())
}

/// One channel: each pixel `zoom` times as wide and as high, within a border of 0.
fn enlarged(image: &[f64], zoom: usize, border: usize) -> Vec<u8> {
    let side = SIDE * zoom + 2 * border;
    // Where in the image as it comes, if not in the border.
    let from = |at: usize| at.checked_sub(border).map(|at| at / zoom).filter(|&at| at < SIDE);
    let pixel = |row, column| match (from(row), from(column)) {
        (Some(row), Some(column)) => image[row * SIDE + column] as u8,
        _ => 0,
    };
    (0..side * side).map(|at| pixel(at / side, at % side)).collect()
}

/// What each image shows.
fn labels() -> Vec<usize> {
    let lines = LABELS.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.parse().expect("a digit")).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, Axis};

    use super::*;

    fn all(data: &Dataset) -> ArrayD<f32> {
        data.batch(&(0..data.len()).collect::<Vec<_>>())
    }

    fn classes(data: &Dataset) -> &[usize] {
        match data.targets() {
            Targets::Classes { of, count: CLASSES } => of,
            other => panic!("{other:?}"),
        }
    }

    /// As scikit-learn counts them.
    #[test]
    fn the_labels_are_complete() {
        let mut counts = [0; CLASSES];
        labels().iter().for_each(|&label| counts[label] += 1);
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(labels()[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    }

    #[test]
    fn four_fifths_train_and_one_validates() {
        let split = digits(&[1, 28, 28]).unwrap();
        assert_eq!((split.train.len(), split.validation.len()), (1438, 359));
        let labels = labels();
        assert_eq!(classes(&split.validation)[..3], [labels[4], labels[9], labels[14]]);
        assert_eq!(classes(&split.train)[..5], [labels[0], labels[1], labels[2], labels[3], labels[5]]);
    }

    #[test]
    fn each_pixel_becomes_a_square() {
        let images = bn_suite::digits::images();
        let colour = all(&digits(&[3, 32, 32]).unwrap().train);
        let grey = all(&digits(&[1, 28, 28]).unwrap().train);
        // Image 5 is the fifth that trains.
        for (at, image) in [(0, &images[0]), (4, &images[5])] {
            let colour = colour.index_axis(Axis(0), at);
            for ((channel, row, column), &ink) in
                colour.view().into_shape_with_order((3, 32, 32)).unwrap().indexed_iter()
            {
                assert_eq!(
                    f64::from(ink),
                    image[row / 4 * 8 + column / 4] / 16.0,
                    "{channel} {row} {column}"
                );
            }
            let grey = grey.index_axis(Axis(0), at);
            for ((_, row, column), &ink) in
                grey.view().into_shape_with_order((1, 28, 28)).unwrap().indexed_iter()
            {
                let inside = (2..26).contains(&row) && (2..26).contains(&column);
                let expected = if inside { image[(row - 2) / 3 * 8 + (column - 2) / 3] / 16.0 } else { 0.0 };
                assert_eq!(f64::from(ink), expected, "{row} {column}");
            }
        }
        assert_eq!(colour.iter().copied().fold(0.0, f32::max), 1.0);
    }

    /// Whoever is told by the nearest of the ten mean images is right about nine times in ten;
    /// labels of other images leave one in ten.
    #[test]
    fn labels_and_images_belong_together() {
        let split = digits(&[1, 28, 28]).unwrap();
        let (train, validation) = (all(&split.train), all(&split.validation));
        let means: Vec<ArrayD<f32>> = (0..CLASSES)
            .map(|class| {
                let of = |(at, &label): (usize, &usize)| (label == class).then_some(at);
                let members: Vec<usize> = classes(&split.train).iter().enumerate().filter_map(of).collect();
                train.select(Axis(0), &members).mean_axis(Axis(0)).unwrap()
            })
            .collect();
        let right = validation.outer_iter().zip(classes(&split.validation)).filter(|(image, label)| {
            let distance = |class: &usize| (image - &means[*class]).mapv(|d| d * d).sum();
            let nearest = (0..CLASSES).min_by(|a, b| distance(a).total_cmp(&distance(b)));
            nearest == Some(**label)
        });
        let right = right.count();
        assert!(right * 10 > validation.len_of(Axis(0)) * 8, "{right}");
    }

    #[test]
    fn another_shape_is_refused() {
        for shape in [&[3, 28, 28][..], &[1, 32, 32], &[64], &[]] {
            let error = digits(shape).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("expected the shape [3, 32, 32] or [1, 28, 28], got {shape:?}")
            );
        }
    }
}
