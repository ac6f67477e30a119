//! A program of dfdx alone that plays a case.

use bn_engine_kit::passes;
use bn_engine_kit::source::{elements, number};
use bn_protocol::case::{Case, Mode, Pass, Rank};
use bn_protocol::engine::{EngineError, Reproduction};
use bn_protocol::tensor::{DType, Tensor};

pub fn program(case: &Case) -> Result<Reproduction, EngineError> {
    let state = &case.state;
    let scale = state.weight.as_ref().expect("layers without it are not claimed");
    let float = if scale.dtype == DType::F64 { "f64" } else { "f32" };
    let (layer, num_features) =
        (if case.layer.rank == Rank::One { "BatchNorm1D" } else { "BatchNorm2D" }, case.layer.num_features);
    let mut code = format!(
        "\
// [dependencies]
// dfdx = \"{version}\"
use dfdx::prelude::*;

fn main() {{
    let device = Cpu::default();
    let mut bn = device.build_module::<{layer}<{num_features}>, {float}>();
    bn.epsilon = {eps};
    bn.momentum = {momentum};
",
        version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "dfdx"),
        eps = number(DType::F64, case.layer.eps),
        momentum = number(DType::F64, case.layer.momentum.expect("no cumulative average is claimed").0),
    );
    let named = [
        ("scale", &state.weight),
        ("bias", &state.bias),
        ("running_mean", &state.running_mean),
        ("running_var", &state.running_var),
    ];
    for (name, tensor) in named {
        let tensor = tensor.as_ref().expect("layers without it are not claimed");
        code += &format!("    bn.{name}.copy_from(&{});\n", elements(tensor, 4));
    }
    for (index, pass) in passes(case)?.into_iter().enumerate() {
        code += &step(index + 1, pass, case);
    }
    code += "}\n";
    Ok(Reproduction { language: "rust".into(), code })
}

fn step(number: usize, pass: &Pass, case: &Case) -> String {
    let name = if pass.mode == Mode::Train { "training" } else { "evaluation" };
    let mut code = format!("\n    // Step {number}: {name}\n");
    code += &format!("    let x = {};\n", array(&pass.input, case));
    match (pass.mode, &pass.grad_output) {
        (Mode::Eval, _) => code += "    println!(\"output {:?}\", bn.forward(x).as_vec());\n",
        (Mode::Train, None) => {
            code += "    println!(\"output {:?}\", bn.forward_mut(x.leaky_trace()).as_vec());\n";
        }
        (Mode::Train, Some(grad_output)) => {
            code += "    let y = bn.forward_mut(x.leaky_trace());\n";
            code += "    println!(\"output {:?}\", y.as_vec());\n";
            code += &format!("    let grad_output = {};\n", array(grad_output, case));
            code += "    let gradients = (y * grad_output).sum().backward();\n";
            for (name, of) in [("grad_input", "x"), ("grad_weight", "bn.scale"), ("grad_bias", "bn.bias")] {
                code += &format!("    println!(\"{name} {{:?}}\", gradients.get(&{of}).as_vec());\n");
            }
        }
    }
    code += "    println!(\"running_mean {:?}\", bn.running_mean.as_vec());\n";
    code += "    println!(\"running_var {:?}\", bn.running_var.as_vec());\n";
    code
}

/// A tensor whose channel axis is a constant of its type, as the layer's is.
fn array(tensor: &Tensor, case: &Case) -> String {
    let unbatched = case.layer.rank == Rank::Two && tensor.shape.len() == 3;
    let channel_axis = if unbatched { 0 } else { 1 };
    let axes = tensor.shape.iter().enumerate().map(|(axis, extent)| {
        if axis == channel_axis { format!("Const::<{extent}>") } else { extent.to_string() }
    });
    let axes: Vec<String> = axes.collect();
    format!("device.tensor_from_vec(vec!{}, ({}))", elements(tensor, 4), axes.join(", "))
}
