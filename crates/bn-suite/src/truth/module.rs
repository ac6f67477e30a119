//! What PyTorch's module does around the arithmetic: which statistics a step
//! uses, which buffers it updates, what it answers.

use rayon::prelude::*;

use super::backward::{self, Gradients};
use super::channels::{self, Channel, Extents};
use super::checks::{Plan, check_cotangents};
use super::double_backward::{self, SecondGradients};
use super::fold::{self, Folded};
use super::forward::{self, Deviation, Normalised, Statistics};
use super::{Fields, format::Format};
use crate::allowance::Tracked;
use crate::case::{Case, Fold, Layer, Mode, OutputMask, Pass, Reset};
use crate::golden::Expected;
use crate::model::{Model, Precision};
use crate::outcome::{Field, RefusalKind};
use crate::tensor::{DType, Tensor};

/// A parameter or buffer, as exact values with the error an engine may have in them.
pub(super) struct Vector {
    pub dtype: DType,
    pub values: Vec<Tracked>,
}

impl Vector {
    fn new(tensor: &Tensor, model: Model) -> Self {
        let arithmetic = model.precision(tensor.dtype, tensor.dtype).elements;
        let values = tensor.data.iter().map(|&value| Tracked::exact(value, arithmetic)).collect();
        Vector { dtype: tensor.dtype, values }
    }

    fn fill(&mut self, value: f64) {
        for old in &mut self.values {
            *old = Tracked::exact(value, old.arithmetic);
        }
    }

    /// Moves towards new values, and rounds to the dtype.
    fn update(&mut self, momentum: f64, batch: impl Iterator<Item = Tracked>, precision: Precision) {
        let format = Format::of(self.dtype).expect("the mix of dtypes was checked");
        for (old, new) in self.values.iter_mut().zip(batch) {
            *old =
                forward::update_running(old, &new, momentum, precision).stored(format, precision.to_nearest);
        }
    }
}

/// The layer of a case, as it goes through the script.
pub(super) struct Module<'a> {
    pub layer: &'a Layer,
    model: Model,
    pub weight: Option<Vector>,
    pub bias: Option<Vector>,
    pub running_mean: Option<Vector>,
    pub running_var: Option<Vector>,
    pub num_batches_tracked: Option<i64>,
}

/// What a forward pass leaves behind, by channel.
struct Forward {
    /// `Train` where the batch's statistics were used, `Eval` where the running ones were.
    source: Mode,
    channels: Vec<Channel>,
    statistics: Vec<Statistics>,
    normalised: Vec<Normalised>,
}

impl<'a> Module<'a> {
    pub fn new(case: &'a Case, model: Model) -> Self {
        let vector = |tensor: &Option<Tensor>| tensor.as_ref().map(|tensor| Vector::new(tensor, model));
        Module {
            layer: &case.layer,
            model,
            weight: vector(&case.state.weight),
            bias: vector(&case.state.bias),
            running_mean: vector(&case.state.running_mean),
            running_var: vector(&case.state.running_var),
            num_batches_tracked: case.state.num_batches_tracked,
        }
    }

    /// A forward pass, and the backward passes that belong to it. When those run
    /// does not matter here: they use the statistics of this forward pass.
    pub fn pass(&mut self, pass: &Pass) -> Expected {
        let mut fields = Fields::new(self.model);
        let refused = self.forward_and_backward(pass, &mut fields).err();
        self.finish(fields, refused)
    }

    fn forward_and_backward(&mut self, pass: &Pass, fields: &mut Fields) -> Result<(), RefusalKind> {
        let plan = self.check(pass.mode, &pass.input.shape, pass.input.dtype)?;
        // PyTorch runs forward before it can refuse a backward, but a refused step answers no arrays.
        let asked = check_cotangents(pass);
        let grad_output = pass.grad_output.as_ref().filter(|_| asked.is_ok());
        let cotangents = pass.cotangents.as_ref().filter(|_| asked.is_ok());
        let u = cotangents.and_then(|cotangents| cotangents.grad_input.as_ref());
        let channels = channels::split(&pass.input, grad_output, u);
        let forward = self.forward(&plan, channels, &pass.input);
        asked?;
        fields.put_like(Field::Output, &pass.input, &forward.channels, &self.affine(&forward.normalised));
        if pass.grad_output.is_some() {
            self.put_gradients(pass, &forward, fields);
            if pass.cotangents.is_some() {
                self.put_second_gradients(pass, &forward, fields);
            }
        }
        Ok(())
    }

    /// The statistics, the update of the buffers, and x̂.
    fn forward(&mut self, plan: &Plan, channels: Vec<Channel>, input: &Tensor) -> Forward {
        let precision = self.precision(input.dtype);
        let statistics = self.statistics(plan, &channels, precision);
        self.update(plan, &statistics, Extents::of(&input.shape).per_channel(), precision);
        let normalised = self.normalise(plan.statistics, &channels, &statistics, precision);
        Forward { source: plan.statistics, channels, statistics, normalised }
    }

    pub fn vectors(&self) -> impl Iterator<Item = &Vector> {
        [&self.weight, &self.bias, &self.running_mean, &self.running_var].into_iter().flatten()
    }

    /// The dtype of parameters, buffers and their gradients.
    fn parameter_dtype(&self, input: DType) -> DType {
        self.vectors().next().map_or(input, |vector| vector.dtype)
    }

    fn precision(&self, input: DType) -> Precision {
        self.model.precision(input, self.parameter_dtype(input))
    }

    fn statistics(&self, plan: &Plan, channels: &[Channel], precision: Precision) -> Vec<Statistics> {
        match (plan.statistics, &self.running_mean, &self.running_var) {
            (Mode::Eval, Some(mean), Some(var)) => {
                let pairs = mean.values.iter().zip(&var.values);
                pairs.map(|(mean, var)| Statistics { mean: mean.clone(), var_biased: var.clone() }).collect()
            }
            _ => channels.par_iter().map(|x| forward::batch_statistics(x, precision)).collect(),
        }
    }

    /// An empty batch leaves the running statistics as they are.
    fn update(&mut self, plan: &Plan, batch: &[Statistics], n: usize, precision: Precision) {
        let (Some(momentum), Some(mean), Some(var)) =
            (plan.update, &mut self.running_mean, &mut self.running_var)
        else {
            return;
        };
        if n == 0 {
            return;
        }
        mean.update(momentum, batch.iter().map(|new| new.mean.clone()), precision);
        var.update(momentum, batch.iter().map(|new| forward::unbiased(&new.var_biased, n)), precision);
    }

    fn normalise(
        &self,
        source: Mode,
        channels: &[Channel],
        statistics: &[Statistics],
        precision: Precision,
    ) -> Vec<Normalised> {
        let normalise = match source {
            Mode::Train => forward::normalise_by_own,
            Mode::Eval => forward::normalise,
        };
        let channel = |(x, statistics): (&Channel, &Statistics)| {
            let deviation = Deviation::new(&statistics.var_biased, self.layer.eps, precision);
            normalise(x, statistics, deviation, precision)
        };
        channels.par_iter().zip(statistics).map(channel).collect()
    }

    fn affine(&self, normalised: &[Normalised]) -> Vec<Vec<Tracked>> {
        let channel = |c: usize| forward::affine(&normalised[c], at(&self.weight, c), at(&self.bias, c));
        (0..normalised.len()).into_par_iter().map(channel).collect()
    }

    fn put_gradients(&self, pass: &Pass, forward: &Forward, fields: &mut Fields) {
        let Forward { source, channels, normalised, .. } = forward;
        let channel =
            |c: usize| backward::backward(&channels[c], &normalised[c], at(&self.weight, c), *source);
        let grads: Vec<Gradients> = (0..channels.len()).into_par_iter().map(channel).collect();
        let mask = pass.output_mask.unwrap_or(OutputMask { input: true, weight: true, bias: true });
        let vector =
            |value: fn(&Gradients) -> &Tracked| grads.iter().map(|g| value(g).clone()).collect::<Vec<_>>();
        if let (true, Some(weight)) = (mask.weight, &self.weight) {
            fields.put_vector(Field::GradWeight, weight.dtype, &vector(|g| &g.weight));
        }
        if let (true, Some(bias)) = (mask.bias, &self.bias) {
            fields.put_vector(Field::GradBias, bias.dtype, &vector(|g| &g.bias));
        }
        if mask.input {
            let inputs: Vec<_> = grads.into_iter().map(|g| g.input).collect();
            fields.put_like(Field::GradInput, &pass.input, channels, &inputs);
        }
    }

    fn put_second_gradients(&self, pass: &Pass, forward: &Forward, fields: &mut Fields) {
        let Forward { source, channels, normalised, .. } = forward;
        let given = pass.cotangents.clone().unwrap_or_default();
        // What is not given counts as 0, and so does what the layer has no parameter for.
        let weights = given.grad_weight.as_ref().filter(|_| self.weight.is_some());
        let biases = given.grad_bias.as_ref().filter(|_| self.bias.is_some());
        let scalar = |tensor: Option<&Tensor>, c: usize| tensor.map_or(0.0, |tensor| tensor.data[c]);
        let channel = |c: usize| {
            let given = (scalar(weights, c), scalar(biases, c));
            double_backward::double_backward(
                &channels[c],
                given,
                &normalised[c],
                at(&self.weight, c),
                *source,
            )
        };
        let seconds: Vec<SecondGradients> = (0..channels.len()).into_par_iter().map(channel).collect();
        let (mut grad_outputs, mut inputs, mut weights) = (vec![], vec![], vec![]);
        for second in seconds {
            grad_outputs.push(second.grad_output);
            inputs.push(second.input);
            weights.push(second.weight);
        }
        fields.put_like(Field::SecondGradOutput, &pass.input, channels, &grad_outputs);
        fields.put_like(Field::SecondGradInput, &pass.input, channels, &inputs);
        if let Some(weight) = &self.weight {
            fields.put_vector(Field::SecondGradWeight, weight.dtype, &weights);
        }
    }

    /// `reset_running_stats()` does nothing to a layer that does not track.
    pub fn reset(&mut self, what: Reset) -> Expected {
        if self.layer.track_running_stats {
            self.running_mean.iter_mut().for_each(|mean| mean.fill(0.0));
            self.running_var.iter_mut().for_each(|var| var.fill(1.0));
            self.num_batches_tracked.iter_mut().for_each(|counter| *counter = 0);
        }
        if what == Reset::Parameters {
            self.weight.iter_mut().for_each(|weight| weight.fill(1.0));
            self.bias.iter_mut().for_each(|bias| bias.fill(0.0));
        }
        let mut fields = Fields::new(self.model);
        for (field, vector) in [(Field::Weight, &self.weight), (Field::Bias, &self.bias)] {
            if let Some(vector) = vector {
                fields.put_vector(field, vector.dtype, &vector.values);
            }
        }
        self.finish(fields, None)
    }

    pub fn fold(&mut self, fold: &Fold) -> Expected {
        let mut fields = Fields::new(self.model);
        let refused = self.fold_into(fold, &mut fields).err();
        self.finish(fields, refused)
    }

    fn fold_into(&self, map: &Fold, fields: &mut Fields) -> Result<(), RefusalKind> {
        let (Some(mean), Some(var)) = (&self.running_mean, &self.running_var) else {
            return Err(RefusalKind::RunningStats);
        };
        let owners = fold::output_channels(map)?;
        let out = fold::out_features(map);
        let bias_fits = map.bias.as_ref().is_none_or(|bias| bias.data.len() == out);
        if mean.values.len() != out || !bias_fits {
            return Err(RefusalKind::NumFeatures);
        }
        self.check_buffers(out, false, true)?;
        self.check_dtypes(map.weight.dtype)?;
        if self.layer.eps < 0.0 {
            return Err(RefusalKind::Eps);
        }
        let precision = self.precision(map.weight.dtype);
        let channel = |c: usize| {
            let deviation = Deviation::new(&var.values[c], self.layer.eps, precision);
            let one = Tracked::exact(1.0, precision.elements);
            let scale = deviation.divide(at(&self.weight, c).unwrap_or(&one));
            Folded { scale, mean: mean.values[c].clone(), bias: at(&self.bias, c).cloned() }
        };
        let channels: Vec<Folded> = (0..out).map(channel).collect();
        let dtype = map.weight.dtype;
        let weight = fold::fold_weight(map, &owners, &channels);
        fields.put(Field::FoldedWeight, dtype, &map.weight.shape, &weight);
        fields.put_vector(Field::FoldedBias, dtype, &fold::fold_bias(map, &channels, precision));
        Ok(())
    }

    /// A training forward over the parts joined along N.
    pub fn merge(&mut self, parts: &[Tensor]) -> Expected {
        let mut fields = Fields::new(self.model);
        let refused = self.merge_parts(parts, &mut fields).err();
        self.finish(fields, refused)
    }

    fn merge_parts(&mut self, parts: &[Tensor], fields: &mut Fields) -> Result<(), RefusalKind> {
        let whole = join_batches(parts)?;
        let plan = self.check(Mode::Train, &whole.shape, whole.dtype)?;
        let Forward { channels, statistics, normalised, .. } =
            self.forward(&plan, channels::split(&whole, None, None), &whole);
        fields.put_like(Field::Output, &whole, &channels, &self.affine(&normalised));
        let dtype = self.parameter_dtype(whole.dtype);
        let vector = |value: fn(&Statistics) -> &Tracked| {
            statistics.iter().map(|s| value(s).clone()).collect::<Vec<_>>()
        };
        fields.put_vector(Field::Mean, dtype, &vector(|s| &s.mean));
        fields.put_vector(Field::VarBiased, dtype, &vector(|s| &s.var_biased));
        Ok(())
    }

    /// Adds the buffers as they now stand. A refused step answers nothing else.
    fn finish(&self, fields: Fields, refused: Option<RefusalKind>) -> Expected {
        let mut fields = if refused.is_some() { Fields::new(self.model) } else { fields };
        for (field, vector) in
            [(Field::RunningMean, &self.running_mean), (Field::RunningVar, &self.running_var)]
        {
            // A buffer of a dtype that no step accepts is never changed, and never answered.
            if let Some(vector) = vector.as_ref().filter(|vector| Format::of(vector.dtype).is_some()) {
                fields.put_rounded(field, vector.dtype, &vector.values);
            }
        }
        Expected { fields: fields.arrays, num_batches_tracked: self.num_batches_tracked, refused }
    }
}

fn at(vector: &Option<Vector>, c: usize) -> Option<&Tracked> {
    vector.as_ref().map(|vector| &vector.values[c])
}

/// The parts as one batch.
fn join_batches(parts: &[Tensor]) -> Result<Tensor, RefusalKind> {
    let first = parts.first().ok_or(RefusalKind::Shape)?;
    if first.shape.len() < 2 {
        return Err(RefusalKind::Rank);
    }
    if parts.iter().any(|part| part.shape.get(1..) != first.shape.get(1..)) {
        return Err(RefusalKind::Shape);
    }
    if parts.iter().any(|part| part.dtype != first.dtype) {
        return Err(RefusalKind::Dtype);
    }
    let mut shape = first.shape.clone();
    shape[0] = parts.iter().map(|part| part.shape[0]).sum();
    let data = parts.iter().flat_map(|part| part.data.iter().copied()).collect();
    Ok(Tensor::new(first.dtype, &shape, data))
}
