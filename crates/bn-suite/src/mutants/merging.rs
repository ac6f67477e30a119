//! Batches in parts: the statistics of the whole, whatever the parts' sizes, with
//! n of the whole in Bessel's factor.

use super::{Mutant, mutant};
use crate::engines::textbook::formulas::{Statistics, batch_statistics};
use crate::engines::textbook::recipe::{Context, Recipe};

/// Count, mean and biased variance of a part.
struct Part {
    n: f64,
    mean: f64,
    var: f64,
}

/// The parts that are not empty.
fn summed_up(recipe: &dyn Recipe, parts: &[Vec<f64>], cx: &Context) -> Vec<Part> {
    let not_empty = parts.iter().filter(|part| !part.is_empty());
    let part = |x: &Vec<f64>| {
        let Statistics { mean, mean_rest, var_biased } = batch_statistics(recipe, x, cx);
        Part { n: x.len() as f64, mean: mean + mean_rest, var: var_biased }
    };
    not_empty.map(part).collect()
}

/// Σ weight·value / Σ weight.
fn average(parts: &[Part], weight: fn(&Part) -> f64, value: impl Fn(&Part) -> f64) -> f64 {
    let total: f64 = parts.iter().map(weight).sum();
    parts.iter().map(|part| weight(part) * value(part)).sum::<f64>() / total
}

/// Variance within the parts, plus `between` times that between their means.
fn merged(parts: &[Part], weight: fn(&Part) -> f64, between: f64) -> Statistics {
    let mean = average(parts, weight, |part| part.mean);
    let var_biased = average(parts, weight, |part| part.var + between * (part.mean - mean).powi(2));
    Statistics { mean, mean_rest: 0.0, var_biased }
}

pub(super) fn mutants() -> Vec<Mutant> {
    vec![
        mutant!("merge-unweighted", "the parts' statistics are averaged, whatever their sizes", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                merged(&summed_up(self, parts, cx), |_| 1.0, 1.0)
            }
        }),
        mutant!("merge-unweighted-mean", "the parts' means are averaged, whatever their sizes", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                let parts = summed_up(self, parts, cx);
                Statistics { mean: merged(&parts, |_| 1.0, 1.0).mean, ..merged(&parts, |part| part.n, 1.0) }
            }
        }),
        mutant!("merge-within-only", "the variance lacks that between the parts' means", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                merged(&summed_up(self, parts, cx), |part| part.n, 0.0)
            }
        }),
        mutant!("merge-between-doubled", "the variance between the parts' means counts twice", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                merged(&summed_up(self, parts, cx), |part| part.n, 2.0)
            }
        }),
        mutant!("merge-by-n-minus-1", "the parts are weighed by n − 1", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                merged(&summed_up(self, parts, cx), |part| (part.n - 1.0).max(0.0), 1.0)
            }
        }),
        mutant!("merge-unbiased-parts", "the parts' variances are merged as unbiased ones", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                let mut parts = summed_up(self, parts, cx);
                parts.iter_mut().for_each(|part| part.var *= part.n / (part.n - 1.0).max(1.0));
                merged(&parts, |part| part.n, 1.0)
            }
        }),
        mutant!("merge-keeps-eps", "variances recovered as 1/s² keep eps", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                let right = merged(&summed_up(self, parts, cx), |part| part.n, 1.0);
                Statistics { var_biased: right.var_biased + cx.layer.eps, ..right }
            }
        }),
        mutant!("merge-last-part-lost", "the last part does not enter the statistics", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                let all = summed_up(self, parts, cx);
                merged(&all[..all.len().saturating_sub(1).max(1).min(all.len())], |part| part.n, 1.0)
            }
        }),
        mutant!("merge-two-parts-only", "the third part and all after it do not enter the statistics", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                let all = summed_up(self, parts, cx);
                merged(&all[..all.len().min(2)], |part| part.n, 1.0)
            }
        }),
        mutant!("merge-empty-part-poisons", "an empty part makes the statistics 0/0", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                let right = self.batch_statistics(&parts.concat(), cx);
                let empty = parts.iter().any(|part| part.is_empty());
                if empty {
                    Statistics { mean: f64::NAN, mean_rest: 0.0, var_biased: f64::NAN }
                } else {
                    right
                }
            }
        }),
        mutant!("merge-empty-part-counts", "an empty part counts as one value of 0", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                let zeros = vec![0.0; parts.iter().filter(|part| part.is_empty()).count()];
                self.batch_statistics(&[parts.concat(), zeros].concat(), cx)
            }
        }),
        mutant!("merge-one-value-part-lost", "a part of one value, without a variance, is left out", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                let two: Vec<f64> = parts.iter().filter(|part| part.len() > 1).flatten().copied().collect();
                self.batch_statistics(if two.is_empty() { &parts[0] } else { &two }, cx)
            }
        }),
        mutant!("merge-bessel-of-a-part", "Bessel's factor takes n of the first part", "", {
            fn bessel(&self, cx: &Context) -> f64 {
                let part = cx.parts.first().copied().unwrap_or(cx.extents().batch);
                let n = (part * cx.extents().spatial) as f64;
                n / (n - 1.0).max(1.0)
            }
        }),
        mutant!("merge-bessel-missing", "running_var tracks the biased variance of a merged batch", "", {
            fn bessel(&self, cx: &Context) -> f64 {
                if cx.parts.is_empty() { cx.n() / (cx.n() - 1.0) } else { 1.0 }
            }
        }),
        mutant!("merge-not-at-all", "the running statistics track the first part alone", "", {
            fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
                let first = parts.iter().find(|part| part.len() > 1).unwrap_or(&parts[0]);
                batch_statistics(self, first, cx)
            }
        }),
    ]
}
