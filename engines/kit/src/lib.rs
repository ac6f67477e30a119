//! What the engines around Rust frameworks share, each of which is a program of its own.
//!
//! An engine here is a framework's batch norm behind [`bn_protocol`]: it makes the layer that
//! a case describes, drives it, and answers what the framework answers. What has nothing to
//! do with any one framework is here: serving on the standard streams, which version was
//! built, scripts whose backward passes may wait ([`script`]), what a pass asks for
//! ([`wanted`], [`same_shape`]), the clock ([`timing`]), and the source text of arrays for
//! reproductions ([`source`]).

pub mod script;
pub mod source;
pub mod timing;

use std::io;

use bn_protocol::case::{Case, OutputMask, Pass, Step};
use bn_protocol::engine::{Engine, EngineError};
use bn_protocol::tensor::Tensor;

/// Serves the engine on the standard streams until there is nothing more to ask.
pub fn serve(mut engine: impl Engine) -> io::Result<()> {
    bn_protocol::silence_engines();
    bn_protocol::serve(&mut engine, io::stdin().lock(), io::stdout().lock())
}

/// The version of `package` in the text of a `Cargo.lock`: the one that cargo built.
///
/// # Panics
/// When the file does not name the package: then the engine was built from another one.
pub fn locked_version(lock: &str, package: &str) -> String {
    let name = format!("name = \"{package}\"");
    let version = lock.lines().skip_while(|line| *line != name).nth(1);
    let version = version.and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    version.unwrap_or_else(|| panic!("{package} is not in Cargo.lock")).into()
}

/// Which gradients a backward pass asks for: all where it does not say.
pub fn wanted(pass: &Pass) -> OutputMask {
    pass.output_mask.unwrap_or(OutputMask { input: true, weight: true, bias: true })
}

/// Whether the loss Σ output·grad_output asks what the pass asks: a framework whose backward
/// pass starts from a number is asked through that loss, and its product may broadcast what
/// is no grad_output at all.
///
/// # Errors
/// With what is wrong, to be answered as a refusal.
pub fn same_shape(pass: &Pass, grad_output: &Tensor) -> Result<(), String> {
    if grad_output.shape == pass.input.shape {
        return Ok(());
    }
    Err(format!("grad_output of shape {:?} for an output of {:?}", grad_output.shape, pass.input.shape))
}

/// The most numbers that a reproduction spells out.
const SPELT_OUT: usize = 65_536;

/// The passes of a script, for a program that spells them out.
///
/// # Errors
/// [`EngineError::Unsupported`] where another step is among them, or where the arrays would
/// make too long a program.
pub fn passes(case: &Case) -> Result<Vec<&Pass>, EngineError> {
    let pass = case.steps.iter().map(|step| match step {
        Step::BatchNorm(pass) => Ok(&**pass),
        _ => Err(EngineError::Unsupported("a step that is no forward pass".into())),
    });
    let passes: Vec<&Pass> = pass.collect::<Result<_, _>>()?;
    match passes.iter().map(|pass| pass.input.len()).sum() {
        0..=SPELT_OUT => Ok(passes),
        numbers => Err(EngineError::Unsupported(format!("a program with {numbers} numbers in it"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_protocol::case::Mode;

    #[test]
    fn the_version_is_the_packages_own() {
        let package = |name, version| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n");
        let lock = package("burn-nn", "1.0.0") + &package("burn", "0.22.1");
        assert_eq!(locked_version(&lock, "burn"), "0.22.1");
    }

    #[test]
    fn a_case_that_is_too_long_to_spell_out_is_declined() {
        let long = Tensor::from_f32(&[SPELT_OUT, 1], &[1.0; SPELT_OUT]);
        let pass = Step::BatchNorm(Box::new(Pass::forward(Mode::Train, long)));
        let mut case = Case {
            name: "a/b".into(),
            note: "c".into(),
            layer: Default::default(),
            state: Default::default(),
            steps: vec![pass.clone()],
        };
        assert_eq!(passes(&case).unwrap().len(), 1);
        case.steps.push(pass);
        assert_eq!(
            passes(&case),
            Err(EngineError::Unsupported("a program with 131072 numbers in it".into()))
        );
    }
}
