//! Do an engine's gradients belong to its own forward pass?
//!
//! The golden fixtures compare gradients with the truth. This check asks another
//! question, and needs no truth of the gradient: it differentiates what the engine
//! itself computes, numerically. First order: the objective is L = Σ g·output, its
//! derivatives are grad_input, grad_weight, grad_bias. Second order: the objective
//! is S = Σu·grad_input + Σv·grad_weight + Σt·grad_bias, its derivatives are the
//! second gradients with respect to grad_output, input and weight.
//!
//! With central differences D(h) = (f(θ + h) − f(θ − h))/2h at h and h/2,
//!
//! > D₄ = (4·D(h/2) − D(h))/3
//!
//! has an error of order h⁴, while |D₄ − D(h/2)| measures the error of order h²
//! that D(h/2) still has: a bound on D₄'s with room to spare. To it comes what the
//! engine's rounding may contribute: if every objective is within E of the true
//! one (from the allowances of its terms), D₄ moves by at most 3·E/h. With
//! h ≈ u^(1/5) times the variable's natural scale, the two balance.
//!
//! A check whose true derivatives all lie below the tolerance would pass whatever
//! the engine answers (a plain sum as the loss is the classic: its gradient through
//! batch norm is 0). Such a check is reported as [`GradcheckError::Vacuous`].

use crate::case::{Case, Mode, Pass, Step};
use crate::engine::{Engine, EngineError};
use crate::golden::Expected;
use crate::outcome::{Field, Outcome};
use crate::tensor::{DType, Tensor};
use crate::truth;

/// Which derivatives are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// grad_input, grad_weight, grad_bias.
    First,
    /// second_grad_output, second_grad_input, second_grad_weight.
    Second,
}

/// What a passed check measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradcheck {
    /// How many derivatives were compared.
    pub compared: usize,
    /// How many of them are more than ten times their tolerance, so that a wrong
    /// sign or a lost term must show.
    pub telling: usize,
    /// The largest |numerical − answered| / tolerance.
    pub worst_ratio: f64,
}

/// Why a gradient check failed, or could not be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GradcheckError {
    /// The answered derivative is not the derivative of the answered function.
    #[error(
        "{case}, step {step}: {field}[{index}] is {answered:e}, but the engine's own forward pass has the \
         derivative {numerical:e} ± {tolerance:e}"
    )]
    Differs {
        /// The case's name.
        case: String,
        /// The step, from 0.
        step: usize,
        /// The gradient.
        field: Field,
        /// Which element, in row-major order.
        index: usize,
        /// What the engine answered.
        answered: f64,
        /// What its objective shows.
        numerical: f64,
        /// How far the two may differ.
        tolerance: f64,
    },
    /// The check could not have failed: not one derivative of the field stands out.
    #[error(
        "{case}, step {step}: every derivative in {field} is below its own tolerance: the check is vacuous"
    )]
    Vacuous {
        /// The case's name.
        case: String,
        /// The step, from 0.
        step: usize,
        /// The gradient.
        field: Field,
    },
    /// The case does not ask what the check needs.
    #[error("{case}, step {step}: {needed}")]
    Unsuitable {
        /// The case's name.
        case: String,
        /// The step, from 0.
        step: usize,
        /// What is missing.
        needed: &'static str,
    },
    /// The engine gave no answer to differentiate.
    #[error("{case}: {error}")]
    NoAnswer {
        /// The case's name.
        case: String,
        /// What happened instead.
        error: EngineError,
    },
}

/// Checks the derivatives that `step` of `case` asks for. The case must be in f64.
pub fn gradcheck(
    engine: &mut dyn Engine,
    case: &Case,
    step: usize,
    order: Order,
) -> Result<Gradcheck, GradcheckError> {
    let mut probe = Probe::new(engine, case, step, order)?;
    let answered = probe.answer(&probe.case.clone())?;
    let mut report = Gradcheck { compared: 0, telling: 0, worst_ratio: 0.0 };
    for variable in Variable::of(order) {
        let Some(answers) = answered.fields.get(&variable.derivative) else { continue };
        probe.check_variable(variable, &answers.data, &mut report)?;
    }
    match report.compared {
        0 => Err(probe.unsuitable("the engine answers none of the gradients")),
        _ => Ok(report),
    }
}

/// One variable of the objective, and the field that answers its derivative.
#[derive(Clone, Copy)]
struct Variable {
    derivative: Field,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Input,
    GradOutput,
    Weight,
    Bias,
}

impl Variable {
    fn of(order: Order) -> [Variable; 3] {
        let pairs = match order {
            Order::First => [
                (Field::GradInput, Kind::Input),
                (Field::GradWeight, Kind::Weight),
                (Field::GradBias, Kind::Bias),
            ],
            Order::Second => [
                (Field::SecondGradOutput, Kind::GradOutput),
                (Field::SecondGradInput, Kind::Input),
                (Field::SecondGradWeight, Kind::Weight),
            ],
        };
        pairs.map(|(derivative, kind)| Variable { derivative, kind })
    }
}

/// The engine with the script up to the step in question.
struct Probe<'e> {
    engine: &'e mut dyn Engine,
    case: Case,
    step: usize,
    order: Order,
    /// E: how far an objective of a right engine may be from the true one.
    objective_error: f64,
}

impl<'e> Probe<'e> {
    fn new(
        engine: &'e mut dyn Engine,
        case: &Case,
        step: usize,
        order: Order,
    ) -> Result<Self, GradcheckError> {
        let mut case = case.clone();
        case.steps.truncate(step + 1);
        let mut probe = Probe { engine, case, step, order, objective_error: 0.0 };
        let needed = match probe.case.steps.get(step) {
            Some(Step::BatchNorm(pass)) if pass.input.dtype != DType::F64 => {
                Some("finite differences need f64")
            }
            Some(Step::BatchNorm(pass)) if pass.grad_output.is_none() => Some("the step has no grad_output"),
            Some(Step::BatchNorm(pass)) if order == Order::Second && pass.cotangents.is_none() => {
                Some("the step has no cotangents")
            }
            Some(Step::BatchNorm(_)) => None,
            _ => Some("the step is no batch norm"),
        };
        if let Some(needed) = needed {
            return Err(probe.unsuitable(needed));
        }
        probe.objective_error = probe.objective_error();
        Ok(probe)
    }

    fn unsuitable(&self, needed: &'static str) -> GradcheckError {
        GradcheckError::Unsuitable { case: self.case.name.clone(), step: self.step, needed }
    }

    fn pass(&self) -> &Pass {
        match &self.case.steps[self.step] {
            Step::BatchNorm(pass) => pass,
            _ => unreachable!("checked when the probe was made"),
        }
    }

    fn answer(&mut self, case: &Case) -> Result<Outcome, GradcheckError> {
        let answered = self.engine.run(case).and_then(|mut outcomes| match outcomes.len() {
            n if n == self.step + 1 => Ok(outcomes.remove(self.step)),
            n => Err(EngineError::Malformed(format!("{n} outcomes for {} steps", self.step + 1))),
        });
        answered.map_err(|error| GradcheckError::NoAnswer { case: self.case.name.clone(), error })
    }

    /// The objective's terms: a cotangent and the field that it weighs.
    fn terms(&self) -> Vec<(Field, Vec<f64>)> {
        let data = |tensor: &Option<Tensor>| tensor.as_ref().map(|tensor| tensor.data.clone());
        let pass = self.pass();
        let pairs = match self.order {
            Order::First => vec![(Field::Output, data(&pass.grad_output))],
            Order::Second => {
                let given = pass.cotangents.clone().unwrap_or_default();
                vec![
                    (Field::GradInput, data(&given.grad_input)),
                    (Field::GradWeight, data(&given.grad_weight)),
                    (Field::GradBias, data(&given.grad_bias)),
                ]
            }
        };
        pairs
            .into_iter()
            .filter_map(|(field, cotangent)| cotangent.map(|cotangent| (field, cotangent)))
            .collect()
    }

    /// Σ cotangent·field over the terms, compensated so that the sum itself adds
    /// no more than the rounding of its products.
    fn objective(&mut self, case: &Case) -> Result<f64, GradcheckError> {
        let terms = self.terms();
        let outcome = self.answer(case)?;
        let (mut total, mut lost) = (0.0, 0.0);
        for (field, cotangent) in terms {
            let values = outcome.fields.get(&field).map_or(&[][..], |tensor| &tensor.data);
            for (c, value) in cotangent.iter().zip(values) {
                let term = c * value - lost;
                let next = total + term;
                lost = (next - total) - term;
                total = next;
            }
        }
        Ok(total)
    }

    /// E = Σ|cotangent|·(allowance + 2u·|value|): what the engine's rounding and
    /// that of the products and their sum may amount to.
    fn objective_error(&self) -> f64 {
        let expected: Expected = truth::solve(&self.case).remove(self.step);
        let error = |(field, cotangent): (Field, Vec<f64>)| -> f64 {
            let Some(truth) = expected.fields.get(&field) else { return 0.0 };
            let elements = cotangent.iter().zip(&truth.value.data).zip(&truth.allowance);
            elements.map(|((c, value), allowance)| c.abs() * (allowance + f64::EPSILON * value.abs())).sum()
        };
        self.terms().into_iter().map(error).sum()
    }

    fn check_variable(
        &mut self,
        variable: Variable,
        answers: &[f64],
        report: &mut Gradcheck,
    ) -> Result<(), GradcheckError> {
        let mut telling = 0;
        for (index, &answered) in answers.iter().enumerate() {
            let (numerical, tolerance) = self.differentiate(variable.kind, index)?;
            let distance = (numerical - answered).abs();
            // A NaN is not within.
            let within = distance <= tolerance;
            if !within {
                let (case, step, field) = (self.case.name.clone(), self.step, variable.derivative);
                return Err(GradcheckError::Differs {
                    case,
                    step,
                    field,
                    index,
                    answered,
                    numerical,
                    tolerance,
                });
            }
            report.compared += 1;
            report.worst_ratio = report.worst_ratio.max(distance / tolerance);
            telling += usize::from(numerical.abs() > 10.0 * tolerance);
        }
        report.telling += telling;
        if telling == 0 && !answers.is_empty() {
            let (case, step) = (self.case.name.clone(), self.step);
            return Err(GradcheckError::Vacuous { case, step, field: variable.derivative });
        }
        Ok(())
    }

    /// D₄ and its tolerance, for one element of one variable.
    fn differentiate(&mut self, kind: Kind, index: usize) -> Result<(f64, f64), GradcheckError> {
        // A power of two, so that θ ± h and θ ± h/2 lose as little as they can.
        let h = (f64::EPSILON.powf(0.2) * self.scale(kind, index)).log2().round().exp2();
        let coarse = self.central(kind, index, h)?;
        let fine = self.central(kind, index, h / 2.0)?;
        let fourth_order = (4.0 * fine - coarse) / 3.0;
        Ok((fourth_order, (fourth_order - fine).abs() + 3.0 * self.objective_error / h))
    }

    fn central(&mut self, kind: Kind, index: usize, h: f64) -> Result<f64, GradcheckError> {
        let (up, above) = self.moved(kind, index, h);
        let (down, below) = self.moved(kind, index, -h);
        // What was really added, since θ + h is rounded.
        Ok((self.objective(&up)? - self.objective(&down)?) / (above - below))
    }

    /// The case with one element moved, and the element's new value.
    fn moved(&self, kind: Kind, index: usize, by: f64) -> (Case, f64) {
        let mut case = self.case.clone();
        let Step::BatchNorm(pass) = &mut case.steps[self.step] else {
            unreachable!("checked when the probe was made")
        };
        let tensor = match kind {
            Kind::Input => Some(&mut pass.input),
            Kind::GradOutput => pass.grad_output.as_mut(),
            Kind::Weight => case.state.weight.as_mut(),
            Kind::Bias => case.state.bias.as_mut(),
        };
        let value = &mut tensor.expect("an answered gradient has its variable").data[index];
        *value += by;
        let value = *value;
        (case, value)
    }

    /// Over what distance the objective bends: the channel's √(v + eps) for the
    /// input; it is linear in all else, where 1 serves.
    fn scale(&self, kind: Kind, index: usize) -> f64 {
        if kind != Kind::Input {
            return 1.0;
        }
        let pass = self.pass();
        let shape = &pass.input.shape;
        let (channels, spatial) = (shape[1], shape[2..].iter().product::<usize>());
        let channel = index / spatial % channels;
        let running = self.case.state.running_var.as_ref().filter(|_| pass.mode == Mode::Eval);
        let var = running.map_or_else(
            || {
                let of_channel = |i: &usize| i / spatial % channels == channel;
                let values: Vec<f64> =
                    (0..pass.input.len()).filter(of_channel).map(|i| pass.input.data[i]).collect();
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64
            },
            |var| var.data[channel],
        );
        (var + self.case.layer.eps).sqrt()
    }
}
