//! Do two implementations of a network take the same steps?
//!
//! Two trainings that round differently drift apart: a ReLU that switches, Adam's division
//! by the root of a small number and the training itself amplify the difference. So there
//! are two questions, with allowances of two kinds:
//!
//! * **One step** ([`follow`]): is each layer's output, at the input that it really had, that of the
//!   formulas, and each gradient, at the gradient that came? Does the loss belong to the logits,
//!   and do the new parameters follow from the gradients? The [`Reference`] computes all in
//!   f64 and carries along, for every element, how far an implementation in the dtype may be
//!   from it: a running error analysis, whose rules are in [`bounded`]. As every layer starts
//!   from what is there, nothing is amplified, and fifty such steps along one training say
//!   that the training is right.
//! * **Fifty steps at once** ([`drift`]): how far may two free trainings be apart? As far as a
//!   training strays whose every layer is pushed, at every step, by those bounds. The recorded
//!   curves ([`golden`]) carry this allowance.

pub mod bounded;
pub mod drift;
mod follow;
pub mod golden;
mod loss;
mod matrices;
mod norm;
mod optimizer;
mod reference;
mod selection;

pub use follow::{Closeness, Ours, Trace, Trainee, follow, narrow_target};
pub use optimizer::OptimizerCheck;
pub use reference::{Expected, Reference};
pub use selection::{Disagreement, Run, STEPS, compare};
