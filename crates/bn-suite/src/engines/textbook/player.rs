//! Plays a case's script by a recipe: the steps in order, the backward passes when
//! they are due, and the answers as the protocol has them.

use super::formulas::{Cotangents, Gradients, SecondGradients};
use super::memory::Memory;
use super::module::{Forward, Module};
use super::recipe::{Context, Recipe};
use super::rounding;
use crate::capability::Capability;
use crate::case::{Case, Mode, Pass, State, Step};
use crate::engine::{About, Engine, EngineError};
use crate::outcome::{Field, Outcome, Refusal};
use crate::tensor::{Layout, Tensor};

/// An engine that does everything by a recipe. It claims everything.
pub(crate) struct Player {
    about: About,
    recipe: Box<dyn Recipe>,
}

impl Player {
    /// The engine of that name.
    pub fn new(name: &str, recipe: Box<dyn Recipe>) -> Self {
        let about = About::new(name, env!("CARGO_PKG_VERSION"), Capability::all());
        Player { about, recipe }
    }
}

impl Engine for Player {
    fn about(&self) -> &About {
        &self.about
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        let recipe = &*self.recipe;
        let mut module = Module { layer: &case.layer, state: recipe.initial_state(case) };
        let mut outcomes = Vec::new();
        let mut passes: Vec<(usize, &Pass, Forward)> = Vec::new();
        for (index, step) in case.steps.iter().enumerate() {
            let (mut outcome, forward) = play(recipe, &mut module, step);
            if let (Step::BatchNorm(pass), Some(forward)) = (step, forward) {
                if !pass.backward_at_end {
                    let recalled = recipe.recall(&forward, &forward, &module.state);
                    answer_gradients(recipe, &mut outcome, pass, &recalled);
                }
                passes.push((index, pass, forward));
            }
            outcomes.push(outcome);
        }
        for (index, pass, forward) in passes.iter().filter(|(_, pass, _)| pass.backward_at_end) {
            let (_, _, latest) = passes.last().expect("there is this one");
            let recalled = recipe.recall(forward, latest, &module.state);
            answer_gradients(recipe, &mut outcomes[*index], pass, &recalled);
        }
        Ok(outcomes)
    }
}

/// One step up to, but without, its backward pass.
fn play<'a>(recipe: &dyn Recipe, module: &mut Module<'a>, step: &'a Step) -> (Outcome, Option<Forward<'a>>) {
    let mut outcome = Outcome::default();
    let played = match step {
        Step::BatchNorm(pass) => forward(recipe, module, pass, &mut outcome).map(Some),
        Step::Merge { parts } => merge(recipe, module, parts, &mut outcome).map(|()| None),
        Step::Fold(map) => recipe.fold(module, map).map(|(weight, bias)| {
            outcome.fields.extend([(Field::FoldedWeight, weight), (Field::FoldedBias, bias)]);
            None
        }),
        Step::Reset { what } => {
            recipe.reset(module.layer, &mut module.state, *what);
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
fn forward<'a>(
    recipe: &dyn Recipe,
    module: &mut Module<'a>,
    pass: &'a Pass,
    outcome: &mut Outcome,
) -> Result<Forward<'a>, Refusal> {
    let values = recipe.read(&Memory::of(&pass.input));
    let forward = recipe.forward(module, values, context(module, &pass.input, pass.mode, &[]))?;
    recipe.check_shapes(pass)?;
    outcome.fields.insert(Field::Output, output(recipe, &forward));
    Ok(forward)
}

/// Where a pass over this input stands, before its checks.
fn context<'a>(module: &Module<'a>, input: &'a Tensor, mode: Mode, parts: &'a [usize]) -> Context<'a> {
    Context {
        layer: module.layer,
        mode,
        own_statistics: mode == Mode::Train,
        shape: &input.shape,
        layout: &input.layout,
        input: input.dtype,
        parameters: module.state.tensors().next().map_or(input.dtype, |tensor| tensor.dtype),
        parts,
        channel: 0,
    }
}

/// A batch in parts is their concatenation along N.
fn merge(
    recipe: &dyn Recipe,
    module: &mut Module,
    parts: &[Tensor],
    outcome: &mut Outcome,
) -> Result<(), Refusal> {
    let whole = join(parts);
    let sizes: Vec<usize> = parts.iter().map(|part| part.shape[0]).collect();
    let cx = context(module, &whole, Mode::Train, &sizes);
    let forward = recipe.forward(module, whole.data.as_slice().into(), cx)?;
    outcome.fields.insert(Field::Output, output(recipe, &forward));
    let means: Vec<f64> = forward.statistics.iter().map(|s| s.mean + s.mean_rest).collect();
    let vars: Vec<f64> = forward.statistics.iter().map(|s| s.var_biased).collect();
    let vector = |values: &[f64]| rounding::tensor(recipe, cx.parameters, &[values.len()], values);
    outcome.fields.extend([(Field::Mean, vector(&means)), (Field::VarBiased, vector(&vars))]);
    Ok(())
}

fn join(parts: &[Tensor]) -> Tensor {
    let first = &parts[0];
    let mut shape = first.shape.clone();
    shape[0] = parts.iter().map(|part| part.shape[0]).sum();
    let data = parts.iter().flat_map(|part| part.data.iter().copied()).collect();
    Tensor::new(first.dtype, &shape, data)
}

/// y, where its channels lie.
fn output(recipe: &dyn Recipe, forward: &Forward) -> Tensor {
    let lists = forward.output(recipe);
    join_channels(recipe, &forward.cx, lists.iter().map(Vec::as_slice))
}

/// Puts lists back to where their channels lie, in an array of the input's
/// shape, dtype and memory order.
fn join_channels<'l>(recipe: &dyn Recipe, cx: &Context, lists: impl Iterator<Item = &'l [f64]>) -> Tensor {
    let mut values = vec![0.0; cx.shape.iter().product()];
    for (c, list) in lists.enumerate() {
        recipe.scatter(list, &mut values, &cx.at(c));
    }
    let layout: Layout = recipe.answer_layout(cx.shape, cx.layout);
    let values = recipe.write(values, cx.shape, &layout);
    rounding::tensor(recipe, cx.input, cx.shape, &values).with_layout(layout)
}

fn answer_gradients(recipe: &dyn Recipe, outcome: &mut Outcome, pass: &Pass, forward: &Forward) {
    let Some(grad_output) = &pass.grad_output else { return };
    let g = recipe.read_gradient(&Memory::of(grad_output), &forward.cx);
    let (first, second) = gradients(recipe, pass, &g, forward);
    let mask = recipe.output_mask(pass);
    if mask.input {
        let lists = first.iter().map(|gradients| gradients.input.as_slice());
        outcome.fields.insert(Field::GradInput, join_channels(recipe, &forward.cx, lists));
    }
    let vector = |like: &Tensor, of: fn(&Gradients) -> f64| {
        let values: Vec<f64> = first.iter().map(of).collect();
        rounding::tensor(recipe, like.dtype, &like.shape, &values)
    };
    if let (true, Some(weight)) = (mask.weight, &forward.weight) {
        outcome.fields.insert(Field::GradWeight, vector(weight, |gradients| gradients.weight));
    }
    if let (true, Some(bias)) = (mask.bias, &forward.bias) {
        outcome.fields.insert(Field::GradBias, vector(bias, |gradients| gradients.bias));
    }
    if pass.cotangents.is_some() {
        answer_second_gradients(recipe, outcome, forward, &second);
    }
}

/// The first gradients of every channel, and the second ones where a pass asks for them.
fn gradients(
    recipe: &dyn Recipe,
    pass: &Pass,
    g: &[f64],
    forward: &Forward,
) -> (Vec<Gradients>, Vec<SecondGradients>) {
    let given = pass.cotangents.clone().unwrap_or_default();
    let u = given.grad_input.as_ref().map(|u| recipe.read_gradient(&Memory::of(u), &forward.cx));
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for c in 0..forward.statistics.len() {
        let cx = forward.cx.at(c);
        let channel = forward.channel(recipe, c);
        let g = recipe.gather(g, &cx);
        first.push(recipe.backward(&channel, &g, &cx));
        if pass.cotangents.is_some() {
            let at = |tensor: &Option<Tensor>| tensor.as_ref().map_or(0.0, |tensor| tensor.data[c]);
            let zeros = || vec![0.0; g.len()];
            let cotangents = Cotangents {
                input: u.as_ref().map_or_else(zeros, |u| recipe.gather(u, &cx)),
                weight: at(&given.grad_weight),
                bias: at(&given.grad_bias),
            };
            second.push(recipe.double_backward(&channel, &g, &cotangents, &cx));
        }
    }
    (first, second)
}

fn answer_second_gradients(
    recipe: &dyn Recipe,
    outcome: &mut Outcome,
    forward: &Forward,
    second: &[SecondGradients],
) {
    let grad_outputs = second.iter().map(|gradients| gradients.grad_output.as_slice());
    let inputs = second.iter().map(|gradients| gradients.input.as_slice());
    let weights: Vec<f64> = second.iter().map(|gradients| gradients.weight).collect();
    let fields = &mut outcome.fields;
    fields.insert(Field::SecondGradOutput, join_channels(recipe, &forward.cx, grad_outputs));
    fields.insert(Field::SecondGradInput, join_channels(recipe, &forward.cx, inputs));
    if let Some(weight) = &forward.weight {
        let weights = rounding::tensor(recipe, weight.dtype, &weight.shape, &weights);
        fields.insert(Field::SecondGradWeight, weights);
    }
}
