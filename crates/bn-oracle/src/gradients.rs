//! First and second gradients, by libtorch's own autograd.
//!
//! With the loss L = Σ grad_output·output, autograd hands the batch norm exactly
//! `grad_output` as its cotangent: ∂L/∂output = 1·grad_output, with no rounding
//! and in the output's dtype. (What L itself rounds to is of no consequence.)
//! In the same way S = Σ u·grad_input + Σ v·grad_weight + Σ t·grad_bias hands
//! the backward pass the cotangents u, v, t.
//!
//! Where a gradient does not depend on what it is asked for, autograd answers
//! with no tensor at all (`None`); that counts as zeros, as with
//! `torch.autograd.grad(..., materialize_grads=True)`.

use bn_suite::case::{Cotangents, OutputMask, Pass};
use bn_suite::outcome::{Field, Outcome, RefusalKind};
use bn_suite::tensor::{Layout, Tensor as Array};
use tch::{Kind, Tensor};

use crate::cuda;
use crate::module::Module;
use crate::refusal::Stop;
use crate::tensors;

/// What one forward pass computed, and what its backward pass needs to know.
pub struct Graph {
    input: Tensor,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
    output: Tensor,
    layout: Layout,
}

/// A gradient that was asked for: its name, and the tensor it belongs to.
type Wanted<'a> = (Field, &'a Tensor);

impl Graph {
    /// Runs the forward pass of `pass`, and records what its gradients need.
    pub fn forward(module: &mut Module, pass: &Pass) -> Result<Self, Stop> {
        let input = tensors::into_torch(&pass.input)?;
        let wanted = recorded(pass);
        let input = leaf(&input, wanted.input)?;
        // Each pass has its own names for the parameters, with the same memory
        // under them, because each may ask for other gradients.
        let weight = module.weight.as_ref().map(|tensor| leaf(tensor, wanted.weight)).transpose()?;
        let bias = module.bias.as_ref().map(|tensor| leaf(tensor, wanted.bias)).transpose()?;
        let output = module.forward(pass.mode, &input, weight.as_ref(), bias.as_ref())?;
        Ok(Graph { input, weight, bias, output, layout: pass.input.layout.clone() })
    }

    /// The output, as an array.
    pub fn output(&self) -> Result<Array, Stop> {
        tensors::from_torch(&self.output, &self.layout)
    }

    /// Adds the gradients that `pass` asks for to `outcome`.
    pub fn backward(&self, pass: &Pass, outcome: &mut Outcome) -> Result<(), Stop> {
        let Some(grad_output) = &pass.grad_output else { return Ok(()) };
        let grad_output = leaf(&tensors::into_torch(grad_output)?, pass.cotangents.is_some())?;
        check_shape("grad_output", &grad_output, "output", &self.output)?;
        let answer = match &pass.cotangents {
            None => self.first(&grad_output, pass, outcome),
            Some(cotangents) => self.second(&grad_output, pass, cotangents, outcome),
        };
        answer.map_err(Stop::of_autograd)
    }

    /// What autograd recorded, under the names of its gradients.
    fn leaves(&self) -> Vec<Wanted<'_>> {
        let all = [
            (Field::GradInput, Some(&self.input)),
            (Field::GradWeight, self.weight.as_ref()),
            (Field::GradBias, self.bias.as_ref()),
        ];
        let present = all.into_iter().filter_map(|(field, tensor)| Some((field, tensor?)));
        present.filter(|(_, tensor)| tensor.requires_grad()).collect()
    }

    /// The first gradients of every leaf; with `create_graph` they can be
    /// differentiated again.
    fn gradients(&self, grad_output: &Tensor, create_graph: bool) -> Result<Vec<(Field, Tensor)>, Stop> {
        let loss = dot(&self.output, grad_output)?;
        differentiate(&loss, self.leaves(), create_graph)
    }

    fn first(&self, grad_output: &Tensor, pass: &Pass, outcome: &mut Outcome) -> Result<(), Stop> {
        let gradients = self.gradients(grad_output, false)?;
        self.answer(&gradients, pass, outcome)
    }

    fn second(
        &self,
        grad_output: &Tensor,
        pass: &Pass,
        cotangents: &Cotangents,
        outcome: &mut Outcome,
    ) -> Result<(), Stop> {
        let gradients = self.gradients(grad_output, true)?;
        let mut sum = Tensor::f_zeros([], (Kind::Double, cuda::device()))?;
        for (field, gradient) in &gradients {
            let Some((name, cotangent)) = cotangent_of(cotangents, *field) else { continue };
            let cotangent = tensors::into_torch(cotangent)?;
            check_shape(name, &cotangent, field.name(), gradient)?;
            sum = sum.f_add(&dot(gradient, &cotangent)?.f_to_kind(Kind::Double)?)?;
        }
        let mut wanted = vec![(Field::SecondGradOutput, grad_output), (Field::SecondGradInput, &self.input)];
        wanted.extend(self.weight.as_ref().map(|weight| (Field::SecondGradWeight, weight)));
        let second = differentiate(&sum, wanted, false)?;
        self.answer(&gradients, pass, outcome)?;
        self.answer(&second, pass, outcome)
    }

    fn answer(&self, gradients: &[(Field, Tensor)], pass: &Pass, outcome: &mut Outcome) -> Result<(), Stop> {
        for (field, gradient) in gradients.iter().filter(|(field, _)| is_asked_for(pass, *field)) {
            outcome.fields.insert(*field, tensors::from_torch(gradient, &self.layout)?);
        }
        Ok(())
    }
}

/// What autograd must record. A double backward differentiates with respect to
/// the input and the weight, and through every first gradient.
fn recorded(pass: &Pass) -> OutputMask {
    let everything = OutputMask { input: true, weight: true, bias: true };
    match (&pass.grad_output, &pass.cotangents) {
        (None, _) => OutputMask { input: false, weight: false, bias: false },
        (Some(_), Some(_)) => everything,
        (Some(_), None) => pass.output_mask.unwrap_or(everything),
    }
}

fn is_asked_for(pass: &Pass, field: Field) -> bool {
    let mask = pass.output_mask.unwrap_or(OutputMask { input: true, weight: true, bias: true });
    match field {
        Field::GradInput => mask.input,
        Field::GradWeight => mask.weight,
        Field::GradBias => mask.bias,
        _ => true,
    }
}

fn cotangent_of(cotangents: &Cotangents, field: Field) -> Option<(&'static str, &Array)> {
    let (name, cotangent) = match field {
        Field::GradInput => ("the cotangent of grad_input", &cotangents.grad_input),
        Field::GradWeight => ("the cotangent of grad_weight", &cotangents.grad_weight),
        _ => ("the cotangent of grad_bias", &cotangents.grad_bias),
    };
    cotangent.as_ref().map(|cotangent| (name, cotangent))
}

/// Another name for the tensor's memory, at which autograd starts to record. An
/// integer tensor cannot be one; the forward pass then refuses it.
fn leaf(tensor: &Tensor, requires_grad: bool) -> Result<Tensor, Stop> {
    let leaf = tensor.f_detach()?;
    let differentiable = leaf.f_is_floating_point()?;
    Ok(leaf.f_set_requires_grad(requires_grad && differentiable)?)
}

/// Autograd's own check; a product would broadcast instead.
fn check_shape(name: &str, tensor: &Tensor, of: &str, counterpart: &Tensor) -> Result<(), Stop> {
    let (got, expected) = (tensor.size(), counterpart.size());
    if got == expected {
        return Ok(());
    }
    let message = format!(
        "Mismatch in shape: {name} has a shape of torch.Size({got:?}) and {of} has a shape of torch.Size({expected:?})."
    );
    Err(Stop::refused(RefusalKind::Shape, message))
}

/// Σ a·b.
fn dot(a: &Tensor, b: &Tensor) -> Result<Tensor, Stop> {
    Ok(a.f_mul(b)?.f_sum(None::<Kind>)?)
}

/// The gradients of the scalar `of` with respect to `wanted`; zeros where it
/// does not depend on them.
fn differentiate(
    of: &Tensor,
    wanted: Vec<Wanted<'_>>,
    create_graph: bool,
) -> Result<Vec<(Field, Tensor)>, Stop> {
    let (fields, tensors): (Vec<Field>, Vec<&Tensor>) = wanted.into_iter().unzip();
    let zeros = || tensors.iter().map(|tensor| tensor.f_zeros_like()).collect::<Result<Vec<_>, _>>();
    if tensors.is_empty() || !of.requires_grad() {
        return Ok(fields.into_iter().zip(zeros()?).collect());
    }
    // The graph is kept: a double backward walks the first part of it again.
    let gradients = Tensor::f_run_backward(&[of], &tensors, true, create_graph)?;
    let filled = gradients
        .into_iter()
        .zip(zeros()?)
        .map(|(gradient, zeros)| if gradient.defined() { gradient } else { zeros });
    Ok(fields.into_iter().zip(filled).collect())
}
