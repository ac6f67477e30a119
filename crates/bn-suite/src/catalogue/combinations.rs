//! Every combination of affine × tracking × dtypes × rank, over every layout and
//! in both modes, with gradients: small, generated, and complete. The other
//! groups know why they ask; this one leaves no corner out.

use super::Entry;
use super::arrangement::Arrangement::{self, ChannelsLast, Contiguous, Rows, SomeChannels};
use super::builder::{Script, script};
use super::dtypes::MIXES;
use super::fill::Fill;
use super::layouts::STRIDED_16_BITS;
use crate::outcome::Field;
use crate::tensor::DType;

/// As many cases as this group promises: ranks × affine × tracking, once for each
/// wide mix of dtypes and twice for each in 16 bits.
pub const COUNT: usize = 3 * 4 * 2 * (2 + 4 * 2);

pub(super) fn cases() -> Vec<Entry> {
    let mut entries = Vec::new();
    for rank in ["1d", "2d", "3d"] {
        for mix in MIXES {
            for affine in ["weight-and-bias", "weight", "bias", "neither"] {
                for tracking in ["tracked", "untracked"] {
                    entries.extend(Combination { rank, mix, affine, tracking }.entries());
                }
            }
        }
    }
    entries
}

struct Combination {
    rank: &'static str,
    /// Its name, the input's dtype, and that of parameters and buffers.
    mix: (&'static str, DType, DType),
    affine: &'static str,
    tracking: &'static str,
}

impl Combination {
    /// Every layout in one case; in 16 bits the strided one is a case of its own,
    /// because libtorch is known to be less exact there. Beside f32 parameters that
    /// always shows; where all is in 16 bits, rarely.
    fn entries(&self) -> Vec<Entry> {
        let ordinary: &[Arrangement] =
            if self.rank == "1d" { &[Contiguous] } else { &[Contiguous, ChannelsLast] };
        let strided = if self.rank == "1d" { Rows } else { SomeChannels };
        let (_, input, parameters) = self.mix;
        if matches!(input, DType::F32 | DType::F64) {
            return vec![self.played("", &[ordinary, &[strided]].concat()).generated()];
        }
        let apart = self.played("-strided", &[strided]);
        let is_stateless = self.affine == "neither" && self.tracking == "untracked";
        let fields = [Field::GradInput, Field::GradBias];
        let apart = if input == parameters || is_stateless {
            apart.sometimes_disputed_by_libtorch(&fields, STRIDED_16_BITS)
        } else {
            apart.disputed_by_libtorch(&fields, STRIDED_16_BITS)
        };
        vec![self.played("", ordinary).generated(), apart.generated()]
    }

    /// Training and evaluation with gradients, in each of these arrangements.
    fn played(&self, suffix: &str, arrangements: &[Arrangement]) -> Script {
        let Combination { rank, mix: (dtypes, input, parameters), affine, tracking } = self;
        let name = format!("combinations/{rank}-{dtypes}-{affine}-{tracking}{suffix}");
        let orders: Vec<String> = arrangements.iter().map(|arrangement| format!("{arrangement:?}")).collect();
        let note = format!(
            "{rank}, {dtypes}, {affine}, {tracking}: both modes, with gradients, input arranged as {}.",
            orders.join(", ")
        );
        let mut layer = self.with_state(script(&name, self.batches()[0], &note).dtypes(*input, *parameters));
        layer = layer.fill(Fill::Dense);
        for shape in self.batches() {
            for &arrangement in arrangements {
                layer = layer.batch(shape).arranged(arrangement);
                layer = layer.train().grad_exact().eval().grad_exact();
            }
        }
        layer
    }

    fn batches(&self) -> &'static [&'static [usize]] {
        match self.rank {
            "1d" => &[&[5, 3], &[2, 3, 3]],
            "2d" => &[&[2, 3, 2, 3]],
            _ => &[&[2, 3, 2, 2, 3]],
        }
    }

    fn with_state(&self, layer: Script) -> Script {
        let layer = layer.affine(self.affine);
        if self.tracking == "untracked" { layer.untracked() } else { layer }
    }
}
