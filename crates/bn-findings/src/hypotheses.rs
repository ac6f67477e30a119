//! Mistakes that are no mutants of the suite, since they depend on what else the engine does.

use bn_suite::case::{Case, Mode, Pass, Step};
use bn_suite::engines;
use bn_suite::outcome::{Field, Outcome};
use bn_suite::protocol::run_caught;
use bn_suite::tensor::Tensor;
use bn_suite::truth::format::nearest;

/// The ids of this file's mistakes, in the order in which they are preferred.
pub const IDS: [&str; 1] = [BY_RUNNING_VAR];

const BY_RUNNING_VAR: &str = "train-normalises-by-running-var";

/// What each mistake makes of a step that the engine answered so; one may answer in two ways.
pub fn answers(case: &Case, got: &Outcome) -> Vec<(&'static str, Outcome)> {
    let buffers = [case.state.running_var.as_ref(), got.fields.get(&Field::RunningVar)];
    let answer = |var: &Tensor| Some((BY_RUNNING_VAR, by_running_var(case, var)?));
    buffers.into_iter().flatten().filter_map(answer).collect()
}

/// In training the batch's mean is subtracted, and what is divided by is the root of
/// running_var, as it was before the step or is after it. So the gradient goes through the
/// mean and not through the variance: w·s·(g − E\[g\]).
fn by_running_var(case: &Case, var: &Tensor) -> Option<Outcome> {
    let [Step::BatchNorm(pass)] = case.steps.as_slice() else { return None };
    let mean = case.state.running_mean.as_ref().filter(|mean| mean.shape == var.shape)?;
    let channels = *pass.input.shape.get(1)?;
    if pass.mode != Mode::Train || pass.input.is_empty() || mean.shape != [channels] {
        return None;
    }
    let mut eval = case.clone();
    let means = channel_means(&pass.input).into_iter().map(|value| nearest(mean.dtype, value));
    eval.state.running_mean = Some(Tensor { data: means.collect(), ..mean.clone() });
    eval.state.running_var = Some(var.clone());
    eval.steps =
        vec![Step::BatchNorm(Box::new(Pass { mode: Mode::Eval, cotangents: None, ..pass.as_ref().clone() }))];
    let mut textbook = engines::constructor("textbook")?();
    let mut outcome = run_caught(textbook.as_mut(), &eval).ok()?.into_iter().next()?;
    if let Some(gradient) = outcome.fields.get_mut(&Field::GradInput) {
        let (means, inner) = (channel_means(gradient), gradient.shape[2..].iter().product::<usize>());
        for (place, element) in gradient.data.iter_mut().enumerate() {
            *element -= means[place / inner % means.len()];
        }
    }
    outcome.fields.retain(|field, _| matches!(field, Field::Output | Field::GradInput | Field::GradWeight));
    Some(outcome)
}

fn channel_means(input: &Tensor) -> Vec<f64> {
    let (channels, inner) = (input.shape[1], input.shape[2..].iter().product::<usize>());
    let mut sums = vec![0.0; channels];
    for (row, values) in input.data.chunks(inner).enumerate() {
        sums[row % channels] += values.iter().sum::<f64>();
    }
    let n = (input.shape[0] * inner) as f64;
    sums.into_iter().map(|sum| sum / n).collect()
}
