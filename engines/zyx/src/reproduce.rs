//! A program of zyx alone that plays a case.

use bn_engine_kit::passes;
use bn_engine_kit::source::{elements, number};
use bn_protocol::case::{Case, Mode, Pass};
use bn_protocol::engine::{EngineError, Reproduction};
use bn_protocol::tensor::{DType, Tensor};

pub fn program(case: &Case) -> Result<Reproduction, EngineError> {
    let state = &case.state;
    let dtype = state.running_mean.as_ref().expect("layers without it are not claimed").dtype;
    let float = if dtype == DType::F64 { "f64" } else { "f32" };
    let mut code = format!(
        "\
// [dependencies]
// zyx = \"{version}\"
// zyx-nn = \"{version}\"
//
// Without a GPU: {{ \"opencl\": {{ \"platform_ids\": [] }} }} in ~/.config/zyx/config.json
use zyx::{{Tape, Tensor, ZyxError}};
use zyx_nn::BatchNorm;

fn array(data: &[{float}], shape: &[i64]) -> Result<Tensor, ZyxError> {{
    Tensor::from_vec(data.to_vec(), shape.to_vec())
}}

fn show(name: &str, tensor: &Tensor) -> Result<(), ZyxError> {{
    println!(\"{{name}} {{:?}}\", tensor.to_vec::<{float}>()?);
    Ok(())
}}

fn main() -> Result<(), ZyxError> {{
    let mut bn = BatchNorm {{
        eps: {eps},
        momentum: {momentum},
        track_running_stats: {track},
",
        version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "zyx-nn"),
        eps = number(DType::F32, case.layer.eps),
        momentum = number(DType::F32, case.layer.momentum.expect("no cumulative average is claimed").0),
        track = case.layer.track_running_stats,
    );
    for (name, tensor) in [("weight", &state.weight), ("bias", &state.bias)] {
        let value = tensor.as_ref().map_or("None".into(), |tensor| format!("Some({}?)", array(tensor, 8)));
        code += &format!("        {name}: {value},\n");
    }
    for (name, tensor) in [("running_mean", &state.running_mean), ("running_var", &state.running_var)] {
        let tensor = tensor.as_ref().expect("layers without it are not claimed");
        code += &format!("        {name}: {}?,\n", array(tensor, 8));
    }
    let batches = Tensor::vector(dtype, &[state.num_batches_tracked.unwrap_or(0) as f64]);
    code += &format!("        num_batches_tracked: {}?,\n    }};\n", array(&batches, 8));
    for (index, pass) in passes(case)?.into_iter().enumerate() {
        code += &step(index + 1, pass, case);
    }
    code += "    Ok(())\n}\n";
    Ok(Reproduction { language: "rust".into(), code })
}

fn step(number: usize, pass: &Pass, case: &Case) -> String {
    let train = pass.mode == Mode::Train;
    let mut code = format!("\n    // Step {number}: {}\n", if train { "training" } else { "evaluation" });
    code += &format!("    Tensor::set_training({train});\n    let x = {}?;\n", array(&pass.input, 4));
    if let Some(grad_output) = &pass.grad_output {
        let mut sources = vec![("grad_input", "&x")];
        if case.state.weight.is_some() {
            code += "    let weight = bn.weight.clone().unwrap();\n";
            sources.push(("grad_weight", "&weight"));
        }
        if case.state.bias.is_some() {
            code += "    let bias = bn.bias.clone().unwrap();\n";
            sources.push(("grad_bias", "&bias"));
        }
        code += &format!("    let grad_output = {}?;\n", array(grad_output, 4));
        code += "    let tape = Tape::new(&bn)?;\n    tape.add(&x)?;\n    let y = bn.forward(&x)?;\n";
        let (names, tensors): (Vec<&str>, Vec<&str>) = sources.into_iter().unzip();
        let tensors = tensors.join(", ");
        code += &format!("    let gradients = tape.gradient(&(&y * grad_output).sum_all(), [{tensors}]);\n");
        let updated = ", &bn.running_mean, &bn.running_var, &bn.num_batches_tracked";
        let updated = if train { updated } else { "" };
        code += &format!("    tape.realize(gradients.iter().chain([&y{updated}]))?;\n");
        code += "    show(\"output\", &y)?;\n";
        for (index, name) in names.iter().enumerate() {
            code += &format!("    show(\"{name}\", &gradients[{index}])?;\n");
        }
    } else {
        code += "    show(\"output\", &bn.forward(&x)?)?;\n";
    }
    code += "    show(\"running_mean\", &bn.running_mean)?;\n";
    code += "    show(\"running_var\", &bn.running_var)?;\n";
    code
}

fn array(tensor: &Tensor, indent: usize) -> String {
    format!("array(&{}, &{:?})", elements(tensor, indent), tensor.shape)
}
