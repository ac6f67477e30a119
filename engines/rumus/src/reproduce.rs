//! A program of rumus alone that plays a case.

use bn_engine_kit::passes;
use bn_engine_kit::source::{elements, number};
use bn_protocol::case::{Case, Mode, Pass};
use bn_protocol::engine::{EngineError, Reproduction};
use bn_protocol::tensor::{DType, Tensor};

pub fn program(case: &Case) -> Result<Reproduction, EngineError> {
    let momentum = case.layer.momentum.expect("no cumulative average is claimed").0;
    let passes = passes(case)?;
    let backward = passes.iter().any(|pass| pass.grad_output.is_some());
    let forward = passes.iter().any(|pass| pass.grad_output.is_none());
    let autograd = match (backward, forward) {
        (true, true) => "{backward_with_grad, context}",
        (true, false) => "backward_with_grad",
        (false, _) => "context",
    };
    let mut code = format!(
        "\
// [dependencies]
// rumus = \"{version}\"
use std::collections::HashMap;

use rumus::autograd::{autograd};
use rumus::nn::{{BatchNorm2d, Module}};
use rumus::tensor::Tensor;

fn array(data: &[f32], shape: &[usize]) -> Tensor {{
    Tensor::new(data.to_vec(), shape.to_vec())
}}

fn show(name: &str, tensor: &Tensor) {{
    println!(\"{{name}} {{:?}}\", &tensor.contiguous().data()[..]);
}}

fn main() {{
    let mut bn = BatchNorm2d::with_config({num_features}, {eps}, {momentum});
    let state = HashMap::from([
",
        version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "rumus"),
        num_features = case.layer.num_features,
        eps = number(DType::F32, case.layer.eps),
        momentum = number(DType::F32, momentum),
    );
    let state = &case.state;
    let named = [
        ("weight", &state.weight),
        ("bias", &state.bias),
        ("running_mean", &state.running_mean),
        ("running_var", &state.running_var),
    ];
    for (name, tensor) in named {
        let tensor = tensor.as_ref().expect("layers without it are not claimed");
        code += &format!("        (\"{name}\".to_string(), {}),\n", array(tensor, 8));
    }
    code += "    ]);\n    bn.load_state_dict(&state, \"\").unwrap();\n";
    for (index, pass) in passes.into_iter().enumerate() {
        code += &step(index + 1, pass);
    }
    code += "}\n";
    Ok(Reproduction { language: "rust".into(), code })
}

fn step(number: usize, pass: &Pass) -> String {
    let (name, mode) = match pass.mode {
        Mode::Train => ("training", "train"),
        Mode::Eval => ("evaluation", "eval"),
    };
    let mut code = format!("\n    // Step {number}: {name}\n    bn.{mode}();\n");
    let x = array(&pass.input, 4);
    if let Some(grad_output) = &pass.grad_output {
        code +=
            &format!("    let mut x = {x};\n    x.set_requires_grad(true);\n    let y = bn.forward(&x);\n");
        code += "    show(\"output\", &y);\n";
        code += &format!("    let grad_output = {};\n", array(grad_output, 4));
        code += "    let gradients = backward_with_grad(&y, grad_output).unwrap();\n";
        code += "    show(\"grad_input\", gradients.get(x.grad_id().unwrap()).unwrap());\n";
        code += "    show(\"grad_weight\", gradients.get(bn.weight.grad_id()).unwrap());\n";
        code += "    show(\"grad_bias\", gradients.get(bn.bias.grad_id()).unwrap());\n";
    } else {
        code +=
            &format!("    let x = {x};\n    let y = {{\n        let _not_recorded = context::no_grad();\n");
        code += "        bn.forward(&x)\n    };\n    show(\"output\", &y);\n";
    }
    code += "    show(\"running_mean\", &bn.state_dict(\"\")[\"running_mean\"]);\n";
    code += "    show(\"running_var\", &bn.state_dict(\"\")[\"running_var\"]);\n";
    code
}

fn array(tensor: &Tensor, indent: usize) -> String {
    format!("array(&{}, &{:?})", elements(tensor, indent), tensor.shape)
}
