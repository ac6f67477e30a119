//! Batch norm with its bounds, of any form that takes the mean before it takes the square.
//!
//! Our own is far better, libtorch's is about this. labml's, E\[x²\] − E\[x\]², has its own.

use ndarray::{ArrayD, Axis, IxDyn};

use super::bounded::{Arithmetic, Bounded, Estimate, exact};
use crate::network::Engine;

/// PyTorch's defaults.
const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Parameters and buffers.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    /// γ.
    pub weight: &'a ArrayD<f64>,
    /// β.
    pub bias: &'a ArrayD<f64>,
    /// The running mean.
    pub running_mean: &'a ArrayD<f64>,
    /// The running variance.
    pub running_var: &'a ArrayD<f64>,
}

/// What a training pass and its backward pass must give.
#[derive(Clone, Debug)]
pub struct Passes {
    /// y.
    pub output: Estimate,
    /// The running mean and the running variance.
    pub running: [Estimate; 2],
    /// grad_input, grad_weight and grad_bias.
    pub gradients: [Estimate; 3],
}

/// A channel on its way.
struct Channel {
    a: Arithmetic,
    n: Bounded,
    mean: Bounded,
    var: Bounded,
    invstd: Bounded,
    normalized: Vec<Bounded>,
}

impl Channel {
    fn new(a: Arithmetic, engine: Engine, x: &[Bounded]) -> Self {
        let n = exact(x.len() as f64);
        let mean = a.div(a.sum(x.iter().copied()), n);
        let deviations: Vec<Bounded> = x.iter().map(|&x| a.sub(x, mean)).collect();
        let mut var = a.div(a.sum(deviations.iter().map(|&d| a.mul(d, d))), n);
        if engine == Engine::Labml {
            let squares = a.div(a.sum(x.iter().map(|&x| a.mul(x, x))), n);
            var.bound = a.sub(squares, a.mul(mean, mean)).bound;
        }
        let invstd = a.inverse_root(var, EPS);
        let normalized = deviations.iter().map(|&d| a.mul(d, invstd)).collect();
        Channel { a, n, mean, var, invstd, normalized }
    }

    fn output(&self, x: &[Bounded], weight: f64, bias: f64) -> Vec<Bounded> {
        let Channel { a, mean, invstd, .. } = self;
        let y = x.iter().zip(&self.normalized).map(|(x, &normalized)| {
            let mut y = a.add(a.mul(exact(weight), normalized), exact(bias));
            // Folded into s·x + t, as libtorch has it, s and t round relative to x and to the
            // mean, not to their difference.
            y.bound += 4.0 * a.u * weight.abs() * invstd.most() * (x.most() + mean.most());
            y
        });
        y.collect()
    }

    fn follow(&self, running: f64, batch: Bounded) -> Bounded {
        let a = self.a;
        let old = a.mul(a.rounded(1.0 - MOMENTUM, 0.0), exact(running));
        a.add(old, a.mul(a.rounded(MOMENTUM, 0.0), batch))
    }

    fn backward(&self, g: &[Bounded], weight: f64) -> (Vec<Bounded>, [Bounded; 2]) {
        let Channel { a, n, invstd, normalized, .. } = self;
        let of_bias = a.sum(g.iter().copied());
        let of_weight = a.sum(g.iter().zip(normalized).map(|(&g, &x)| a.mul(g, x)));
        let (mean, slope) = (a.div(of_bias, *n), a.div(of_weight, *n));
        let scale = a.mul(exact(weight), *invstd);
        let gradient = |(&g, &x): (&Bounded, &Bounded)| a.mul(scale, a.sub(a.sub(g, mean), a.mul(x, slope)));
        (g.iter().zip(normalized).map(gradient).collect(), [of_weight, of_bias])
    }
}

fn channel(array: &ArrayD<f64>, c: usize) -> Vec<Bounded> {
    array.index_axis(Axis(1), c).iter().map(|&value| exact(value)).collect()
}

fn set_channel(estimate: &mut Estimate, c: usize, numbers: &[Bounded]) {
    let mut values = estimate.value.index_axis_mut(Axis(1), c);
    values.iter_mut().zip(numbers).for_each(|(value, number)| *value = number.value);
    let mut bounds = estimate.bound.index_axis_mut(Axis(1), c);
    bounds.iter_mut().zip(numbers).for_each(|(bound, number)| *bound = number.bound);
}

fn vector(numbers: Vec<Bounded>) -> Estimate {
    let of = |field: fn(&Bounded) -> f64| {
        let values = numbers.iter().map(field).collect();
        ArrayD::from_shape_vec(IxDyn(&[numbers.len()]), values).expect("a vector")
    };
    Estimate { value: of(|number| number.value), bound: of(|number| number.bound) }
}

/// A training pass at `input`, and its backward pass at `grad_output`.
pub fn passes(
    a: Arithmetic,
    engine: Engine,
    input: &ArrayD<f64>,
    vectors: Vectors<'_>,
    grad_output: &ArrayD<f64>,
) -> Passes {
    let (mut output, mut grad_input) = (Estimate::exact(input.clone()), Estimate::exact(input.clone()));
    let (mut means, mut vars, mut weights, mut biases) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for c in 0..input.shape()[1] {
        let [weight, bias] = [vectors.weight, vectors.bias].map(|vector| vector[c]);
        let x = channel(input, c);
        let channel_of_x = Channel::new(a, engine, &x);
        set_channel(&mut output, c, &channel_of_x.output(&x, weight, bias));
        let n = channel_of_x.n.value;
        let var = match engine {
            Engine::Batchnorm => a.mul(channel_of_x.var, a.rounded(n / (n - 1.0), 0.0)),
            Engine::Labml => channel_of_x.var,
        };
        means.push(channel_of_x.follow(vectors.running_mean[c], channel_of_x.mean));
        vars.push(channel_of_x.follow(vectors.running_var[c], var));
        let (gradients, [of_weight, of_bias]) = channel_of_x.backward(&channel(grad_output, c), weight);
        set_channel(&mut grad_input, c, &gradients);
        weights.push(of_weight);
        biases.push(of_bias);
    }
    Passes {
        output,
        running: [vector(means), vector(vars)],
        gradients: [grad_input, vector(weights), vector(biases)],
    }
}
