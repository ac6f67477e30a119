//! Batch norm as a textbook has it: plain loops in f64, one list per channel.
//!
//! This is the engine to read next to the formulas, and a second opinion on
//! everything else: it shares no arithmetic with the crate `batchnorm`, nor with
//! the suite's truth. It is right first, and fast never.

mod channels;
mod fold;
mod formulas;
mod module;
mod rounding;

use crate::capability::Capability;
use crate::case::{Case, Mode, OutputMask, Pass, State, Step};
use crate::engine::{About, Engine, EngineError};
use crate::outcome::{Field, Outcome, Refusal, RefusalKind};
use crate::tensor::Tensor;
use channels::{Channels, answer_layout};
use formulas::{Channel, Cotangents, Gradients, SecondGradients, Statistics, scale_and_shift};
use module::Module;

/// The textbook engine. It claims everything.
pub struct Textbook {
    about: About,
}

impl Default for Textbook {
    fn default() -> Self {
        let about = About {
            name: "textbook".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            claims: Capability::all(),
        };
        Textbook { about }
    }
}

impl Engine for Textbook {
    fn about(&self) -> &About {
        &self.about
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        let mut module = Module { layer: &case.layer, state: case.state.clone() };
        let mut outcomes = Vec::new();
        let mut at_end = Vec::new();
        for (index, step) in case.steps.iter().enumerate() {
            let (mut outcome, forward) = play(&mut module, step);
            if let (Step::BatchNorm(pass), Some(forward)) = (step, forward) {
                match pass.backward_at_end {
                    true => at_end.push((index, pass, forward)),
                    false => answer_gradients(&mut outcome, pass, &forward),
                }
            }
            outcomes.push(outcome);
        }
        for (index, pass, forward) in at_end {
            answer_gradients(&mut outcomes[index], pass, &forward);
        }
        Ok(outcomes)
    }
}

/// What a backward pass needs of the forward pass that it belongs to. Copies,
/// so that later steps of the script change nothing.
struct Forward {
    eps: f64,
    own_statistics: bool,
    statistics: Vec<Statistics>,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
}

/// One step up to, but without, its backward pass.
fn play(module: &mut Module, step: &Step) -> (Outcome, Option<Forward>) {
    let mut outcome = Outcome::default();
    let played = match step {
        Step::BatchNorm(pass) => forward(module, pass, &mut outcome).map(Some),
        Step::Merge { parts } => merge(module, parts, &mut outcome).map(|()| None),
        Step::Fold(fold) => fold::fold(module, fold).map(|(weight, bias)| {
            outcome.fields.extend([(Field::FoldedWeight, weight), (Field::FoldedBias, bias)]);
            None
        }),
        Step::Reset { what } => {
            module.reset(*what);
            Ok(None)
        }
    };
    answer_state(&mut outcome, &module.state, step);
    match played {
        Ok(forward) => (outcome, forward),
        Err(refusal) => {
            outcome.refused = Some(refusal);
            (outcome, None)
        }
    }
}

fn answer_state(outcome: &mut Outcome, state: &State, step: &Step) {
    outcome.num_batches_tracked = state.num_batches_tracked;
    let parameters = [(Field::Weight, &state.weight), (Field::Bias, &state.bias)];
    let buffers = [(Field::RunningMean, &state.running_mean), (Field::RunningVar, &state.running_var)];
    let answered =
        if matches!(step, Step::Reset { .. }) { [parameters, buffers].concat() } else { buffers.to_vec() };
    for (field, tensor) in answered {
        outcome.fields.extend(tensor.clone().map(|tensor| (field, tensor)));
    }
}

/// A forward pass that a backward pass may follow.
fn forward(module: &mut Module, pass: &Pass, outcome: &mut Outcome) -> Result<Forward, Refusal> {
    let forward = normalise(module, &pass.input, pass.mode)?;
    check_shapes(pass)?;
    outcome.fields.insert(Field::Output, forward.output(&pass.input));
    Ok(forward)
}

/// Checks, statistics, and the update of the running statistics.
fn normalise(module: &mut Module, input: &Tensor, mode: Mode) -> Result<Forward, Refusal> {
    let plan = module.plan(input, mode)?;
    let statistics = module.statistics(input, &plan);
    module.track(&statistics, Channels::of(&input.shape).values_per_channel(), &plan);
    Ok(Forward {
        eps: module.layer.eps,
        own_statistics: plan.own_statistics,
        statistics,
        weight: module.state.weight.clone(),
        bias: module.state.bias.clone(),
    })
}

/// A batch in parts is their concatenation along N: the textbook simply joins
/// them, which is what every way of merging statistics must amount to.
fn merge(module: &mut Module, parts: &[Tensor], outcome: &mut Outcome) -> Result<(), Refusal> {
    let whole = join(parts);
    let forward = normalise(module, &whole, Mode::Train)?;
    outcome.fields.insert(Field::Output, forward.output(&whole));
    let dtype = module.state.tensors().next().map_or(whole.dtype, |tensor| tensor.dtype);
    let means: Vec<f64> = forward.statistics.iter().map(|s| s.mean + s.mean_rest).collect();
    let vars: Vec<f64> = forward.statistics.iter().map(|s| s.var_biased).collect();
    outcome.fields.insert(Field::Mean, rounding::tensor(dtype, &[means.len()], &means));
    outcome.fields.insert(Field::VarBiased, rounding::tensor(dtype, &[vars.len()], &vars));
    Ok(())
}

fn join(parts: &[Tensor]) -> Tensor {
    let first = &parts[0];
    let mut shape = first.shape.clone();
    shape[0] = parts.iter().map(|part| part.shape[0]).sum();
    let data = parts.iter().flat_map(|part| part.data.iter().copied()).collect();
    Tensor::new(first.dtype, &shape, data)
}

/// The gradients must have the shapes of what they are gradients of.
fn check_shapes(pass: &Pass) -> Result<(), Refusal> {
    let cotangent = pass.cotangents.as_ref().and_then(|cotangents| cotangents.grad_input.as_ref());
    for (name, tensor) in [("grad_output", pass.grad_output.as_ref()), ("cotangent of grad_input", cotangent)]
    {
        if let Some(tensor) = tensor.filter(|tensor| tensor.shape != pass.input.shape) {
            let message = format!("{name} should have shape {:?}, not {:?}", pass.input.shape, tensor.shape);
            return Err(Refusal { kind: RefusalKind::Shape, message });
        }
    }
    Ok(())
}

impl Forward {
    /// y, rounded to the input's dtype.
    fn output(&self, input: &Tensor) -> Tensor {
        let bias = |c| self.bias.as_ref().map_or(0.0, |bias| bias.data[c]);
        let lists: Vec<Vec<f64>> = (0..self.statistics.len())
            .map(|c| scale_and_shift(&self.channel(input, c).x_hat, self.weight(c), bias(c)))
            .collect();
        join_channels(input, lists.iter().map(Vec::as_slice))
    }

    fn weight(&self, channel: usize) -> f64 {
        self.weight.as_ref().map_or(1.0, |weight| weight.data[channel])
    }

    fn channel(&self, input: &Tensor, c: usize) -> Channel {
        let x = Channels::of(&input.shape).gather(&input.data, c);
        Channel {
            x_hat: self.statistics[c].normalise(&x, self.eps),
            invstd: self.statistics[c].invstd(self.eps),
            weight: self.weight(c),
            own_statistics: self.own_statistics,
        }
    }

    fn backward(&self, input: &Tensor, grad_output: &Tensor) -> Vec<Gradients> {
        let channels = Channels::of(&input.shape);
        (0..channels.count)
            .map(|c| self.channel(input, c).backward(&channels.gather(&grad_output.data, c)))
            .collect()
    }

    fn double_backward(&self, pass: &Pass, grad_output: &Tensor) -> Vec<SecondGradients> {
        let channels = Channels::of(&pass.input.shape);
        let given = pass.cotangents.clone().unwrap_or_default();
        let of = |tensor: &Option<Tensor>, c: usize| tensor.as_ref().map_or(0.0, |tensor| tensor.data[c]);
        (0..channels.count)
            .map(|c| {
                let u = match &given.grad_input {
                    Some(u) => channels.gather(&u.data, c),
                    None => vec![0.0; channels.values_per_channel()],
                };
                let (v, t) = (of(&given.grad_weight, c), of(&given.grad_bias, c));
                let cotangents = Cotangents { input: u, weight: v, bias: t };
                self.channel(&pass.input, c)
                    .double_backward(&channels.gather(&grad_output.data, c), &cotangents)
            })
            .collect()
    }
}

/// Puts lists back to where their channels lie, in an array of the input's
/// shape, dtype and memory order.
fn join_channels<'a>(input: &Tensor, lists: impl Iterator<Item = &'a [f64]>) -> Tensor {
    let channels = Channels::of(&input.shape);
    let mut data = vec![0.0; input.len()];
    for (c, list) in lists.enumerate() {
        channels.scatter(list, c, &mut data);
    }
    rounding::tensor(input.dtype, &input.shape, &data).with_layout(answer_layout(input))
}

fn answer_gradients(outcome: &mut Outcome, pass: &Pass, forward: &Forward) {
    let Some(grad_output) = &pass.grad_output else { return };
    let first = forward.backward(&pass.input, grad_output);
    let mask = pass.output_mask.unwrap_or(OutputMask { input: true, weight: true, bias: true });
    let fields = &mut outcome.fields;
    if mask.input {
        let lists = first.iter().map(|gradients| gradients.input.as_slice());
        fields.insert(Field::GradInput, join_channels(&pass.input, lists));
    }
    if let (true, Some(weight)) = (mask.weight, &forward.weight) {
        let values: Vec<f64> = first.iter().map(|gradients| gradients.weight).collect();
        fields.insert(Field::GradWeight, rounding::tensor(weight.dtype, &weight.shape, &values));
    }
    if let (true, Some(bias)) = (mask.bias, &forward.bias) {
        let values: Vec<f64> = first.iter().map(|gradients| gradients.bias).collect();
        fields.insert(Field::GradBias, rounding::tensor(bias.dtype, &bias.shape, &values));
    }
    if pass.cotangents.is_some() {
        answer_second_gradients(outcome, pass, forward, &forward.double_backward(pass, grad_output));
    }
}

fn answer_second_gradients(
    outcome: &mut Outcome,
    pass: &Pass,
    forward: &Forward,
    second: &[SecondGradients],
) {
    let by_output = second.iter().map(|gradients| gradients.grad_output.as_slice());
    outcome.fields.insert(Field::SecondGradOutput, join_channels(&pass.input, by_output));
    let by_input = second.iter().map(|gradients| gradients.input.as_slice());
    outcome.fields.insert(Field::SecondGradInput, join_channels(&pass.input, by_input));
    if let Some(weight) = &forward.weight {
        let values: Vec<f64> = second.iter().map(|gradients| gradients.weight).collect();
        outcome
            .fields
            .insert(Field::SecondGradWeight, rounding::tensor(weight.dtype, &weight.shape, &values));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Layer, Rank};
    use crate::number::Number;
    use crate::tensor::DType;

    fn layer_of_four() -> Case {
        let vector = |value| Some(Tensor::vector(DType::F32, &[value; 4]));
        Case {
            name: "three by four".into(),
            note: String::new(),
            layer: Layer { rank: Rank::One, num_features: 4, ..Layer::default() },
            state: State {
                weight: vector(1.0),
                bias: vector(0.0),
                running_mean: vector(0.0),
                running_var: vector(1.0),
                num_batches_tracked: Some(0),
            },
            steps: Vec::new(),
        }
    }

    fn three_by_four() -> Pass {
        let data = vec![1., 2., 3., 4., 2., 3., 4., 5., 3., 4., 5., 6.];
        Pass::forward(Mode::Train, Tensor::new(DType::F32, &[3, 4], data))
    }

    fn play_one(case: Case) -> Outcome {
        Textbook::default().run(&case).unwrap().remove(0)
    }

    /// Each column is {m − 1, m, m + 1}: biased variance 2/3, unbiased 1, and
    /// √(3/2) = 1.224745 less what eps takes, 1.224745·1e-5/(2·2/3) = 9.2e-6.
    #[test]
    fn three_by_four_example() {
        let outcome =
            play_one(Case { steps: vec![Step::BatchNorm(Box::new(three_by_four()))], ..layer_of_four() });
        let output = &outcome.fields[&Field::Output].data;
        assert!(output[..4].iter().all(|y| (y + 1.2247357).abs() < 1e-6), "{output:?}");
        assert_eq!(output[4..8], [0.0; 4]);
        assert_eq!(
            outcome.fields[&Field::RunningMean],
            Tensor::vector(DType::F32, &[0.2, 0.3, 0.4, 0.5].map(|v: f32| f64::from(v)))
        );
        assert_eq!(outcome.fields[&Field::RunningVar], Tensor::vector(DType::F32, &[1.0; 4]));
        assert_eq!(outcome.num_batches_tracked, Some(1));
    }

    #[test]
    fn a_refused_batch_is_counted_and_changes_nothing_else() {
        let mut case = layer_of_four();
        case.layer.momentum = Some(Number(0.3));
        let one = Tensor::new(DType::F32, &[1, 4], vec![9.0; 4]);
        case.steps = vec![Step::BatchNorm(Box::new(Pass::forward(Mode::Train, one)))];
        let buffers = case.state.clone();
        let outcome = play_one(case);
        assert_eq!(outcome.refused.unwrap().kind, RefusalKind::TooFewValues);
        assert_eq!(outcome.num_batches_tracked, Some(1));
        assert_eq!(outcome.fields.len(), 2);
        assert_eq!(outcome.fields[&Field::RunningVar], buffers.running_var.unwrap());
    }

    /// The backward pass of an evaluation uses the statistics of that
    /// evaluation, whatever training did to them in between.
    #[test]
    fn a_deferred_backward_pass_uses_its_own_statistics() {
        let eval = Pass {
            mode: Mode::Eval,
            grad_output: Some(three_by_four().input),
            backward_at_end: true,
            ..three_by_four()
        };
        let alone = Case { steps: vec![Step::BatchNorm(Box::new(eval.clone()))], ..layer_of_four() };
        let both = [eval, three_by_four()].map(|pass| Step::BatchNorm(Box::new(pass))).to_vec();
        assert_eq!(play_one(Case { steps: both, ..layer_of_four() }), play_one(alone));
    }
}
