use ndarray::array;

use super::*;

/// Three examples of shape (2,).
fn floats() -> Dataset {
    let targets = Targets::Binary(vec![0.0, 1.0, 1.0]);
    Dataset::new("floats", &[2], Values::F32(vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), targets)
}

/// `count` images of one channel, two rows and one column, whose bytes count on; of class i mod 3.
fn images(count: usize) -> Dataset {
    let bytes = (0..2 * count).map(|byte| byte as u8).collect();
    let targets = Targets::Classes { of: (0..count).map(|index| index % 3).collect(), count: 3 };
    Dataset::new("images", &[1, 2, 1], Values::pixels(bytes, 0.0, 1.0), targets)
}

#[test]
fn a_batch_holds_the_examples_asked_for_in_the_order_asked_for() {
    let batch = floats().batch::<f32>(&[2, 0, 2]);
    assert_eq!(batch, array![[0.5f32, 0.6], [0.1, 0.2], [0.5, 0.6]].into_dyn());
    assert_eq!(floats().targets().at(&[2, 0, 2]), Targets::Binary(vec![1.0, 0.0, 1.0]));

    let batch = images(5).batch::<f32>(&[4, 1]);
    assert_eq!(batch, array![[[[8.0f32], [9.0]]], [[[2.0], [3.0]]]].mapv(|byte| byte / 255.0).into_dyn());
    assert_eq!(images(5).targets().at(&[4, 1]), Targets::Classes { of: vec![1, 1], count: 3 });

    assert_eq!(images(5).batch::<f32>(&[]).shape(), [0, 1, 2, 1]);
}

#[test]
fn a_batch_of_f64_is_that_of_f32_widened() {
    for data in [floats(), images(3)] {
        let narrow = data.batch::<f32>(&[1, 2]);
        assert_eq!(data.batch::<f64>(&[1, 2]), narrow.mapv(f64::from));
    }
}

/// In f32 and in this order: the two roundings of ToTensor and Normalize each show in some byte.
#[test]
fn pixels_are_normalised_as_torchvision_does() {
    let targets = Targets::Classes { of: vec![0; 256], count: 1 };
    let all = Dataset::new("bytes", &[], Values::pixels((0..=255).collect(), 0.1307, 0.3081), targets);
    let batch = all.batch::<f32>(&(0..256).collect::<Vec<_>>());
    for byte in 0..=255u8 {
        let scaled = f32::from(byte) / 255.0f32;
        assert_eq!(batch[[usize::from(byte)]], (scaled - 0.1307f32) / 0.3081f32);
    }
    let at_once = |byte: f64| ((byte / 255.0 - 0.1307) / 0.3081) as f32;
    assert!((0..256).any(|byte| batch[[byte]] != at_once(byte as f64)));
    // labml's figures: black is −0.4242, white 2.8215.
    assert!((batch[[0]] + 0.4242).abs() < 5e-5 && (batch[[255]] - 2.8215).abs() < 5e-5);
}

#[test]
fn every_fifth_example_validates() {
    let whole = images(11);
    let split = whole.every_fifth_validates();
    assert_eq!(split.validation.batch::<f32>(&[0, 1]), whole.batch::<f32>(&[4, 9]));
    assert_eq!(split.validation.targets(), &whole.targets().at(&[4, 9]));
    let others = [0, 1, 2, 3, 5, 6, 7, 8, 10];
    assert_eq!(split.train.batch::<f32>(&[0, 1, 2, 3, 4, 5, 6, 7, 8]), whole.batch::<f32>(&others));
    assert_eq!(split.train.targets(), &whole.targets().at(&others));
    assert_eq!((split.train.name(), split.validation.name()), ("images, training", "images, validation"));
}

#[test]
fn a_subset_is_a_data_set() {
    let part = floats().subset(&[1]);
    assert_eq!((part.len(), part.is_empty(), part.example_shape()), (1, false, &[2][..]));
    assert_eq!(part.batch::<f32>(&[0]), floats().batch::<f32>(&[1]));
    assert!(floats().subset(&[]).is_empty());
    assert_eq!(format!("{:?}", images(4).subset(&[0, 3])), r#"Dataset("images", 2 × [1, 2, 1])"#);
}

#[test]
#[should_panic(expected = "range")]
fn an_example_that_is_not_there_is_no_batch() {
    floats().batch::<f32>(&[3]);
}
