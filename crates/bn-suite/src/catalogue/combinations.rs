//! Every combination of affine × tracking × dtypes × rank, over every layout and
//! in both modes, with gradients: small, generated, and complete. The other
//! groups know why they ask; this one leaves no corner out.

use super::Entry;
use super::builder::Arrangement::{self, ChannelsLast, Contiguous, Rows, SomeChannels};
use super::builder::{Script, script};
use super::dtypes::MIXES;
use crate::tensor::DType;

pub(super) fn cases() -> Vec<Entry> {
    let mut entries = Vec::new();
    for rank in ["1d", "2d", "3d"] {
        for (dtypes, input, parameters) in MIXES {
            for affine in ["weight-and-bias", "weight", "bias", "neither"] {
                for tracking in ["tracked", "untracked"] {
                    let name = format!("combinations/{rank}-{dtypes}-{affine}-{tracking}");
                    let note = format!(
                        "{rank}, {dtypes}, {affine}, {tracking}: every layout, both modes, gradients."
                    );
                    let layer = script(&name, batch(rank), &note).dtypes(input, parameters);
                    let layer = played(with_state(layer, affine, tracking), rank);
                    let short = matches!(input, DType::F16 | DType::Bf16);
                    entries.push(if short { layer.rounded_by_libtorch() } else { layer }.generated());
                }
            }
        }
    }
    entries
}

fn batch(rank: &str) -> &'static [usize] {
    match rank {
        "1d" => &[4, 3],
        "2d" => &[2, 3, 2, 3],
        _ => &[2, 3, 1, 2, 3],
    }
}

fn with_state(layer: Script, affine: &str, tracking: &str) -> Script {
    let layer = match affine {
        "weight" => layer.no_bias(),
        "bias" => layer.no_weight(),
        "neither" => layer.no_affine(),
        _ => layer,
    };
    if tracking == "untracked" { layer.untracked() } else { layer }
}

/// Each layout that the rank has, in both modes.
fn played(mut layer: Script, rank: &str) -> Script {
    let layouts: &[Arrangement] =
        if rank == "1d" { &[Contiguous, Rows] } else { &[Contiguous, ChannelsLast, SomeChannels] };
    for &arrangement in layouts {
        layer = layer.arranged(arrangement).train().grad().eval().grad();
    }
    if rank == "1d" {
        layer = layer.batch(&[2, 3, 3]);
        for &arrangement in layouts {
            layer = layer.arranged(arrangement).train().grad().eval().grad();
        }
    }
    layer
}
