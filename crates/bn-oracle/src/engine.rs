//! The script of a case, played on libtorch step by step.

use bn_suite::capability::Capability;
use bn_suite::case::{Case, Pass, Step};
use bn_suite::engine::{About, Engine, EngineError};
use bn_suite::outcome::Outcome;

use crate::cuda::{self, Backend};
use crate::gradients::Graph;
use crate::module::Module;
use crate::refusal::Stop;
use crate::{fold, merge, version};

/// libtorch, on the CPU or on a CUDA device.
pub struct LibtorchEngine {
    about: About,
}

impl LibtorchEngine {
    /// An engine whose operations use this many threads. One is the choice for
    /// checking: some of libtorch's results depend on the number of threads.
    /// The number holds for the whole process, as libtorch keeps it.
    pub fn new(threads: usize) -> Self {
        tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
        let about = About::new("libtorch", &version::loaded(), Capability::all());
        LibtorchEngine { about }
    }
}

impl LibtorchEngine {
    /// An engine on the first CUDA device. The choice holds for the whole process, as
    /// [`cuda::use_device`] says.
    ///
    /// # Errors
    /// In one line why there is no such device.
    pub fn on_cuda(backend: Backend) -> Result<Self, String> {
        let ran = cuda::use_device(backend)?;
        let mut engine = LibtorchEngine::new(1);
        engine.about.version = format!("{} ({ran})", engine.about.version);
        Ok(engine)
    }
}

impl Default for LibtorchEngine {
    fn default() -> Self {
        LibtorchEngine::new(1)
    }
}

impl Engine for LibtorchEngine {
    fn about(&self) -> &About {
        &self.about
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        play(case).map_err(|stop| EngineError::Failed(stop.to_string()))
    }
}

/// A backward pass that waits for the end of the script.
struct Pending<'a> {
    step: usize,
    graph: Graph,
    pass: &'a Pass,
}

fn play(case: &Case) -> Result<Vec<Outcome>, Stop> {
    let mut module = Module::new(&case.layer, &case.state)?;
    let mut outcomes = Vec::with_capacity(case.steps.len());
    let mut pending = Vec::new();
    for (index, step) in case.steps.iter().enumerate() {
        let answer = match step {
            Step::BatchNorm(pass) => play_pass(&mut module, index, pass, &mut pending),
            Step::Reset { what } => module.reset(*what).and_then(|()| module.everything()),
            Step::Fold(request) => fold::fold(&module, request),
            Step::Merge { parts } => merge::merge(&mut module, parts),
        };
        outcomes.push(or_refusal(answer, || module.buffers())?);
    }
    for Pending { step, graph, pass } in pending {
        let mut outcome = outcomes[step].clone();
        let answer = graph.backward(pass, &mut outcome).map(|()| outcome);
        outcomes[step] = or_refusal(answer, || Ok(without_results(&outcomes[step])))?;
    }
    Ok(outcomes)
}

fn play_pass<'a>(
    module: &mut Module,
    step: usize,
    pass: &'a Pass,
    pending: &mut Vec<Pending<'a>>,
) -> Result<Outcome, Stop> {
    let graph = Graph::forward(module, pass)?;
    let mut outcome = module.buffers()?;
    outcome.fields.insert(bn_suite::outcome::Field::Output, graph.output()?);
    if pass.backward_at_end {
        pending.push(Pending { step, graph, pass });
    } else {
        graph.backward(pass, &mut outcome)?;
    }
    Ok(outcome)
}

/// A refused step answers why, and the buffers as it left them.
fn or_refusal(
    answer: Result<Outcome, Stop>,
    buffers: impl FnOnce() -> Result<Outcome, Stop>,
) -> Result<Outcome, Stop> {
    match answer {
        Err(Stop::Refused(refusal)) => Ok(Outcome { refused: Some(refusal), ..buffers()? }),
        other => other,
    }
}

/// The buffers and the counter of an outcome, as its own step left them.
fn without_results(outcome: &Outcome) -> Outcome {
    use bn_suite::outcome::Field::{RunningMean, RunningVar};
    let mut buffers = outcome.clone();
    buffers.fields.retain(|field, _| matches!(field, RunningMean | RunningVar));
    buffers
}
