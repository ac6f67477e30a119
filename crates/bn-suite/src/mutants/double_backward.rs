//! The second gradients, term by term: ∂S/∂g = w·M u + v·x̂ + t,
//! ∂S/∂w = Σ u·(M g), ∂S/∂x = M a − (s·∂S/∂s)·s·x̂/n with
//! a = v·g − (w·s/n)·(u·Σ(g·x̂) + g·Σ(u·x̂)).

use super::{Mutant, mutant};
use crate::engines::textbook::formulas::{Channel, Cotangents, double_backward};
use crate::engines::textbook::recipe::{Context, Recipe};

pub(super) fn mutants() -> Vec<Mutant> {
    [by_grad_output(), by_x_hat(), by_input(), by_weight()].into_iter().flatten().collect()
}

/// p·w·M u + q·v·x̂ + r·t; p = q = r = 1 is right.
fn grad_output(
    recipe: &dyn Recipe,
    channel: &Channel,
    given: &Cotangents,
    cx: &Context,
    by: [f64; 3],
) -> Vec<f64> {
    let [p, q, r] = by;
    let through_u = recipe.through_normalisation(channel, &given.input, cx);
    let weight = p * channel.weight_or_one();
    let terms = through_u.iter().zip(&channel.x_hat);
    terms.map(|(through, x_hat)| weight * through + q * given.weight * x_hat + r * given.bias).collect()
}

/// p·v·g − (w·s/n)·(q·u·Σ(g·x̂) + r·g·Σ(u·x̂)); p = q = r = 1 is right.
fn x_hat(
    recipe: &dyn Recipe,
    channel: &Channel,
    g: &[f64],
    given: &Cotangents,
    cx: &Context,
    by: [f64; 3],
) -> Vec<f64> {
    let [p, q, r] = by;
    let Cotangents { input: u, weight: v, .. } = given;
    let ws_n = channel.weight_or_one() * channel.invstd / channel.n();
    let (ux, gx) = (recipe.dot(u, &channel.x_hat, cx), recipe.dot(g, &channel.x_hat, cx));
    g.iter().zip(u).map(|(g, u)| p * v * g - ws_n * (q * u * gx + r * g * ux)).collect()
}

fn by_grad_output() -> Vec<Mutant> {
    vec![
        mutant!("second-grad-output-without-u", "∂S/∂grad_output lacks w·M u", "", {
            fn second_grad_output(&self, channel: &Channel, given: &Cotangents, cx: &Context) -> Vec<f64> {
                grad_output(self, channel, given, cx, [0.0, 1.0, 1.0])
            }
        }),
        mutant!("second-grad-output-without-v", "∂S/∂grad_output lacks v·x̂", "", {
            fn second_grad_output(&self, channel: &Channel, given: &Cotangents, cx: &Context) -> Vec<f64> {
                grad_output(self, channel, given, cx, [1.0, 0.0, 1.0])
            }
        }),
        mutant!("second-grad-output-without-t", "∂S/∂grad_output lacks t", "", {
            fn second_grad_output(&self, channel: &Channel, given: &Cotangents, cx: &Context) -> Vec<f64> {
                grad_output(self, channel, given, cx, [1.0, 1.0, 0.0])
            }
        }),
        mutant!("second-grad-output-v-flipped", "∂S/∂grad_output has −v·x̂", "", {
            fn second_grad_output(&self, channel: &Channel, given: &Cotangents, cx: &Context) -> Vec<f64> {
                grad_output(self, channel, given, cx, [1.0, -1.0, 1.0])
            }
        }),
        mutant!(
            "second-grad-output-t-without-weight",
            "∂S/∂grad_output lacks t where there is no weight",
            "libtorch",
            {
                fn second_grad_output(
                    &self,
                    channel: &Channel,
                    given: &Cotangents,
                    cx: &Context,
                ) -> Vec<f64> {
                    let bias = if channel.weight.is_some() { 1.0 } else { 0.0 };
                    grad_output(self, channel, given, cx, [1.0, 1.0, bias])
                }
            }
        ),
        mutant!("second-grad-output-weight-lost", "∂S/∂grad_output has M u without w", "", {
            fn second_grad_output(&self, channel: &Channel, given: &Cotangents, cx: &Context) -> Vec<f64> {
                let unweighted = Channel { weight: None, ..copy(channel) };
                grad_output(self, &unweighted, given, cx, [1.0, 1.0, 1.0])
            }
        }),
        mutant!(
            "second-grad-output-fixed-statistics",
            "∂S/∂grad_output of training has w·s·u for w·M u",
            "",
            {
                fn second_grad_output(
                    &self,
                    channel: &Channel,
                    given: &Cotangents,
                    cx: &Context,
                ) -> Vec<f64> {
                    let fixed = Context { own_statistics: false, ..*cx };
                    double_backward::grad_output(self, channel, given, &fixed)
                }
            }
        ),
        mutant!("second-grad-output-of-training", "∂S/∂grad_output of evaluation has training's M", "", {
            fn second_grad_output(&self, channel: &Channel, given: &Cotangents, cx: &Context) -> Vec<f64> {
                let own = Context { own_statistics: true, ..*cx };
                double_backward::grad_output(self, channel, given, &own)
            }
        }),
    ]
}

fn copy(channel: &Channel) -> Channel {
    let Channel { x, x_hat, statistics, invstd, weight, bias } = channel;
    Channel {
        x: x.clone(),
        x_hat: x_hat.clone(),
        statistics: *statistics,
        invstd: *invstd,
        weight: *weight,
        bias: *bias,
    }
}

fn by_x_hat() -> Vec<Mutant> {
    vec![
        mutant!("second-grad-x-hat-without-v", "∂S/∂x̂ lacks v·g in training", "", {
            fn second_grad_x_hat(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> Vec<f64> {
                x_hat(self, channel, g, given, cx, [0.0, 1.0, 1.0])
            }
        }),
        mutant!("second-grad-x-hat-v-flipped", "∂S/∂x̂ has −v·g in training", "", {
            fn second_grad_x_hat(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> Vec<f64> {
                x_hat(self, channel, g, given, cx, [-1.0, 1.0, 1.0])
            }
        }),
        mutant!("second-grad-x-hat-without-u-term", "∂S/∂x̂ lacks u·Σ(g·x̂)", "", {
            fn second_grad_x_hat(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> Vec<f64> {
                x_hat(self, channel, g, given, cx, [1.0, 0.0, 1.0])
            }
        }),
        mutant!("second-grad-x-hat-without-g-term", "∂S/∂x̂ lacks g·Σ(u·x̂)", "", {
            fn second_grad_x_hat(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> Vec<f64> {
                x_hat(self, channel, g, given, cx, [1.0, 1.0, 0.0])
            }
        }),
        mutant!("second-grad-x-hat-u-term-doubled", "∂S/∂x̂ has 2·u·Σ(g·x̂)", "", {
            fn second_grad_x_hat(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> Vec<f64> {
                x_hat(self, channel, g, given, cx, [1.0, 2.0, 1.0])
            }
        }),
        mutant!("second-grad-x-hat-terms-flipped", "∂S/∂x̂ has +w·s/n·(…)", "", {
            fn second_grad_x_hat(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> Vec<f64> {
                x_hat(self, channel, g, given, cx, [1.0, -1.0, -1.0])
            }
        }),
        mutant!("second-grad-x-hat-over-n-lost", "∂S/∂x̂ has w·s·(…), not divided by n", "", {
            fn second_grad_x_hat(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> Vec<f64> {
                x_hat(self, channel, g, given, cx, [1.0, channel.n(), channel.n()])
            }
        }),
        mutant!("second-grad-x-hat-weight-lost", "∂S/∂x̂ has s/n·(…) without w", "", {
            fn second_grad_x_hat(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> Vec<f64> {
                let unweighted = Channel { weight: None, ..copy(channel) };
                x_hat(self, &unweighted, g, given, cx, [1.0, 1.0, 1.0])
            }
        }),
    ]
}

fn by_input() -> Vec<Mutant> {
    vec![
        mutant!("second-grad-input-zero", "∂S/∂input is 0", "", {
            fn second_grad_input(
                &self,
                _channel: &Channel,
                g: &[f64],
                _given: &Cotangents,
                _cx: &Context,
            ) -> Vec<f64> {
                vec![0.0; g.len()]
            }
        }),
        mutant!("second-grad-input-without-deviation", "∂S/∂input lacks what goes through 1/σ", "", {
            fn second_grad_invstd(
                &self,
                _channel: &Channel,
                _g: &[f64],
                _given: &Cotangents,
                _cx: &Context,
            ) -> f64 {
                0.0
            }
        }),
        mutant!(
            "second-grad-input-deviation-doubled",
            "∂S/∂input has twice what goes through 1/σ",
            "",
            {
                fn second_grad_invstd(
                    &self,
                    channel: &Channel,
                    g: &[f64],
                    given: &Cotangents,
                    cx: &Context,
                ) -> f64 {
                    2.0 * double_backward::invstd(self, channel, g, given, cx)
                }
            }
        ),
        mutant!("second-grad-input-deviation-flipped", "∂S/∂input adds what goes through 1/σ", "", {
            fn second_grad_invstd(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> f64 {
                -double_backward::invstd(self, channel, g, given, cx)
            }
        }),
        mutant!("second-grad-input-deviation-unweighted", "∂S/∂input goes through 1/σ without w", "", {
            fn second_grad_invstd(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> f64 {
                self.dot(&given.input, &self.through_normalisation(channel, g, cx), cx)
            }
        }),
        mutant!("second-grad-input-sums-not-centred", "∂S/∂(1/σ) has Σ(u·g) for Q", "", {
            fn second_grad_invstd(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> f64 {
                channel.weight_or_one() * channel.invstd * self.dot(&given.input, g, cx)
            }
        }),
        mutant!(
            "second-grad-input-not-through-means",
            "∂S/∂input takes ∂S/∂x̂·s, not through μ and σ",
            "",
            {
                fn second_grad_input(
                    &self,
                    channel: &Channel,
                    g: &[f64],
                    given: &Cotangents,
                    cx: &Context,
                ) -> Vec<f64> {
                    let right = double_backward::input(self, channel, g, given, cx);
                    if !cx.own_statistics {
                        return right;
                    }
                    let a = self.second_grad_x_hat(channel, g, given, cx);
                    let by_invstd =
                        self.second_grad_invstd(channel, g, given, cx) * channel.invstd / channel.n();
                    a.iter()
                        .zip(&channel.x_hat)
                        .map(|(a, x_hat)| channel.invstd * a - by_invstd * x_hat)
                        .collect()
                }
            }
        ),
        mutant!("second-grad-input-zero-in-eval", "∂S/∂input is 0 in evaluation, without s·v·g", "", {
            fn second_grad_input(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> Vec<f64> {
                let right = double_backward::input(self, channel, g, given, cx);
                if cx.own_statistics { right } else { vec![0.0; g.len()] }
            }
        }),
        mutant!("second-grad-input-of-training", "∂S/∂input of evaluation has training's terms", "", {
            fn second_grad_input(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> Vec<f64> {
                let own = Context { own_statistics: true, ..*cx };
                double_backward::input(self, channel, g, given, &own)
            }
        }),
        mutant!("second-grad-input-eval-weighted", "∂S/∂input of evaluation is w·s·v·g", "", {
            fn second_grad_input(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> Vec<f64> {
                let right = double_backward::input(self, channel, g, given, cx);
                let factor = if cx.own_statistics { 1.0 } else { channel.weight_or_one() };
                right.iter().map(|gradient| gradient * factor).collect()
            }
        }),
    ]
}

fn by_weight() -> Vec<Mutant> {
    vec![
        mutant!("second-grad-weight-zero", "∂S/∂weight is 0", "", {
            fn second_grad_weight(
                &self,
                _channel: &Channel,
                _g: &[f64],
                _given: &Cotangents,
                _cx: &Context,
            ) -> f64 {
                0.0
            }
        }),
        mutant!("second-grad-weight-weighted", "∂S/∂weight is Σ u·grad_input, with w", "", {
            fn second_grad_weight(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> f64 {
                self.dot(&given.input, &self.grad_input(channel, g, cx), cx)
            }
        }),
        mutant!("second-grad-weight-of-g", "∂S/∂weight is s·Σ u·g in training", "", {
            fn second_grad_weight(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> f64 {
                self.dot(&given.input, g, cx) * channel.invstd
            }
        }),
        mutant!("second-grad-weight-undivided", "∂S/∂weight is not divided by the deviation", "", {
            fn second_grad_weight(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> f64 {
                self.dot(&given.input, &self.through_normalisation(channel, g, cx), cx) / channel.invstd
            }
        }),
        mutant!("second-grad-weight-of-training", "∂S/∂weight of evaluation has training's M", "", {
            fn second_grad_weight(
                &self,
                channel: &Channel,
                g: &[f64],
                given: &Cotangents,
                cx: &Context,
            ) -> f64 {
                let own = Context { own_statistics: true, ..*cx };
                self.dot(&given.input, &self.through_normalisation(channel, g, &own), cx)
            }
        }),
    ]
}
