//! How a case is written down: what matters to it, and nothing else.
//!
//! A [`Script`] starts as an f32 layer with everything (weight, bias, running
//! statistics, a counter at 0), whose parameters and inputs are drawn from the
//! case's own seeds (see [`super::fill`]); the methods change what the case is
//! about. Steps are drawn as they are added, from the shape, dtypes, fill and
//! arrangement that hold at that point.

use super::Entry;
use super::arrangement::Arrangement;
use super::exact;
use super::fill::{self, Fill, SplitMix64};
use crate::case::{
    Case, Cotangents, Fold, FoldInto, Layer, Mode, OutputMask, Pass, Rank, Reset, State, Step,
};
use crate::golden::Dispute;
use crate::number::Number;
use crate::outcome::Field;
use crate::tensor::{DType, Tensor};

/// The mean of drawn gradients.
const LEVEL: f64 = 0.25;

/// A parameter or buffer of the case.
enum Slot {
    Drawn,
    Absent,
    Given(Vec<f64>),
}

/// A case being written.
pub(super) struct Script {
    name: String,
    note: String,
    layer: Layer,
    input: DType,
    parameters: DType,
    shape: Vec<usize>,
    fill: Fill,
    arrangement: Arrangement,
    weight: Slot,
    bias: Slot,
    running_mean: Slot,
    running_var: Slot,
    counter: Option<i64>,
    steps: Vec<Step>,
    disputed: Option<Dispute>,
}

/// Starts a case for inputs of this shape; the layer is the module that takes
/// its rank, and the function under the modules where none does.
pub(super) fn script(name: &str, shape: &[usize], note: &str) -> Script {
    let rank = match shape.len() {
        2 | 3 => Rank::One,
        4 => Rank::Two,
        5 => Rank::Three,
        _ => Rank::Any,
    };
    Script {
        name: name.into(),
        note: note.into(),
        layer: Layer { rank, num_features: shape[1], momentum: Some(Number(0.3)), ..Layer::default() },
        input: DType::F32,
        parameters: DType::F32,
        shape: shape.to_vec(),
        fill: Fill::Channels,
        arrangement: Arrangement::Contiguous,
        weight: Slot::Drawn,
        bias: Slot::Drawn,
        running_mean: Slot::Drawn,
        running_var: Slot::Drawn,
        counter: Some(0),
        steps: Vec::new(),
        disputed: None,
    }
}

/// The layer.
impl Script {
    pub(super) fn rank(mut self, rank: Rank) -> Self {
        self.layer.rank = rank;
        self
    }

    pub(super) fn eps(mut self, eps: f64) -> Self {
        self.layer.eps = eps;
        self
    }

    pub(super) fn momentum(mut self, momentum: f64) -> Self {
        self.layer.momentum = Some(Number(momentum));
        self
    }

    /// Momentum null.
    pub(super) fn cumulative(mut self) -> Self {
        self.layer.momentum = None;
        self
    }

    /// A layer made with `track_running_stats=False`: no buffers, no counter.
    pub(super) fn untracked(self) -> Self {
        self.stop_tracking().no_running_mean().no_running_var().counter(None)
    }

    /// `track_running_stats` off, but the buffers are still there.
    pub(super) fn stop_tracking(mut self) -> Self {
        self.layer.track_running_stats = false;
        self
    }

    /// The same dtype for input, parameters and buffers.
    pub(super) fn dtype(self, dtype: DType) -> Self {
        self.dtypes(dtype, dtype)
    }

    /// The input's dtype, and that of parameters and buffers.
    pub(super) fn dtypes(mut self, input: DType, parameters: DType) -> Self {
        (self.input, self.parameters) = (input, parameters);
        self
    }
}

/// The state.
impl Script {
    /// As a new layer: weight 1, bias 0, running mean 0, running variance 1.
    pub(super) fn fresh(self) -> Self {
        let c = self.layer.num_features;
        self.weight(&vec![1.0; c]).bias(&vec![0.0; c]).buffers(&vec![0.0; c], &vec![1.0; c])
    }

    pub(super) fn weight(mut self, values: &[f64]) -> Self {
        self.weight = Slot::Given(values.to_vec());
        self
    }

    pub(super) fn bias(mut self, values: &[f64]) -> Self {
        self.bias = Slot::Given(values.to_vec());
        self
    }

    pub(super) fn buffers(mut self, mean: &[f64], var: &[f64]) -> Self {
        self.running_mean = Slot::Given(mean.to_vec());
        self.running_var = Slot::Given(var.to_vec());
        self
    }

    pub(super) fn no_weight(mut self) -> Self {
        self.weight = Slot::Absent;
        self
    }

    pub(super) fn no_bias(mut self) -> Self {
        self.bias = Slot::Absent;
        self
    }

    pub(super) fn no_affine(self) -> Self {
        self.no_weight().no_bias()
    }

    /// The parameters by the word that grids have for them: `weight` alone, `bias`
    /// alone, `neither`; any other word is both.
    pub(super) fn affine(self, parameters: &str) -> Self {
        match parameters {
            "weight" => self.no_bias(),
            "bias" => self.no_weight(),
            "neither" => self.no_affine(),
            _ => self,
        }
    }

    pub(super) fn no_running_mean(mut self) -> Self {
        self.running_mean = Slot::Absent;
        self
    }

    pub(super) fn no_running_var(mut self) -> Self {
        self.running_var = Slot::Absent;
        self
    }

    pub(super) fn no_buffers(self) -> Self {
        self.no_running_mean().no_running_var()
    }

    pub(super) fn counter(mut self, counter: Option<i64>) -> Self {
        self.counter = counter;
        self
    }
}

/// What the next inputs are like.
impl Script {
    /// Another shape for the steps from here on; the layer stays.
    pub(super) fn batch(mut self, shape: &[usize]) -> Self {
        self.shape = shape.to_vec();
        self
    }

    pub(super) fn fill(mut self, fill: Fill) -> Self {
        self.fill = fill;
        self
    }

    pub(super) fn arranged(mut self, arrangement: Arrangement) -> Self {
        self.arrangement = arrangement;
        self
    }

    pub(super) fn channels_last(self) -> Self {
        self.arranged(Arrangement::ChannelsLast)
    }
}

/// The steps.
impl Script {
    pub(super) fn train(self) -> Self {
        self.forward(Mode::Train)
    }

    pub(super) fn eval(self) -> Self {
        self.forward(Mode::Eval)
    }

    /// A forward pass over a drawn input.
    pub(super) fn forward(self, mode: Mode) -> Self {
        let data = self.fill.draw(&mut self.random("input"), &self.shape, self.input);
        self.forward_on(mode, &data)
    }

    pub(super) fn train_on(self, data: &[f64]) -> Self {
        self.forward_on(Mode::Train, data)
    }

    pub(super) fn eval_on(self, data: &[f64]) -> Self {
        self.forward_on(Mode::Eval, data)
    }

    /// A forward pass over these values.
    pub(super) fn forward_on(mut self, mode: Mode, data: &[f64]) -> Self {
        let input = Tensor::new(self.input, &self.shape, data.to_vec());
        let input = input.with_layout(self.arrangement.layout(&self.shape));
        self.steps.push(Step::BatchNorm(Box::new(Pass::forward(mode, input))));
        self
    }

    /// Asks the last step for its gradients, under a drawn grad_output.
    pub(super) fn grad(self) -> Self {
        self.grad_around(LEVEL)
    }

    /// As [`Script::grad`], with this mean in place of 1/4.
    pub(super) fn grad_around(self, level: f64) -> Self {
        let mut random = self.random_of_last("grad_output");
        let data = fill::gradient(&mut random, self.shape.iter().product(), self.input, level);
        self.grad_of(&data)
    }

    /// Asks the last step for its gradients, under one that is as exact and dense
    /// as the input that it goes with (see [`exact::gradient`]).
    pub(super) fn grad_exact(mut self) -> Self {
        let mut random = self.random_of_last("grad_output");
        let Tensor { shape, data, .. } = &self.last_pass().input;
        let grad_output = exact::gradient(&mut random, shape, data);
        self.grad_of(&grad_output)
    }

    /// Asks the last step for its gradients, under this grad_output.
    pub(super) fn grad_of(mut self, data: &[f64]) -> Self {
        let arrangement = self.arrangement;
        let pass = self.last_pass();
        let (dtype, shape) = (pass.input.dtype, pass.input.shape.clone());
        let grad = Tensor::new(dtype, &shape, data.to_vec()).with_layout(arrangement.layout(&shape));
        pass.grad_output = Some(grad);
        self
    }

    /// Lays the last step's grad_output out otherwise than its input.
    pub(super) fn grad_arranged(mut self, arrangement: Arrangement) -> Self {
        let grad = self.last_pass().grad_output.as_mut().expect("a grad_output to arrange");
        grad.layout = arrangement.layout(&grad.shape);
        self
    }

    /// Asks the last step for its second gradients: u, v and t where true.
    pub(super) fn second(mut self, u: bool, v: bool, t: bool) -> Self {
        let c = self.layer.num_features;
        let draw = |label: &str, shape: &[usize], dtype: DType| {
            let data = fill::gradient(&mut self.random_of_last(label), shape.iter().product(), dtype, LEVEL);
            Tensor::new(dtype, shape, data)
        };
        let like_input = self.arrangement.layout(&self.shape);
        let cotangents = Cotangents {
            grad_input: u.then(|| draw("u", &self.shape, self.input).with_layout(like_input)),
            grad_weight: v.then(|| draw("v", &[c], self.parameters)),
            grad_bias: t.then(|| draw("t", &[c], self.parameters)),
        };
        self.last_pass().cotangents = Some(cotangents);
        self
    }

    /// Has the last step's backward pass run after the last forward pass.
    pub(super) fn deferred(mut self) -> Self {
        self.last_pass().backward_at_end = true;
        self
    }

    /// Asks the last step only for these of grad_input, grad_weight, grad_bias.
    pub(super) fn mask(mut self, input: bool, weight: bool, bias: bool) -> Self {
        self.last_pass().output_mask = Some(OutputMask { input, weight, bias });
        self
    }

    pub(super) fn reset(mut self, what: Reset) -> Self {
        self.steps.push(Step::Reset { what });
        self
    }

    /// Folds into a drawn map with a weight of this shape, with a bias or without.
    pub(super) fn fold(mut self, into: FoldInto, groups: usize, shape: &[usize], bias: bool) -> Self {
        let draw = |label: &str, shape: &[usize]| {
            let data = fill::gradient(&mut self.random(label), shape.iter().product(), self.input, LEVEL);
            Tensor::new(self.input, shape, data)
        };
        let out = self.layer.num_features;
        let weight = draw("map weight", shape);
        let bias = bias.then(|| draw("map bias", &[out]));
        self.steps.push(Step::Fold(Fold { into, groups, weight, bias }));
        self
    }

    /// A training step over a batch in parts of these sizes along N.
    pub(super) fn merge(mut self, sizes: &[usize]) -> Self {
        let part = |(index, &size): (usize, &usize)| {
            let mut shape = self.shape.clone();
            shape[0] = size;
            let mut random = self.random(&format!("part {index}"));
            Tensor::new(self.input, &shape, self.fill.draw(&mut random, &shape, self.input))
        };
        let parts = sizes.iter().enumerate().map(part).collect();
        self.steps.push(Step::Merge { parts });
        self
    }

    /// The last step, to make it wrong in a way that no other method can.
    pub(super) fn last_pass(&mut self) -> &mut Pass {
        match self.steps.last_mut() {
            Some(Step::BatchNorm(pass)) => pass,
            other => panic!("the last step is {other:?}, not a pass"),
        }
    }

    /// The seed of an array of the step that comes next.
    fn random(&self, label: &str) -> SplitMix64 {
        SplitMix64::seeded(&self.name, &format!("{} {label}", self.steps.len()))
    }

    /// The seed of a further array of the step that was added last.
    fn random_of_last(&self, label: &str) -> SplitMix64 {
        SplitMix64::seeded(&self.name, &format!("{} {label}", self.steps.len() - 1))
    }
}

/// The end.
impl Script {
    /// Marks what libtorch is known to get wrong here, and why the truth stands.
    /// `fields` are the arrays at fault; none where it raises an error.
    pub(super) fn disputed_by_libtorch(mut self, fields: &[Field], note: &str) -> Self {
        self.disputed = Some(Dispute {
            engine: "libtorch".into(),
            fields: fields.to_vec(),
            note: note.into(),
            sporadic: false,
        });
        self
    }

    /// As [`Script::disputed_by_libtorch`], where it depends on the numbers if the
    /// fault shows.
    pub(super) fn sometimes_disputed_by_libtorch(self, fields: &[Field], note: &str) -> Self {
        let mut script = self.disputed_by_libtorch(fields, note);
        script.disputed = script.disputed.map(|dispute| Dispute { sporadic: true, ..dispute });
        script
    }

    /// A case that is written to the fixtures.
    pub(super) fn stored(self) -> Entry {
        self.entry(true)
    }

    /// A case that is made anew, with its truth, whenever it is checked.
    pub(super) fn generated(self) -> Entry {
        self.entry(false)
    }

    fn entry(self, stored: bool) -> Entry {
        let state = State {
            weight: self.parameter("weight", &self.weight, fill::parameters),
            bias: self.parameter("bias", &self.bias, fill::parameters),
            running_mean: self.parameter("running_mean", &self.running_mean, fill::running_means),
            running_var: self.parameter("running_var", &self.running_var, fill::running_vars),
            num_batches_tracked: self.counter,
        };
        let Script { name, note, layer, steps, disputed, .. } = self;
        Entry { case: Case { name, note, layer, state, steps }, stored, disputed }
    }

    fn parameter(
        &self,
        label: &str,
        slot: &Slot,
        draw: fn(&mut SplitMix64, usize) -> Vec<f64>,
    ) -> Option<Tensor> {
        let values = match slot {
            Slot::Absent => return None,
            Slot::Given(values) => values.clone(),
            Slot::Drawn => draw(&mut SplitMix64::seeded(&self.name, label), self.layer.num_features),
        };
        Some(Tensor::vector(self.parameters, &values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_gives_the_same_case() {
        let entry = |name| script(name, &[3, 2], "A note.").train().grad().stored().case;
        assert_eq!(entry("a/b"), entry("a/b"));
        assert_ne!(entry("a/b").steps, entry("a/c").steps);
    }
}
