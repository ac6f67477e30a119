//! A program of candle alone that plays a case.

use bn_engine_kit::passes;
use bn_engine_kit::source::{elements, number};
use bn_protocol::case::{Case, Mode, Pass};
use bn_protocol::engine::{EngineError, Reproduction};
use bn_protocol::tensor::{DType, Tensor};

pub fn program(case: &Case) -> Result<Reproduction, EngineError> {
    let state = &case.state;
    let running_mean = state.running_mean.as_ref().expect("layers without it are not claimed");
    let running_var = state.running_var.as_ref().expect("layers without it are not claimed");
    let (float, shown, dtype) = match running_mean.dtype {
        DType::F64 => ("f64", "F64", "F64"),
        DType::F16 => ("f32", "F32", "F16"),
        DType::Bf16 => ("f32", "F32", "BF16"),
        _ => ("f32", "F32", "F32"),
    };
    let mut code = format!(
        "\
// [dependencies]
// candle-core = \"{version}\"
// candle-nn = \"{version}\"
use candle_core::{{DType, Device, Result, Tensor, Var}};
use candle_nn::{{BatchNorm, ModuleT}};

fn array(data: &[{float}], shape: &[usize]) -> Result<Var> {{
    Var::from_tensor(&Tensor::from_slice(data, shape, &Device::Cpu)?.to_dtype(DType::{dtype})?)
}}

fn show(name: &str, tensor: &Tensor) -> Result<()> {{
    let elements = tensor.to_dtype(DType::{shown})?.flatten_all()?.to_vec1::<{float}>()?;
    println!(\"{{name}} {{elements:?}}\");
    Ok(())
}}

fn main() -> Result<()> {{
",
        version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "candle-nn"),
    );
    code += &format!("    let running_mean = {}?.as_detached_tensor();\n", array(running_mean));
    code += &format!("    let running_var = {}?.as_detached_tensor();\n", array(running_var));
    let (make, affine) = match (&state.weight, &state.bias) {
        (Some(weight), Some(bias)) => {
            code += &format!("    let weight = {}?;\n", array(weight));
            code += &format!("    let bias = {}?;\n", array(bias));
            ("new_with_momentum", "        weight.as_tensor().clone(),\n        bias.as_tensor().clone(),\n")
        }
        _ => ("new_no_bias_with_momentum", ""),
    };
    code += &format!("    let bn = BatchNorm::{make}(\n        {},\n", case.layer.num_features);
    code += &format!("        running_mean,\n        running_var,\n{affine}");
    let momentum = number(DType::F64, case.layer.momentum.expect("no cumulative average is claimed").0);
    let eps = number(DType::F64, case.layer.eps);
    code += &format!("        {eps},\n        {momentum},\n    )?;\n");
    for (index, pass) in passes(case)?.into_iter().enumerate() {
        code += &step(index + 1, pass, !affine.is_empty());
    }
    code += "    Ok(())\n}\n";
    Ok(Reproduction { language: "rust".into(), code })
}

fn step(number: usize, pass: &Pass, affine: bool) -> String {
    let train = pass.mode == Mode::Train;
    let mut code = format!("\n    // Step {number}: {}\n", if train { "training" } else { "evaluation" });
    code += &format!("    let x = {}?;\n", array(&pass.input));
    code += &format!("    let y = bn.forward_t(&x, {train})?;\n");
    code += "    show(\"output\", &y)?;\n";
    if let Some(grad_output) = &pass.grad_output {
        code += &format!("    let grad_output = {}?.as_detached_tensor();\n", array(grad_output));
        code += "    let gradients = (y * grad_output)?.sum_all()?.backward()?;\n";
        code += "    show(\"grad_input\", gradients.get(&x).unwrap())?;\n";
        if affine {
            code += "    show(\"grad_weight\", gradients.get(&weight).unwrap())?;\n";
            code += "    show(\"grad_bias\", gradients.get(&bias).unwrap())?;\n";
        }
    }
    code += "    show(\"running_mean\", bn.running_mean())?;\n";
    code += "    show(\"running_var\", bn.running_var())?;\n";
    code
}

fn array(tensor: &Tensor) -> String {
    format!("array(&{}, &{:?})", elements(tensor, 4), tensor.shape)
}
