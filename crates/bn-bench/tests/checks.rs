//! The check before the timing: it passes right results of both engines, and
//! stops at one wrong element.

use bn_bench::{EPS, Libtorch, Ours, Workload};
use tch::Device;

const SHAPES: [&[usize]; 3] = [&[64, 100], &[4, 3, 5, 7], &[2, 4, 3, 2, 5]];

#[test]
fn both_engines_are_right_before_they_are_timed() {
    for shape in SHAPES {
        let work = Workload::new(shape);
        let mut ours = Ours::new(&work);
        ours.eval_forward().unwrap();
        ours.check_forward(false).unwrap();
        ours.train_forward().unwrap();
        ours.check_forward(true).unwrap();
        ours.train_backward().unwrap();
        ours.check_backward().unwrap();
        let mut libtorch = Libtorch::new(&work, Device::Cpu).unwrap();
        libtorch.eval_forward().unwrap();
        libtorch.check_forward(false).unwrap();
        libtorch.train_forward().unwrap();
        libtorch.check_forward(true).unwrap();
        libtorch.train_backward().unwrap();
        libtorch.check_backward().unwrap();
    }
}

/// x̂ with the unbiased variance in place of the biased one, weight and bias as they should be.
#[test]
fn a_wrong_variance_is_stopped() {
    let work = Workload::new(&[64, 100]);
    let (x, n) = (&work.input, work.per_channel() as f64);
    let mut output = vec![0.0; x.len()];
    for c in 0..work.channels() {
        let column: Vec<f64> = (0..64).map(|i| f64::from(x[[i, c]])).collect();
        let mean = column.iter().sum::<f64>() / n;
        let var_unbiased = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let scale = f64::from(work.weight[c]) / (var_unbiased + EPS).sqrt();
        for (i, x) in column.iter().enumerate() {
            output[i * 100 + c] = ((x - mean) * scale + f64::from(work.bias[c])) as f32;
        }
    }
    let error = work.check_forward(true, &output).unwrap_err().to_string();
    assert!(error.starts_with("output[0] is "), "{error}");
}

#[test]
fn a_single_wrong_gradient_is_stopped() {
    let work = Workload::new(&[4, 3, 5, 7]);
    let zeros = vec![0.0; 3];
    let error = work.check_backward(&vec![0.0; 420], &zeros, &zeros).unwrap_err().to_string();
    assert!(error.starts_with("grad_bias[0] is "), "{error}");
}
