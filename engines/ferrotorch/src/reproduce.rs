//! A program of ferrotorch alone that plays a case.

use bn_engine_kit::passes;
use bn_engine_kit::source::{elements, number};
use bn_protocol::case::{Case, Mode, Pass, Rank};
use bn_protocol::engine::{EngineError, Reproduction};
use bn_protocol::tensor::{DType, Tensor};

pub fn program(case: &Case) -> Result<Reproduction, EngineError> {
    let state = &case.state;
    let running_mean = state.running_mean.as_ref().expect("layers without it are not claimed");
    let running_var = state.running_var.as_ref().expect("layers without it are not claimed");
    let float = match running_mean.dtype {
        DType::F64 => "f64",
        DType::F32 => "f32",
        _ => return Err(EngineError::Unsupported("reproductions in f32 and f64 alone".into())),
    };
    let layer = match case.layer.rank {
        Rank::One => "BatchNorm1d",
        Rank::Two => "BatchNorm2d",
        _ => "BatchNorm3d",
    };
    let affine = state.weight.is_some();
    let mut code = format!(
        "\
// [dependencies]
// ferrotorch-core = \"{version}\"
// ferrotorch-nn = \"{version}\"
use ferrotorch_core::{{FerrotorchResult, Tensor, from_slice}};
use ferrotorch_nn::{{{layer}, Module, Parameter}};

fn show(name: &str, tensor: &Tensor<{float}>) -> FerrotorchResult<()> {{
    println!(\"{{name}} {{:?}}\", tensor.data_vec()?);
    Ok(())
}}

fn main() -> FerrotorchResult<()> {{
    let mut bn = {layer}::<{float}>::new({num_features}, {eps}, {momentum}, {affine})?;
",
        version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "ferrotorch-nn"),
        num_features = case.layer.num_features,
        eps = number(DType::F64, case.layer.eps),
        momentum = number(DType::F64, case.layer.momentum.expect("no cumulative average is claimed").0),
    );
    for (name, tensor) in [("weight", &state.weight), ("bias", &state.bias)] {
        if let Some(tensor) = tensor {
            code += &format!("    bn.{name} = Some(Parameter::new({}?));\n", array(tensor));
        }
    }
    code += &format!("    bn.set_running_mean(&{})?;\n", elements(running_mean, 4));
    code += &format!("    bn.set_running_var(&{})?;\n", elements(running_var, 4));
    if let Some(batches) = state.num_batches_tracked {
        code += &format!("    bn.set_num_batches_tracked({batches})?;\n");
    }
    for (index, pass) in passes(case)?.into_iter().enumerate() {
        code += &step(index + 1, pass, affine);
    }
    code += "    Ok(())\n}\n";
    Ok(Reproduction { language: "rust".into(), code })
}

fn step(number: usize, pass: &Pass, affine: bool) -> String {
    let (name, mode) = match pass.mode {
        Mode::Train => ("training", "train"),
        Mode::Eval => ("evaluation", "eval"),
    };
    let mask = pass.output_mask;
    let requires_grad = pass.grad_output.is_some() && mask.is_none_or(|mask| mask.input);
    let mut code = format!("\n    // Step {number}: {name}\n    bn.{mode}();\n");
    code += &format!("    let x = {}?.requires_grad_({requires_grad});\n", array(&pass.input));
    code += "    let y = bn.forward(&x)?;\n    show(\"output\", &y)?;\n";
    if let Some(grad_output) = &pass.grad_output {
        if affine {
            code += "    bn.weight.as_ref().unwrap().zero_grad()?;\n";
            code += "    bn.bias.as_ref().unwrap().zero_grad()?;\n";
        }
        code += &format!("    y.backward_with_gradient(&{}?)?;\n", array(grad_output));
        let mut gradient = |name: &str, tensor: &str, asked: bool| {
            if asked {
                code += &format!("    show(\"{name}\", &{tensor}.grad()?.unwrap())?;\n");
            }
        };
        gradient("grad_input", "x", requires_grad);
        gradient("grad_weight", "bn.weight.as_ref().unwrap()", affine && mask.is_none_or(|mask| mask.weight));
        gradient("grad_bias", "bn.bias.as_ref().unwrap()", affine && mask.is_none_or(|mask| mask.bias));
    }
    code += "    println!(\"running_mean {:?}\", bn.running_mean());\n";
    code += "    println!(\"running_var {:?}\", bn.running_var());\n";
    code
}

fn array(tensor: &Tensor) -> String {
    format!("from_slice(&{}, &{:?})", elements(tensor, 4), tensor.shape)
}
