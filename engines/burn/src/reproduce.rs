//! A program of burn alone that plays a case.

use bn_engine_kit::passes;
use bn_engine_kit::source::{elements, number};
use bn_protocol::case::{Case, Mode, Pass};
use bn_protocol::engine::{EngineError, Reproduction};
use bn_protocol::tensor::{DType, Tensor};

pub fn program(case: &Case) -> Result<Reproduction, EngineError> {
    let state = &case.state;
    let weight = state.weight.as_ref().expect("only layers with a weight are claimed");
    let (float, dtype) = match weight.dtype {
        DType::F64 => ("f64", "F64"),
        DType::F16 => ("f32", "F16"),
        DType::Bf16 => ("f32", "BF16"),
        _ => ("f32", "F32"),
    };
    let passes = passes(case)?;
    let evaluates = |with_gradients: bool| {
        let which = |pass: &&Pass| pass.mode == Mode::Eval && pass.grad_output.is_some() == with_gradients;
        passes.iter().any(which)
    };
    let (module, inference) = match evaluates(false) {
        true => ("Module, ", "    let inference = Device::flex();\n"),
        false => ("", ""),
    };
    let momentum = number(DType::F64, case.layer.momentum.expect("no cumulative average is claimed").0);
    let mut code = format!(
        "\
// [dependencies]
// burn = {{ version = \"{version}\", features = [\"flex\"] }}
use burn::module::{{{module}Param, RunningState}};
use burn::nn::BatchNormConfig;
use burn::tensor::{{DType, Device, Tensor, TensorData}};

fn array<const D: usize>(data: &[{float}], shape: [usize; D], device: &Device) -> Tensor<D> {{
    Tensor::from_data(TensorData::new(data.to_vec(), shape), (device, DType::{dtype}))
}}

fn show<const D: usize>(name: &str, tensor: Tensor<D>) {{
    println!(\"{{name}} {{:?}}\", tensor.into_data().iter::<{float}>().collect::<Vec<_>>());
}}

fn main() {{
{inference}    let training = Device::flex().autodiff();
    let config = BatchNormConfig::new({num_features});
    let mut bn = config.with_epsilon({eps}).with_momentum({momentum}).init(&training);
",
        version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "burn"),
        num_features = case.layer.num_features,
        eps = number(DType::F64, case.layer.eps),
    );
    let parts = [
        ("gamma", "Param::from_tensor", &state.weight),
        ("beta", "Param::from_tensor", &state.bias),
        ("running_mean", "RunningState::new", &state.running_mean),
        ("running_var", "RunningState::new", &state.running_var),
    ];
    for (name, make, tensor) in parts {
        let tensor = tensor.as_ref().expect("only layers that have it are claimed");
        code += &format!("    bn.{name} = {make}({});\n", array(tensor, "training"));
    }
    for (index, pass) in passes.iter().enumerate() {
        code += &step(index + 1, pass, evaluates(true));
    }
    code += "}\n";
    Ok(Reproduction { language: "rust".into(), code })
}

/// `switches` says that some step evaluates with gradients: then every one on the training
/// device says what it does.
fn step(number: usize, pass: &Pass, switches: bool) -> String {
    let name = match pass.mode {
        Mode::Train => "training",
        Mode::Eval => "evaluation",
    };
    let mut code = format!("\n    // Step {number}: {name}\n");
    if switches {
        code += &format!("    bn.training = Param::from_bool({});\n", pass.mode == Mode::Train);
    }
    match (&pass.grad_output, pass.mode) {
        (None, Mode::Train) => {
            code += &format!("    let x = {};\n", array(&pass.input, "training"));
            code += "    show(\"output\", bn.forward(x));\n";
        }
        (None, Mode::Eval) => {
            code += &format!("    let x = {};\n", array(&pass.input, "inference"));
            code += "    show(\"output\", bn.valid().forward(x));\n";
        }
        (Some(grad_output), _) => {
            code += &format!("    let x = {}.require_grad();\n", array(&pass.input, "training"));
            code += &format!("    let grad_output = {};\n", array(grad_output, "training"));
            code += "    let y = bn.forward(x.clone());\n";
            code += "    show(\"output\", y.clone());\n";
            code += "    let gradients = (y * grad_output).sum().backward();\n";
            code += "    show(\"grad_input\", x.grad(&gradients).unwrap());\n";
            code += "    show(\"grad_weight\", bn.gamma.val().grad(&gradients).unwrap());\n";
            code += "    show(\"grad_bias\", bn.beta.val().grad(&gradients).unwrap());\n";
        }
    }
    code += "    show(\"running_mean\", bn.running_mean.value_sync());\n";
    code += "    show(\"running_var\", bn.running_var.value_sync());\n";
    code
}

fn array(tensor: &Tensor, device: &str) -> String {
    format!("array(&{}, {:?}, &{device})", elements(tensor, 4), tensor.shape)
}
