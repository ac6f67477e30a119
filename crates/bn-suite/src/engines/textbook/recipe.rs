//! Batch norm as a list of recipes: one method for everything that an
//! implementation may get wrong, each with the right answer as its default.
//!
//! The methods go from coarse to fine. A *coarse* one answers for a whole channel
//! or a whole pass (`batch_statistics`, `output`, `backward`); its default is a
//! formula over *fine* ones (`sum`, `bessel`, `invstd`). Whoever overrides a fine
//! method changes every place where it is used; whoever overrides a coarse one
//! computes that thing in a way of its own. What computes (`formulas`, `module`,
//! `memory`, `fold`) takes the recipe as an argument, so that an override may
//! call the right thing and spoil its answer.

use std::borrow::Cow;

use super::channels::Extents;
use super::fold;
use super::formulas::{self, Channel, Cotangents, Gradients, SecondGradients, Statistics, double_backward};
use super::memory::{self, Memory, Strides};
use super::module::{self, Forward, Module, Plan};
use super::rounding;
use crate::case::{Case, Fold, Layer, Mode, OutputMask, Pass, Reset, State};
use crate::outcome::Refusal;
use crate::tensor::{DType, Layout, Tensor};

/// Where a formula stands: the pass that it serves, and the channel.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The layer's settings.
    pub layer: &'a Layer,
    /// As asked; whose statistics normalise is `own_statistics`.
    pub mode: Mode,
    /// Whether the batch's own statistics normalise.
    pub own_statistics: bool,
    /// The input's shape (N, C, *).
    pub shape: &'a [usize],
    /// Where the input lies in memory.
    pub layout: &'a Layout,
    /// The input's dtype, which is also that of output and grad_input.
    pub input: DType,
    /// The dtype of parameters and buffers; the input's, where there are none.
    pub parameters: DType,
    /// N of each part of a merged batch; empty for a batch that comes whole.
    pub parts: &'a [usize],
    /// Which channel.
    pub channel: usize,
}

impl Context<'_> {
    /// The shape as N blocks of C rows.
    pub fn extents(&self) -> Extents {
        Extents::of(self.shape)
    }

    /// n, the number of values per channel.
    pub fn n(&self) -> f64 {
        self.extents().per_channel() as f64
    }

    /// The same pass, another channel.
    pub fn at(self, channel: usize) -> Self {
        Context { channel, ..self }
    }
}

/// A recipe as an object, from within its own methods.
pub(crate) trait AsRecipe {
    /// Itself.
    fn recipe(&self) -> &dyn Recipe;
}

impl<R: Recipe> AsRecipe for R {
    fn recipe(&self) -> &dyn Recipe {
        self
    }
}

/// An implementation of batch norm. With no method overridden it is right.
///
/// What must outlive a run (there should be nothing) lives in cells of the
/// implementing type: one recipe serves all cases of an engine, in turn.
pub(crate) trait Recipe: AsRecipe {
    // Sums.

    /// Σ values.
    fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
        formulas::sum(values)
    }

    /// Σ aᵢ·bᵢ.
    fn dot(&self, a: &[f64], b: &[f64], cx: &Context) -> f64 {
        formulas::dot(self.recipe(), a, b, cx)
    }

    // Statistics.

    /// The statistics of every channel, for a pass over `values` in logical order.
    fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
        module::statistics(self.recipe(), state, values, cx)
    }

    /// Mean and variance of the values of one channel.
    fn batch_statistics(&self, x: &[f64], cx: &Context) -> Statistics {
        formulas::batch_statistics(self.recipe(), x, cx)
    }

    /// Mean and variance of the values of one channel that come in parts.
    fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
        self.batch_statistics(&parts.concat(), cx)
    }

    /// μ as two numbers that are never added.
    fn mean(&self, x: &[f64], cx: &Context) -> (f64, f64) {
        formulas::mean(self.recipe(), x, cx)
    }

    /// σ² = Σ(x − μ)²/n.
    fn var_biased(&self, x: &[f64], mean: f64, mean_rest: f64, cx: &Context) -> f64 {
        formulas::var_biased(self.recipe(), x, mean, mean_rest, cx)
    }

    /// The running statistics of a channel, to normalise by.
    fn running_statistics(&self, running_mean: f64, running_var: f64, _cx: &Context) -> Statistics {
        Statistics { mean: running_mean, mean_rest: 0.0, var_biased: running_var }
    }

    /// n/(n − 1), which makes the biased variance unbiased.
    fn bessel(&self, cx: &Context) -> f64 {
        cx.n() / (cx.n() - 1.0)
    }

    // The output of a channel.

    /// s = 1/√(σ² + eps).
    fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
        1.0 / (statistics.var_biased + cx.layer.eps).sqrt()
    }

    /// x̂ = (x − μ)·s.
    fn normalise(&self, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
        formulas::normalise(self.recipe(), x, statistics, cx)
    }

    /// y = x̂·w + b.
    fn affine(&self, x_hat: &[f64], weight: Option<f64>, bias: Option<f64>, _cx: &Context) -> Vec<f64> {
        formulas::affine(x_hat, weight, bias)
    }

    /// y from x.
    fn output(
        &self,
        x: &[f64],
        statistics: &Statistics,
        weight: Option<f64>,
        bias: Option<f64>,
        cx: &Context,
    ) -> Vec<f64> {
        self.affine(&self.normalise(x, statistics, cx), weight, bias, cx)
    }

    // The gradients of a channel.

    /// grad_input, grad_weight and grad_bias.
    fn backward(&self, channel: &Channel, g: &[f64], cx: &Context) -> Gradients {
        Gradients {
            input: self.grad_input(channel, g, cx),
            weight: self.grad_weight(channel, g, cx),
            bias: self.grad_bias(channel, g, cx),
        }
    }

    /// w·M g, with M the map of `through_normalisation`.
    fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
        formulas::grad_input(self.recipe(), channel, g, cx)
    }

    /// Σg·x̂.
    fn grad_weight(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
        self.dot(g, &channel.x_hat, cx)
    }

    /// Σg.
    fn grad_bias(&self, _channel: &Channel, g: &[f64], cx: &Context) -> f64 {
        self.sum(g, cx)
    }

    /// How a gradient a = ∂loss/∂x̂ reaches x.
    fn through_normalisation(&self, channel: &Channel, a: &[f64], cx: &Context) -> Vec<f64> {
        formulas::through_normalisation(self.recipe(), channel, a, cx)
    }

    // The second gradients of a channel, those of
    // S = Σ u·grad_input + v·grad_weight + t·grad_bias.

    /// All three.
    fn double_backward(
        &self,
        channel: &Channel,
        g: &[f64],
        cotangents: &Cotangents,
        cx: &Context,
    ) -> SecondGradients {
        SecondGradients {
            grad_output: self.second_grad_output(channel, cotangents, cx),
            input: self.second_grad_input(channel, g, cotangents, cx),
            weight: self.second_grad_weight(channel, g, cotangents, cx),
        }
    }

    /// ∂S/∂g = w·M u + v·x̂ + t.
    fn second_grad_output(&self, channel: &Channel, cotangents: &Cotangents, cx: &Context) -> Vec<f64> {
        double_backward::grad_output(self.recipe(), channel, cotangents, cx)
    }

    /// ∂S/∂x.
    fn second_grad_input(
        &self,
        channel: &Channel,
        g: &[f64],
        cotangents: &Cotangents,
        cx: &Context,
    ) -> Vec<f64> {
        double_backward::input(self.recipe(), channel, g, cotangents, cx)
    }

    /// ∂S/∂x̂ in training, the part of ∂S/∂x that goes through x̂.
    fn second_grad_x_hat(
        &self,
        channel: &Channel,
        g: &[f64],
        cotangents: &Cotangents,
        cx: &Context,
    ) -> Vec<f64> {
        double_backward::x_hat(self.recipe(), channel, g, cotangents, cx)
    }

    /// s·∂S/∂s in training, what reaches x through the inverse deviation.
    fn second_grad_invstd(&self, channel: &Channel, g: &[f64], cotangents: &Cotangents, cx: &Context) -> f64 {
        double_backward::invstd(self.recipe(), channel, g, cotangents, cx)
    }

    /// ∂S/∂w = Σ u·(M g).
    fn second_grad_weight(&self, channel: &Channel, g: &[f64], cotangents: &Cotangents, cx: &Context) -> f64 {
        self.dot(&cotangents.input, &self.through_normalisation(channel, g, cx), cx)
    }

    // The module.

    /// Parameters and buffers at the start of a script.
    fn initial_state(&self, case: &Case) -> State {
        case.state.clone()
    }

    /// The checks of a pass in their order, and what they found out.
    fn plan(&self, module: &mut Module, shape: &[usize], input: DType, mode: Mode) -> Result<Plan, Refusal> {
        module::plan(self.recipe(), module, shape, input, mode)
    }

    /// The checks, the statistics, and the update of the running ones.
    fn forward<'a>(
        &self,
        module: &mut Module,
        values: Cow<'a, [f64]>,
        cx: Context<'a>,
    ) -> Result<Forward<'a>, Refusal> {
        module::forward(self.recipe(), module, values, cx)
    }

    /// Whether a pass uses the batch's own statistics.
    fn uses_own_statistics(&self, _layer: &Layer, state: &State, mode: Mode) -> bool {
        mode == Mode::Train || (state.running_mean.is_none() && state.running_var.is_none())
    }

    /// Whether a pass counts its batch and updates the running statistics.
    fn tracks(&self, layer: &Layer, mode: Mode) -> bool {
        mode == Mode::Train && layer.track_running_stats
    }

    /// Raises the counter.
    fn count_batch(&self, state: &mut State) {
        if let Some(counter) = &mut state.num_batches_tracked {
            *counter = counter.wrapping_add(1);
        }
    }

    /// The weight of the new value, after counting.
    fn momentum(&self, layer: &Layer, state: &State, tracking: bool) -> Result<f64, Refusal> {
        module::momentum(layer, state, tracking)
    }

    /// The rank must be one that the layer takes.
    fn check_rank(&self, layer: &Layer, shape: &[usize]) -> Result<(), Refusal> {
        module::check_rank(layer, shape)
    }

    /// One value has no variance to normalise by.
    fn check_size(&self, shape: &[usize], own_statistics: bool) -> Result<(), Refusal> {
        module::check_size(shape, own_statistics)
    }

    /// eps must be positive in training and not negative in evaluation.
    fn check_eps(&self, layer: &Layer, own_statistics: bool) -> Result<(), Refusal> {
        module::check_eps(layer, own_statistics)
    }

    /// Buffers must be there when they are needed, and everything must be C long.
    fn check_lengths(
        &self,
        state: &State,
        channels: usize,
        own_statistics: bool,
        uses_buffers: bool,
    ) -> Result<(), Refusal> {
        module::check_lengths(state, channels, own_statistics, uses_buffers)
    }

    /// One dtype throughout, or 16-bit input with f32 for the rest.
    fn check_dtypes(&self, state: &State, input: DType, uses_buffers: bool) -> Result<(), Refusal> {
        module::check_dtypes(state, input, uses_buffers)
    }

    /// grad_output and the cotangent of grad_input must have the input's shape.
    fn check_shapes(&self, pass: &Pass) -> Result<(), Refusal> {
        module::check_shapes(pass)
    }

    /// Moves the running statistics towards the batch's.
    fn track(&self, state: &mut State, statistics: &[Statistics], momentum: f64, cx: &Context) {
        module::track(self.recipe(), state, statistics, momentum, cx);
    }

    /// What the running mean becomes.
    fn update_running_mean(&self, old: f64, statistics: &Statistics, momentum: f64, cx: &Context) -> f64 {
        self.running_update(old, statistics.mean + statistics.mean_rest, momentum, cx)
    }

    /// What the running variance becomes: it tracks the *unbiased* variance.
    fn update_running_var(&self, old: f64, statistics: &Statistics, momentum: f64, cx: &Context) -> f64 {
        self.running_update(old, statistics.var_biased * self.bessel(cx), momentum, cx)
    }

    /// (1 − momentum)·old + momentum·batch: momentum weighs the new value.
    fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
        (1.0 - momentum) * old + momentum * batch
    }

    /// What a backward pass finds of its forward pass: `saved`, and not what the
    /// layer is by now, nor what the `latest` forward pass saved.
    fn recall<'f, 'a>(
        &self,
        saved: &'f Forward<'a>,
        _latest: &'f Forward<'a>,
        _now: &State,
    ) -> Cow<'f, Forward<'a>> {
        Cow::Borrowed(saved)
    }

    /// Which gradients are answered, of those that the layer has.
    fn output_mask(&self, pass: &Pass) -> OutputMask {
        pass.output_mask.unwrap_or(OutputMask { input: true, weight: true, bias: true })
    }

    /// `reset_running_stats()` and `reset_parameters()`.
    fn reset(&self, layer: &Layer, state: &mut State, what: Reset) {
        module::reset(layer, state, what);
    }

    // Memory.

    /// Where the elements of an array lie.
    fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
        Strides::of(shape, layout)
    }

    /// The elements of an array in logical order.
    fn read<'m>(&self, memory: &Memory<'m>) -> Cow<'m, [f64]> {
        memory::read(self.recipe(), memory)
    }

    /// The elements of grad_output, or of its like, the cotangent of grad_input.
    fn read_gradient<'m>(&self, memory: &Memory<'m>, _cx: &Context) -> Cow<'m, [f64]> {
        self.read(memory)
    }

    /// The values of the context's channel, of an array in logical order.
    fn gather(&self, values: &[f64], cx: &Context) -> Vec<f64> {
        cx.extents().gather(values, cx.channel)
    }

    /// Puts the values of the context's channel where they belong.
    fn scatter(&self, channel: &[f64], values: &mut [f64], cx: &Context) {
        cx.extents().scatter(channel, cx.channel, values);
    }

    /// The memory order of output and grad_input.
    fn answer_layout(&self, shape: &[usize], layout: &Layout) -> Layout {
        memory::answer_layout(shape, layout)
    }

    /// An answer of the input's shape, as whoever reads it by its layout finds it.
    fn write(&self, values: Vec<f64>, _shape: &[usize], _layout: &Layout) -> Vec<f64> {
        values
    }

    /// The value of a dtype nearest to this one, ties to even.
    fn round(&self, value: f64, dtype: DType) -> f64 {
        rounding::round(value, dtype)
    }

    /// Every value, rounded.
    fn round_all(&self, values: &[f64], dtype: DType) -> Vec<f64> {
        values.iter().map(|value| self.round(*value, dtype)).collect()
    }

    // Folding.

    /// The folded weight and bias.
    fn fold(&self, module: &Module, map: &Fold) -> Result<(Tensor, Tensor), Refusal> {
        fold::fold(self.recipe(), module, map)
    }

    /// s = w/√(running_var + eps).
    fn fold_scale(&self, weight: Option<f64>, running_var: f64, layer: &Layer) -> f64 {
        weight.unwrap_or(1.0) / (running_var + layer.eps).sqrt()
    }

    /// b′ = (b − running_mean)·s + bias.
    fn fold_bias(&self, before: Option<f64>, running_mean: f64, scale: f64, bias: Option<f64>) -> f64 {
        (before.unwrap_or(0.0) - running_mean) * scale + bias.unwrap_or(0.0)
    }

    /// The output channel that an element of the map's weight belongs to.
    fn fold_channel(&self, map: &Fold, place: usize) -> usize {
        fold::out_channel(map, place)
    }
}
