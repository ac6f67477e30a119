//! Folding: W′ = W·s over the output channels and b′ = (b − running_mean)·s + bias
//! with s = w/√(running_var + eps).

use super::{Mutant, mutant};
use crate::case::{Fold, FoldInto, Layer};
use crate::engines::textbook::fold;
use crate::engines::textbook::recipe::Recipe;

pub(super) fn mutants() -> Vec<Mutant> {
    [scale(), bias(), axis()].into_iter().flatten().collect()
}

fn scale() -> Vec<Mutant> {
    vec![
        mutant!("fold-without-eps", "s lacks eps", "", {
            fn fold_scale(&self, weight: Option<f64>, running_var: f64, _layer: &Layer) -> f64 {
                weight.unwrap_or(1.0) / running_var.sqrt()
            }
        }),
        mutant!("fold-eps-outside-the-root", "s divides by √running_var + eps", "", {
            fn fold_scale(&self, weight: Option<f64>, running_var: f64, layer: &Layer) -> f64 {
                weight.unwrap_or(1.0) / (running_var.sqrt() + layer.eps)
            }
        }),
        mutant!("fold-eps-fixed", "s takes an eps of 1e-5, whatever the layer says", "", {
            fn fold_scale(&self, weight: Option<f64>, running_var: f64, _layer: &Layer) -> f64 {
                weight.unwrap_or(1.0) / (running_var + 1e-5).sqrt()
            }
        }),
        mutant!("fold-by-variance", "s divides by the variance, not its root", "", {
            fn fold_scale(&self, weight: Option<f64>, running_var: f64, layer: &Layer) -> f64 {
                weight.unwrap_or(1.0) / (running_var + layer.eps)
            }
        }),
        mutant!("fold-without-weight", "s lacks the layer's weight", "", {
            fn fold_scale(&self, _weight: Option<f64>, running_var: f64, layer: &Layer) -> f64 {
                1.0 / (running_var + layer.eps).sqrt()
            }
        }),
        mutant!("fold-weight-without-sign", "s takes |weight|", "", {
            fn fold_scale(&self, weight: Option<f64>, running_var: f64, layer: &Layer) -> f64 {
                weight.map_or(1.0, f64::abs) / (running_var + layer.eps).sqrt()
            }
        }),
    ]
}

fn bias() -> Vec<Mutant> {
    vec![
        mutant!("fold-adds-the-mean", "b′ adds running_mean·s", "", {
            fn fold_bias(&self, before: Option<f64>, mean: f64, scale: f64, bias: Option<f64>) -> f64 {
                (before.unwrap_or(0.0) + mean) * scale + bias.unwrap_or(0.0)
            }
        }),
        mutant!("fold-without-the-mean", "b′ lacks running_mean", "", {
            fn fold_bias(&self, before: Option<f64>, _mean: f64, scale: f64, bias: Option<f64>) -> f64 {
                before.unwrap_or(0.0) * scale + bias.unwrap_or(0.0)
            }
        }),
        mutant!("fold-map-bias-not-scaled", "b′ adds the map's bias unscaled", "ncnn#1339", {
            fn fold_bias(&self, before: Option<f64>, mean: f64, scale: f64, bias: Option<f64>) -> f64 {
                before.unwrap_or(0.0) - mean * scale + bias.unwrap_or(0.0)
            }
        }),
        mutant!("fold-map-bias-lost", "b′ lacks the map's bias", "", {
            fn fold_bias(&self, _before: Option<f64>, mean: f64, scale: f64, bias: Option<f64>) -> f64 {
                bias.unwrap_or(0.0) - mean * scale
            }
        }),
        mutant!("fold-layer-bias-lost", "b′ lacks the layer's bias", "", {
            fn fold_bias(&self, before: Option<f64>, mean: f64, scale: f64, _bias: Option<f64>) -> f64 {
                (before.unwrap_or(0.0) - mean) * scale
            }
        }),
        mutant!("fold-layer-bias-scaled", "b′ scales the layer's bias by s", "", {
            fn fold_bias(&self, before: Option<f64>, mean: f64, scale: f64, bias: Option<f64>) -> f64 {
                (before.unwrap_or(0.0) - mean + bias.unwrap_or(0.0)) * scale
            }
        }),
        mutant!(
            "fold-no-bias-for-a-map-without",
            "a map without a bias gets b′ = 0",
            "ultralytics#25364",
            {
                fn fold_bias(&self, before: Option<f64>, mean: f64, scale: f64, bias: Option<f64>) -> f64 {
                    before.map_or(0.0, |before| (before - mean) * scale + bias.unwrap_or(0.0))
                }
            }
        ),
        mutant!("fold-mean-not-scaled", "b′ subtracts running_mean after scaling", "", {
            fn fold_bias(&self, before: Option<f64>, mean: f64, scale: f64, bias: Option<f64>) -> f64 {
                before.unwrap_or(0.0) * scale - mean + bias.unwrap_or(0.0)
            }
        }),
    ]
}

fn axis() -> Vec<Mutant> {
    vec![
        mutant!("fold-over-input-channels", "W′ is scaled over the input channels, mod C", "", {
            fn fold_channel(&self, map: &Fold, place: usize) -> usize {
                let kernel: usize = map.weight.shape[2..].iter().product();
                place / kernel % map.weight.shape[1] % fold::out_channels(map)
            }
        }),
        mutant!(
            "fold-transposed-as-conv",
            "a transposed convolution is scaled over its first axis, mod C",
            "",
            {
                fn fold_channel(&self, map: &Fold, place: usize) -> usize {
                    let kernel: usize = map.weight.shape[2..].iter().product();
                    match map.into {
                        FoldInto::ConvTranspose => {
                            place / kernel / map.weight.shape[1] % fold::out_channels(map)
                        }
                        _ => fold::out_channel(map, place),
                    }
                }
            }
        ),
        mutant!(
            "fold-groups-ignored",
            "every group of a transposed convolution takes the first one's s",
            "pytorch#180995",
            {
                fn fold_channel(&self, map: &Fold, place: usize) -> usize {
                    let kernel: usize = map.weight.shape[2..].iter().product();
                    match map.into {
                        FoldInto::ConvTranspose => place / kernel % map.weight.shape[1],
                        _ => fold::out_channel(map, place),
                    }
                }
            }
        ),
        mutant!(
            "fold-groups-interleaved",
            "a transposed convolution's group k makes channels k, k + groups, …",
            "",
            {
                fn fold_channel(&self, map: &Fold, place: usize) -> usize {
                    let right = fold::out_channel(map, place);
                    match map.into {
                        FoldInto::ConvTranspose => {
                            let per_group = map.weight.shape[1];
                            right % per_group * map.groups + right / per_group
                        }
                        _ => right,
                    }
                }
            }
        ),
        mutant!("fold-conv-group-offset", "a grouped convolution takes the s of its first group", "", {
            fn fold_channel(&self, map: &Fold, place: usize) -> usize {
                let right = fold::out_channel(map, place);
                match map.into {
                    FoldInto::Conv => right % (fold::out_channels(map) / map.groups),
                    _ => right,
                }
            }
        }),
        mutant!("fold-channels-reversed", "s is applied to the output channels in reverse", "", {
            fn fold_channel(&self, map: &Fold, place: usize) -> usize {
                fold::out_channels(map) - 1 - fold::out_channel(map, place)
            }
        }),
    ]
}
