//! Weight and bias: y = x̂·w + b, each of them alone too.

use std::borrow::Cow;

use super::{Mutant, mutant};
use crate::engines::textbook::formulas;
use crate::engines::textbook::module::{self, Forward, Module};
use crate::engines::textbook::recipe::{Context, Recipe};
use crate::outcome::Refusal;
use crate::tensor::Tensor;

pub(super) fn mutants() -> Vec<Mutant> {
    [formula(), one_of_the_two(), whose()].into_iter().flatten().collect()
}

fn formula() -> Vec<Mutant> {
    vec![
        mutant!("weight-and-bias-swapped", "y = x̂·b + w", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                match (weight, bias) {
                    (Some(weight), Some(bias)) => formulas::affine(x_hat, Some(bias), Some(weight)),
                    _ => formulas::affine(x_hat, weight, bias),
                }
            }
        }),
        mutant!("weight-ignored", "y = x̂ + b", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                _weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, None, bias)
            }
        }),
        mutant!("bias-ignored", "y = x̂·w", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                _bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight, None)
            }
        }),
        mutant!("weight-ignored-in-eval", "evaluation: y = x̂ + b", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight.filter(|_| cx.own_statistics), bias)
            }
        }),
        mutant!("bias-ignored-in-eval", "evaluation: y = x̂·w", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight, bias.filter(|_| cx.own_statistics))
            }
        }),
        mutant!("bias-subtracted", "y = x̂·w − b", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight, bias.map(|bias| -bias))
            }
        }),
        mutant!("bias-inside", "y = (x̂ + b)·w", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight, bias.map(|bias| bias * weight.unwrap_or(1.0)))
            }
        }),
        mutant!("weight-plus-1", "y = x̂·(1 + w) + b, as for weights kept around 0", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight.map(|weight| 1.0 + weight), bias)
            }
        }),
        mutant!("weight-without-sign", "y = x̂·|w| + b", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight.map(f64::abs), bias)
            }
        }),
        mutant!("weight-0-as-1", "a weight of 0 counts as none", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight.filter(|weight| *weight != 0.0), bias)
            }
        }),
        mutant!("weight-squared-in-output", "y = x̂·w² + b", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight.map(|weight| weight * weight), bias)
            }
        }),
    ]
}

fn one_of_the_two() -> Vec<Mutant> {
    vec![
        mutant!("weight-alone-ignored", "a weight without a bias is not used", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight.filter(|_| bias.is_some()), bias)
            }
        }),
        mutant!("bias-alone-ignored", "a bias without a weight is not used", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight, bias.filter(|_| weight.is_some()))
            }
        }),
        mutant!("bias-alone-ignored-in-eval", "evaluation does not use a bias without a weight", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight, bias.filter(|_| weight.is_some() || cx.own_statistics))
            }
        }),
        mutant!("missing-weight-is-0", "a bias without a weight is scaled by weight 0", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight.or(bias.map(|_| 0.0)), bias)
            }
        }),
        mutant!("missing-bias-is-1", "a weight without a bias is shifted by 1", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight, bias.or(weight.map(|_| 1.0)))
            }
        }),
    ]
}

fn whose() -> Vec<Mutant> {
    vec![
        mutant!("weight-of-channel-0", "every channel is scaled by the first one's weight", "", {
            fn forward<'a>(
                &self,
                module: &mut Module,
                values: Cow<'a, [f64]>,
                cx: Context<'a>,
            ) -> Result<Forward<'a>, Refusal> {
                let mut forward = module::forward(self, module, values, cx)?;
                if let Some(Tensor { data, .. }) = &mut forward.weight
                    && let Some(&first) = data.first()
                {
                    data.fill(first);
                }
                Ok(forward)
            }
        }),
        mutant!("bias-of-the-next-channel", "each channel is shifted by its neighbour's bias", "", {
            fn forward<'a>(
                &self,
                module: &mut Module,
                values: Cow<'a, [f64]>,
                cx: Context<'a>,
            ) -> Result<Forward<'a>, Refusal> {
                let mut forward = module::forward(self, module, values, cx)?;
                if let Some(Tensor { data, .. }) = &mut forward.bias
                    && !data.is_empty()
                {
                    data.rotate_left(1);
                }
                Ok(forward)
            }
        }),
        mutant!(
            "weight-of-the-last-channel-for-odd-c",
            "with an odd C the last channel's weight is taken as 1",
            "",
            {
                fn affine(
                    &self,
                    x_hat: &[f64],
                    weight: Option<f64>,
                    bias: Option<f64>,
                    cx: &Context,
                ) -> Vec<f64> {
                    let channels = cx.extents().channels;
                    let last = channels > 1 && channels % 2 == 1 && cx.channel == channels - 1;
                    formulas::affine(x_hat, weight.filter(|_| !last), bias)
                }
            }
        ),
    ]
}
