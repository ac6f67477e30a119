//! The check before the timing: it passes right results of every contestant in every
//! setting, and stops at one wrong element.

use batchnorm::{Moments, moments};
use bn_bench::axes::{Layout, Op};
use bn_bench::contestants::{Contestant, Libtorch, LibtorchCopy, Ours, OursOnDevice, Setting, Who};
use bn_bench::paired::Call;
use bn_bench::row::{Contest, Threads};
use bn_bench::{EPS, Expected, Value, Workload};
use bn_cuda::emulator::{Emulator, Schedule};
use bn_cuda::replay::Recorder;
use half::{bf16, f16};
use ndarray::{Array1, Axis};
use tch::Device;

const OPS: [Op; 9] = [
    Op::ForwardTrain,
    Op::ForwardEval,
    Op::BackwardTrain,
    Op::BackwardEval,
    Op::ForwardTrainRelu,
    Op::ForwardTrainAddRelu,
    Op::ForwardEvalRelu,
    Op::BackwardTrainRelu,
    Op::BackwardTrainAddRelu,
];

fn all_are_right<T: Value>() {
    let threads = Threads::new(2).unwrap();
    for shape in [&[64, 100][..], &[4, 3, 5, 7], &[3, 70, 9, 11], &[2, 4, 3, 2, 5]] {
        for layout in [Layout::Contiguous, Layout::ChannelsLast] {
            let work = Workload::<T>::new(shape, layout).unwrap();
            for op in OPS {
                let contest = Contest::new(&work, op, &Who::here(), &threads).unwrap();
                assert!(contest.outside.is_empty(), "{shape:?} {layout} {op}: {:?}", contest.outside);
            }
        }
    }
}

fn emulator() -> Recorder<Emulator> {
    Recorder::new(Emulator::new(Schedule::Shuffled { seed: 1 }))
}

/// What is timed on a GPU, on the machine that emulates one: several copies of the arrays, each
/// of which gets results of its own.
fn our_kernels_are_right<T: Value>() {
    for (shape, layout) in [
        (&[64, 100][..], Layout::Contiguous),
        (&[4, 3, 5, 7], Layout::Contiguous),
        (&[4, 8, 6, 6], Layout::Contiguous),
        (&[3, 70, 9, 11], Layout::ChannelsLast),
    ] {
        let work = Workload::<T>::new(shape, layout).unwrap();
        for op in [Op::ForwardTrain, Op::ForwardEval, Op::BackwardTrain, Op::BackwardEval] {
            let mut ours = OursOnDevice::new(&work, op, emulator(), 3).unwrap();
            let expected = Expected::new(&work, op);
            assert!(ours.check(&expected).is_err(), "{shape:?} {layout} {op}: right before it was done");
            let mut ours = OursOnDevice::new(&work, op, emulator(), 3).unwrap();
            ours.call().unwrap();
            ours.check(&expected).unwrap_or_else(|error| panic!("{shape:?} {layout} {op}: {error}"));
        }
    }
}

#[test]
fn our_kernels_are_right_before_they_are_timed() {
    our_kernels_are_right::<f32>();
    our_kernels_are_right::<bf16>();
    our_kernels_are_right::<f16>();
}

#[test]
fn what_our_kernels_do_not_do_is_refused() {
    let work = Workload::<f64>::new(&[4, 3], Layout::Contiguous).unwrap();
    let refusal = OursOnDevice::new(&work, Op::ForwardTrain, emulator(), 1).err().unwrap();
    assert!(refusal.to_string().starts_with("the CUDA kernels take f32, f16 or bf16"), "{refusal}");
    let work = Workload::<f32>::new(&[4, 3], Layout::Contiguous).unwrap();
    let refusal = OursOnDevice::new(&work, Op::ForwardTrainRelu, emulator(), 1).err().unwrap();
    assert_eq!(refusal.to_string(), "the CUDA kernels have no relu: forward-train-relu");
}

/// libtorch on copies of the arrays, as on a GPU: each call takes the next.
#[test]
fn contestants_with_copies_of_the_arrays_are_right_in_each() {
    for layout in [Layout::Contiguous, Layout::ChannelsLast] {
        let work = Workload::<f32>::new(&[4, 3, 5, 7], layout).unwrap();
        let setting = Setting { copies: 3, ..Setting::CPU };
        let _no_graph = tch::no_grad_guard();
        for op in OPS {
            let expected = Expected::new(&work, op);
            let mut libtorch = Libtorch::new(&work, op, setting).unwrap();
            assert!(libtorch.check(&expected).is_err(), "{layout} {op}: right before it was done");
            let mut libtorch = Libtorch::new(&work, op, setting).unwrap();
            libtorch.call().unwrap();
            libtorch.check(&expected).unwrap_or_else(|error| panic!("{layout} {op}: {error}"));
        }
        let expected = Expected::new(&work, Op::ForwardTrain);
        let mut copy = LibtorchCopy::new(&work, Device::Cpu, 3).unwrap();
        copy.call().unwrap();
        copy.check(&expected).unwrap();
    }
}

#[test]
fn every_contestant_is_right_before_it_is_timed_in_f32() {
    all_are_right::<f32>();
}

#[test]
fn every_contestant_is_right_before_it_is_timed_in_f64() {
    all_are_right::<f64>();
}

#[test]
fn every_contestant_is_right_before_it_is_timed_in_bf16() {
    all_are_right::<bf16>();
}

#[test]
fn every_contestant_is_right_before_it_is_timed_in_f16() {
    all_are_right::<f16>();
}

/// x̂ with the unbiased variance in place of the biased one, weight and bias as they should be.
#[test]
fn a_wrong_variance_is_stopped() {
    let work = Workload::<f32>::new(&[64, 100], Layout::Contiguous).unwrap();
    let (x, n) = (work.view(&work.input), work.per_channel() as f64);
    let mut output = work.blank();
    let mut y = work.view_mut(&mut output);
    for c in 0..work.channels() {
        let column = x.index_axis(Axis(1), c).mapv(f64::from);
        let mean = column.sum() / n;
        let var_unbiased = column.fold(0.0, |sum, x| sum + (x - mean).powi(2)) / (n - 1.0);
        let scale = f64::from(work.weight[c]) / (var_unbiased + EPS).sqrt();
        let wrong = column.mapv(|x| ((x - mean) * scale + f64::from(work.bias[c])) as f32);
        y.index_axis_mut(Axis(1), c).assign(&wrong);
    }
    let outside = Expected::new(&work, Op::ForwardTrain).check_output(&output).unwrap_err();
    assert_eq!(outside.array, "output");
    let (off, allowed) = ((outside.got - outside.expected).abs(), outside.allowance);
    assert!(allowed < off && off < 0.1, "{outside}");
}

/// One element of a right result moved by a hundredth of itself.
#[test]
fn a_single_wrong_element_is_found_where_it_is() {
    for layout in [Layout::Contiguous, Layout::ChannelsLast] {
        let work = Workload::<f32>::new(&[4, 3, 5, 7], layout).unwrap();
        let expected = Expected::new(&work, Op::BackwardEval);
        let mut gradient = work.blank();
        let invstd = |c: usize| 1.0 / (f64::from(work.running_var[c]) + EPS).sqrt();
        let g = work.view(&work.grad_output);
        for (at, value) in work.view_mut(&mut gradient).indexed_iter_mut() {
            let c = at[1];
            *value = (f64::from(work.weight[c]) * invstd(c) * f64::from(g[&at])) as f32;
        }
        expected.check_grad_input(&gradient).unwrap();
        gradient[100] *= 1.01;
        let outside = expected.check_grad_input(&gradient).unwrap_err();
        assert_eq!((outside.array, outside.index), ("grad_input", 100));
        gradient[100] = f32::NAN;
        assert!(expected.check_grad_input(&gradient).is_err(), "NaN is no gradient");
    }
}

/// grad_output as it came, where relu let nothing through.
#[test]
fn a_gradient_that_relu_should_have_stopped_is_found() {
    let work = Workload::<f32>::new(&[4, 3, 5, 7], Layout::Contiguous).unwrap();
    let expected = Expected::new(&work, Op::BackwardTrainAddRelu);
    let mut gradient = work.blank();
    for at in 0..gradient.len() {
        gradient[at] = if work.input[at] > 0.0 { work.grad_output[at] } else { 0.0 };
    }
    expected.check_grad_residual(&gradient).unwrap();
    let at = work.input.iter().position(|&x| x < 0.0).unwrap();
    gradient[at] = work.grad_output[at];
    let outside = expected.check_grad_residual(&gradient).unwrap_err();
    assert_eq!((outside.array, outside.index, outside.expected), ("grad_residual", at, 0.0));
}

/// The output of the batch norm alone, where relu of it was asked for, and with another
/// array added.
#[test]
fn an_output_that_relu_never_saw_is_found() {
    let work = Workload::<f64>::new(&[4, 3, 5, 7], Layout::Contiguous).unwrap();
    let mut ours = Ours::new(&work, Op::ForwardTrain).unwrap();
    ours.call().unwrap();
    Expected::new(&work, Op::ForwardTrain).check_output(&ours.result).unwrap();
    assert!(Expected::new(&work, Op::ForwardTrainRelu).check_output(&ours.result).is_err());
    let mut rectified = Ours::new(&work, Op::ForwardTrainRelu).unwrap();
    rectified.call().unwrap();
    Expected::new(&work, Op::ForwardTrainRelu).check_output(&rectified.result).unwrap();
    assert!(Expected::new(&work, Op::ForwardTrainAddRelu).check_output(&rectified.result).is_err());
}

/// The most common mistake of all: the biased variance in the running one.
#[test]
fn a_biased_running_variance_is_stopped() {
    let work = Workload::<f32>::new(&[64, 10], Layout::Contiguous).unwrap();
    let expected = Expected::new(&work, Op::ForwardTrain);
    let batch = moments(work.view(&work.input)).unwrap();
    let update = |var: fn(&Moments) -> f64| {
        let old = work.running_var.mapv(f64::from);
        Array1::from_shape_fn(10, |c| (0.9 * old[c] + 0.1 * var(&batch[c])) as f32)
    };
    let mean =
        Array1::from_shape_fn(10, |c| (0.9 * f64::from(work.running_mean[c]) + 0.1 * batch[c].mean()) as f32);
    expected.check_running(&mean, &update(|moments| moments.var_unbiased())).unwrap();
    let outside = expected.check_running(&mean, &update(|moments| moments.var_biased())).unwrap_err();
    assert_eq!((outside.array, outside.index), ("running_var", 0));
}

#[test]
fn sums_are_held_to_their_terms() {
    let work = Workload::<f32>::new(&[4, 3, 5, 7], Layout::Contiguous).unwrap();
    let zeros = Array1::zeros(3);
    let outside = Expected::new(&work, Op::BackwardTrain).check_sums(&zeros, &zeros).unwrap_err();
    assert_eq!((outside.array, outside.index), ("grad_bias", 0));
    assert!(outside.to_string().starts_with("grad_bias[0] is 0.0, expected "), "{outside}");
}

#[test]
fn one_value_per_channel_has_no_training_pass() {
    let work = Workload::<f32>::new(&[1, 64], Layout::Contiguous).unwrap();
    let threads = Threads::new(1).unwrap();
    let error = Contest::new(&work, Op::ForwardTrain, &[Who::Ours], &threads).err().unwrap();
    let expected = "expected more than 1 value per channel in training, got the shape [1, 64]";
    assert_eq!(error.to_string(), expected);
    Contest::new(&work, Op::ForwardEval, &[Who::Ours], &threads).unwrap();
}
