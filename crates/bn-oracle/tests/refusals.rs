//! In which order PyTorch refuses, and in what words. Each case has several
//! reasons to be refused; the first in PyTorch's order is the one it gives:
//!
//! rank, counter, values per channel, eps, then libtorch's own: for each of
//! running_mean, running_var, weight, bias its absence (in evaluation) or its
//! length; one running statistic without the other (in training); dtypes.

mod common;

use bn_suite::case::{Case, Layer, Mode, Pass, Rank, State};
use bn_suite::number::Number;
use bn_suite::outcome::{Field, Outcome, RefusalKind};
use bn_suite::tensor::{DType, Tensor};
use common::{case, ramp, run, slope, state, step};

/// A layer and an input with everything wrong that can be wrong at once.
struct Wrong {
    mode: Mode,
    rank: Rank,
    shape: Vec<usize>,
    input: DType,
    eps: f64,
    momentum: Option<Number>,
    state: State,
}

impl Wrong {
    fn everything() -> Self {
        let mut state = state(DType::F32, 2);
        state.running_var = None;
        state.num_batches_tracked = Some(-1);
        Wrong {
            mode: Mode::Train,
            rank: Rank::Two,
            shape: vec![1, 3],
            input: DType::F64,
            eps: 0.0,
            momentum: None,
            state,
        }
    }

    fn case(&self) -> Case {
        let layer = Layer {
            rank: self.rank,
            num_features: 2,
            eps: self.eps,
            momentum: self.momentum,
            track_running_stats: true,
        };
        case(layer, self.state.clone(), vec![step(Pass::forward(self.mode, ramp(self.input, &self.shape)))])
    }

    #[track_caller]
    fn is_refused(&self, kind: RefusalKind, message: &str) -> Outcome {
        let outcome = run(&self.case()).unwrap().remove(0);
        let refusal = outcome.refused.clone().expect("refused");
        assert_eq!((refusal.kind, refusal.message.as_str()), (kind, message));
        outcome
    }
}

#[test]
fn one_reason_after_the_other_in_training() {
    let mut wrong = Wrong::everything();
    let outcome = wrong.is_refused(RefusalKind::Rank, "expected 4D input (got 2D input)");
    assert_eq!(outcome.num_batches_tracked, Some(-1), "the rank is checked before the counter rises");
    wrong.rank = Rank::One;
    let outcome = wrong.is_refused(RefusalKind::CounterZero, "float division by zero");
    assert_eq!(outcome.num_batches_tracked, Some(0));
    wrong.momentum = Some(Number(0.1));
    wrong.is_refused(
        RefusalKind::TooFewValues,
        "Expected more than 1 value per channel when training, got input size torch.Size([1, 3])",
    );
    wrong.shape = vec![2, 3];
    wrong.is_refused(RefusalKind::Eps, "batch_norm eps must be positive during training, but got 0.0");
    wrong.eps = 1e-5;
    wrong.is_refused(RefusalKind::NumFeatures, "running_mean should contain 3 elements not 2");
    wrong.state.running_mean = state(DType::F32, 3).running_mean;
    wrong.is_refused(RefusalKind::NumFeatures, "weight should contain 3 elements not 2");
    wrong.state.weight = state(DType::F32, 3).weight;
    wrong.is_refused(RefusalKind::NumFeatures, "bias should contain 3 elements not 2");
    wrong.state.bias = state(DType::F32, 3).bias;
    wrong.is_refused(
        RefusalKind::RunningStats,
        "running_mean and running_var must either both be None or neither be None",
    );
    wrong.state.running_var = state(DType::F32, 2).running_var;
    wrong.is_refused(RefusalKind::NumFeatures, "running_var should contain 3 elements not 2");
    wrong.state.running_var = state(DType::F32, 3).running_var;
    let outcome =
        wrong.is_refused(RefusalKind::Dtype, "mixed dtype (CPU): all inputs must share same datatype.");
    assert_eq!(outcome.num_batches_tracked, Some(0), "the counter rose all the same");
    wrong.input = DType::F32;
    let outcome = run(&wrong.case()).unwrap().remove(0);
    assert_eq!(outcome.refused, None);
}

#[test]
fn one_reason_after_the_other_in_evaluation() {
    let mut wrong = Wrong { mode: Mode::Eval, rank: Rank::One, eps: -1.0, ..Wrong::everything() };
    wrong.is_refused(RefusalKind::Eps, "batch_norm eps must be non-negative, but got -1.0");
    wrong.eps = 0.0;
    wrong.is_refused(RefusalKind::NumFeatures, "running_mean should contain 3 elements not 2");
    wrong.state.running_mean = state(DType::F32, 3).running_mean;
    wrong.is_refused(RefusalKind::RunningStats, "running_var must be defined in evaluation mode");
    wrong.state.running_var = wrong.state.running_mean.take();
    wrong.is_refused(RefusalKind::RunningStats, "running_mean must be defined in evaluation mode");
    wrong.state.running_mean = wrong.state.running_var.clone();
    wrong.is_refused(RefusalKind::NumFeatures, "weight should contain 3 elements not 2");
}

#[test]
fn integers_are_refused_by_name() {
    for (dtype, message) in [
        (DType::I64, "\"batch_norm\" not implemented for 'Long'"),
        (DType::Bool, "\"batch_norm\" not implemented for 'Bool'"),
    ] {
        let input = Tensor::new(dtype, &[2, 2], vec![0.0, 1.0, 1.0, 0.0]);
        let layer = Layer { num_features: 2, ..Layer::default() };
        let pass = Pass::forward(Mode::Train, input);
        let outcome = run(&case(layer, state(DType::F32, 2), vec![step(pass)])).unwrap().remove(0);
        let refusal = outcome.refused.expect("refused");
        assert_eq!((refusal.kind, refusal.message.as_str()), (RefusalKind::Dtype, message));
    }
}

/// An empty batch is answered before libtorch checks anything of its own.
#[test]
fn an_empty_batch_is_not_checked() {
    let pass = Pass::forward(Mode::Train, Tensor::new(DType::F32, &[0, 3], vec![]));
    let layer = Layer { num_features: 2, ..Layer::default() };
    let outcome = run(&case(layer, state(DType::F64, 2), vec![step(pass)])).unwrap().remove(0);
    assert_eq!((outcome.refused, outcome.num_batches_tracked), (None, Some(1)));
}

#[test]
fn grad_output_of_another_shape_is_refused_after_the_forward_pass() {
    let mut pass = Pass::forward(Mode::Train, ramp(DType::F32, &[4, 2]));
    pass.grad_output = Some(slope(DType::F32, &[1, 2]));
    let layer = Layer { num_features: 2, ..Layer::default() };
    let before = state(DType::F32, 2);
    let outcome = run(&case(layer, before.clone(), vec![step(pass)])).unwrap().remove(0);
    assert_eq!(outcome.refused.unwrap().kind, RefusalKind::Shape);
    assert_eq!(outcome.num_batches_tracked, Some(1));
    assert_ne!(outcome.fields[&Field::RunningMean].data, before.running_mean.unwrap().data);
    assert!(!outcome.fields.contains_key(&Field::Output));
}
