//! Real activations: the 8×8 handwritten digits of scikit-learn, 1797 images of
//! 64 pixels from 0 to 16. Real data are not normal: border pixels are 0 in every
//! image (variance 0), others nearly so, and no two channels are alike.
//!
//! The data (UCI *Optical Recognition of Handwritten Digits*, CC BY 4.0) are in
//! `data/digits.txt`, whose head says where they come from.

const FILE: &str = include_str!("../data/digits.txt");

/// The 1797 images in scikit-learn's order, each 64 pixels row by row, integers from 0 to 16.
pub fn images() -> Vec<Vec<f64>> {
    let pixel = |letter: char| f64::from(letter.to_digit(17).expect("a digit of base 17"));
    let lines = FILE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.chars().map(pixel).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sums that scikit-learn's own copy has: 561 718 in all, and pixel 0 never lit.
    #[test]
    fn the_data_are_complete() {
        let images = images();
        assert_eq!(images.len(), 1797);
        assert!(images.iter().all(|image| image.len() == 64 && image[0] == 0.0));
        assert_eq!(images.iter().flatten().sum::<f64>(), 561_718.0);
    }
}
