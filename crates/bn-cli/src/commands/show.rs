//! `bn show CASE`: what is asked, and what is right.

use std::io::Write;

use anyhow::Result;
use bn_findings::describe::describe;
use bn_suite::case::{Case, Pass, State, Step};
use bn_suite::check::decimal;
use bn_suite::fixtures;
use bn_suite::golden::{Expected, Golden};
use bn_suite::tensor::{Layout, Tensor};
use clap::Args;
use serde_json::Value;

use crate::selection::{self, CasesArguments};

/// So many elements of an array are shown.
const SHOWN: usize = 8;

/// What `bn show` takes.
#[derive(Args)]
pub struct Arguments {
    /// The case's name
    case: String,
    /// Print it whole, in the form of the fixtures
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cases: CasesArguments,
}

/// Prints the case.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let golden = selection::select_one(&arguments.case, &arguments.cases)?;
    let mut out = anstream::stdout();
    if arguments.json {
        write!(out, "{}", fixtures::pretty(&serde_json::to_value(&golden)?))?;
        return Ok(true);
    }
    let Golden { case, expected, disputed } = &golden;
    write_head(&mut out, case)?;
    if let Some(dispute) = disputed {
        writeln!(out, "disputed for {}: {}", dispute.engine, dispute.note)?;
    }
    for (at, (step, expected)) in case.steps.iter().zip(expected).enumerate() {
        writeln!(out, "\nstep {at}: {}", describe(step))?;
        write_asked(&mut out, step)?;
        write_expected(&mut out, expected)?;
    }
    Ok(true)
}

fn write_head(out: &mut impl Write, case: &Case) -> Result<()> {
    writeln!(out, "{}\n{}\n", case.name, case.note)?;
    let needs: Vec<String> = case.requires().into_iter().map(|capability| capability.name()).collect();
    writeln!(out, "needs    {}", needs.join(", "))?;
    let Value::Object(layer) = serde_json::to_value(&case.layer)? else { return Ok(()) };
    let layer: Vec<String> = layer.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
    writeln!(out, "layer    {}", layer.join(", "))?;
    writeln!(out, "state")?;
    let State { weight, bias, running_mean, running_var, num_batches_tracked } = &case.state;
    let arrays =
        [("weight", weight), ("bias", bias), ("running_mean", running_mean), ("running_var", running_var)];
    for (name, array) in arrays {
        write_array(out, name, array.as_ref(), None)?;
    }
    let counter = num_batches_tracked.map_or("none".into(), |count| count.to_string());
    writeln!(out, "  {:20} {counter}", "num_batches_tracked")?;
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn write_asked(out: &mut impl Write, step: &Step) -> Result<()> {
    match step {
        Step::BatchNorm(pass) => {
            let Pass { input, grad_output, cotangents, output_mask, .. } = pass.as_ref();
            write_array(out, "input", Some(input), None)?;
            if let Some(grad_output) = grad_output {
                write_array(out, "grad_output", Some(grad_output), None)?;
            }
            if let Some(mask) = output_mask {
                writeln!(
                    out,
                    "  {:20} input {}, weight {}, bias {}",
                    "output_mask", mask.input, mask.weight, mask.bias
                )?;
            }
            if let Some(cotangents) = cotangents {
                write_array(out, "of grad_input", cotangents.grad_input.as_ref(), None)?;
                write_array(out, "of grad_weight", cotangents.grad_weight.as_ref(), None)?;
                write_array(out, "of grad_bias", cotangents.grad_bias.as_ref(), None)?;
            }
        }
        Step::Reset { .. } => {}
        Step::Fold(fold) => {
            write_array(out, "weight", Some(&fold.weight), None)?;
            write_array(out, "bias", fold.bias.as_ref(), None)?;
        }
        Step::Merge { parts } => {
            for part in parts {
                write_array(out, "part", Some(part), None)?;
            }
        }
    }
    Ok(())
}

fn write_expected(out: &mut impl Write, expected: &Expected) -> Result<()> {
    match expected.refused {
        Some(kind) => writeln!(out, "expected: a refusal ({}); after it", kind.name())?,
        None => writeln!(out, "expected")?,
    }
    for (field, expected) in &expected.fields {
        let largest = expected.allowance.iter().copied().fold(0.0, f64::max);
        write_array(out, field.name(), Some(&expected.value), Some(largest))?;
    }
    if let Some(count) = expected.num_batches_tracked {
        writeln!(out, "  {:20} {count}", "num_batches_tracked")?;
    }
    Ok(())
}

fn write_array(
    out: &mut impl Write,
    name: &str,
    array: Option<&Tensor>,
    allowance: Option<f64>,
) -> Result<()> {
    let Some(array) = array else {
        writeln!(out, "  {name:20} none")?;
        return Ok(());
    };
    let mut values: Vec<String> =
        array.data.iter().take(SHOWN).map(|&value| decimal(array.dtype, value)).collect();
    if array.data.len() > SHOWN {
        values.push("…".into());
    }
    let order = match &array.layout {
        Layout::Contiguous => String::new(),
        Layout::ChannelsLast => ", channels_last".into(),
        Layout::Strided { strides, offset } => format!(", strides {strides:?} at offset {offset}"),
    };
    let allowance = allowance.map_or(String::new(), |largest| format!(", each ± at most {largest:.2e}"));
    writeln!(out, "  {name:20} {} {:?}{order}{allowance}", array.dtype.name(), array.shape)?;
    writeln!(out, "  {:20}   {}", "", values.join(" "))?;
    Ok(())
}
