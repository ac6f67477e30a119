//! Your batch norm in the suite: put it in the place of `pass`, then claim more (docs/plug-in.md).
//! `cargo build --release -p bn-protocol --example template` leaves it in target/release/examples.
use bn_protocol::adapter::{self, Buffers, Layer};
use bn_protocol::capability::Capability::{Eval, F32, F64, NoAffine, PartialAffine, RankAny, Train};
use bn_protocol::case::{Case, Mode, Pass};
use bn_protocol::engine::{About, Engine};
use bn_protocol::outcome::{Field, Refusal};
use bn_protocol::tensor::{DType, Tensor};
use std::{collections::BTreeMap, io};

/// Yours: a layer, in the state that a case gives it.
struct BatchNorm(Case);

impl Layer for BatchNorm {
    /// Gives the output for an input (N, C, *), row by row, and moves the running statistics.
    fn pass(&mut self, Pass { mode, input, .. }: &Pass) -> Result<BTreeMap<Field, Tensor>, Refusal> {
        let (training, layer, state) = (*mode == Mode::Train, &self.0.layer, &mut self.0.state);
        let (eps, momentum) = (layer.eps, layer.momentum.map_or(0.0, |momentum| momentum.0));
        let (channels, inner) = (input.shape[1], input.shape[2..].iter().product());
        let (n, mut output) = ((input.len() / channels) as f64, input.clone());
        if state.tensors().any(|t| t.len() != channels) || eps < 0.0 || training && (eps == 0.0 || n == 1.0) {
            return Err(Refusal::unsorted(format!("{n} values in {channels} channels, eps {eps}")));
        }
        let round = |value: f64| if input.dtype == DType::F32 { f64::from(value as f32) } else { value };
        let (Some(kept_mean), Some(kept_var)) = (&mut state.running_mean, &mut state.running_var) else {
            return Err(Refusal::unsorted("not claimed"));
        };
        for c in 0..channels {
            let (mut mean, mut var) = (kept_mean.data[c], kept_var.data[c]);
            if training {
                let values = || input.data.chunks(inner).skip(c).step_by(channels).flatten();
                mean = values().sum::<f64>() / n;
                var = values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
                for (kept, new) in [(&mut *kept_mean, mean), (kept_var, var * n / (n - 1.0))] {
                    kept.data[c] = round((1.0 - momentum) * kept.data[c] + momentum * new);
                }
            }
            let at = |vector: &Option<Tensor>, absent| vector.as_ref().map_or(absent, |t| t.data[c]);
            let (scale, bias) = (at(&state.weight, 1.0) / (var + eps).sqrt(), at(&state.bias, 0.0));
            for x in output.data.chunks_mut(inner).skip(c).step_by(channels).flatten() {
                *x = round((*x - mean) * scale + bias);
            }
        }
        Ok([(Field::Output, output)].into())
    }

    fn buffers(&self) -> Buffers {
        Buffers::of(&self.0)
    }
}

pub(crate) fn template() -> impl Engine {
    let about =
        About::new("template-in-rust", "1", [F32, F64, Train, Eval, NoAffine, PartialAffine, RankAny]);
    adapter::engine(about, |case| Ok(BatchNorm(case.clone())))
}

fn main() -> io::Result<()> {
    bn_protocol::serve(&mut template(), io::stdin().lock(), io::stdout().lock())
}
