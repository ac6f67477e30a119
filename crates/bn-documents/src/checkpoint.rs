//! Weights and trainings on disk, in the safetensors format.
//!
//! *Weights* are a network's state under PyTorch's names, and nothing else: in Python
//! `model.load_state_dict(safetensors.torch.load_file(PATH))` takes them. A *training* has the
//! optimiser's memories beside them (`optimizer.exp_avg.NAME`), and in the header's metadata its plan and
//! its history.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use batchnorm::Element;
use bn_file::{FileError, WholeFile};
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::Error;
use crate::layers::Slot;
use crate::network::State;
use crate::optimizer::Optimizer;
use crate::train::{Epoch, Plan, Training};

/// Why a file of weights or of a training was refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system's reason.
    #[error(transparent)]
    File(#[from] FileError),
    /// No safetensors file, or a part of one.
    #[error("{path}: not a whole safetensors file: {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// A tensor of numbers that networks are not made of.
    #[error("{path}: {name} is of dtype {dtype:?}; expected F32 or F64, or I64 for a counter")]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its dtype.
        dtype: Dtype,
    },
    /// A file without plan, history or steps, or with others than this program writes.
    #[error("{path}: not a training: its {what} cannot be read")]
    NoTraining {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        what: &'static str,
    },
    /// A state that belongs to another network.
    #[error("{path}: {source}")]
    Network {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Error,
    },
}

/// A tensor on its way to the file.
struct Plain {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Plain {
    fn floats(name: String, array: &ArrayD<f32>) -> Self {
        let bytes = array.iter().flat_map(|x| x.to_le_bytes()).collect();
        Plain { name, dtype: Dtype::F32, shape: array.shape().to_vec(), bytes }
    }
}

fn state_tensors(state: &State) -> Vec<Plain> {
    let narrow = |array: &ArrayD<f64>| array.mapv(<f32 as Element>::from_f64);
    let arrays = state.arrays.iter().map(|(name, array)| Plain::floats(name.clone(), &narrow(array)));
    let counters = state.counters.iter().map(|(name, count)| Plain {
        name: name.clone(),
        dtype: Dtype::I64,
        shape: Vec::new(),
        bytes: count.to_le_bytes().to_vec(),
    });
    arrays.chain(counters).collect()
}

fn write(
    path: &Path,
    tensors: &[Plain],
    metadata: Option<HashMap<String, String>>,
) -> Result<(), CheckpointError> {
    let file = WholeFile::create(path)?;
    let format = |source| CheckpointError::Format { path: path.into(), source };
    let views = tensors.iter().map(|Plain { name, dtype, shape, bytes }| {
        Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(format)?))
    });
    let views = views.collect::<Result<Vec<_>, CheckpointError>>()?;
    let bytes = safetensors::serialize(views, metadata).map_err(format)?;
    Ok(file.finish(&bytes)?)
}

fn bytes(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    Ok(fs::read(path).map_err(|source| FileError { path: path.into(), source })?)
}

/// All tensors of a file, floats as the f64 that equals them.
fn read_state(path: &Path, tensors: &SafeTensors<'_>) -> Result<State, CheckpointError> {
    let mut state = State::default();
    for (name, view) in tensors.iter() {
        let numbers = |width: usize, of: fn(&[u8]) -> f64| {
            let numbers = view.data().chunks_exact(width).map(of).collect();
            ArrayD::from_shape_vec(IxDyn(view.shape()), numbers).expect("safetensors checked the size")
        };
        let name = name.to_owned();
        match view.dtype() {
            Dtype::F32 => {
                let of = |b: &[u8]| f64::from(f32::from_le_bytes(b.try_into().expect("four bytes")));
                state.arrays.push((name, numbers(4, of)));
            }
            Dtype::F64 => {
                let of = |b: &[u8]| f64::from_le_bytes(b.try_into().expect("eight bytes"));
                state.arrays.push((name, numbers(8, of)));
            }
            Dtype::I64 if view.data().len() == 8 => {
                let count = i64::from_le_bytes(view.data().try_into().expect("eight bytes"));
                state.counters.push((name, count));
            }
            dtype => return Err(CheckpointError::Dtype { path: path.into(), name, dtype }),
        }
    }
    Ok(state)
}

/// Writes a network's weights.
///
/// # Errors
/// What the file system refuses.
pub fn save_weights(path: &Path, state: &State) -> Result<(), CheckpointError> {
    write(path, &state_tensors(state), None)
}

/// Reads a network's weights; whether they fit, [`crate::network::Network::load`] says.
///
/// # Errors
/// [`CheckpointError`], naming the file.
pub fn load_weights(path: &Path) -> Result<State, CheckpointError> {
    let bytes = bytes(path)?;
    let format = |source| CheckpointError::Format { path: path.into(), source };
    read_state(path, &SafeTensors::deserialize(&bytes).map_err(format)?)
}

/// Before the name of each memory of the optimiser.
const OPTIMIZER: &str = "optimizer.";

/// Writes a training, with the name of its examples: at no moment is there half a file, nor none where
/// there was one.
///
/// # Errors
/// What the file system refuses.
pub fn save_training(path: &Path, training: &mut Training, examples: &str) -> Result<(), CheckpointError> {
    let mut tensors = state_tensors(&training.network().state());
    let parameters = parameter_names(training);
    let optimizer = training.optimizer();
    for (name, memories) in parameters.iter().zip(optimizer.memories()) {
        for (kind, memory) in optimizer.rule().memories().iter().zip(memories) {
            tensors.push(Plain::floats(format!("{OPTIMIZER}{kind}.{name}"), memory));
        }
    }
    let json = |value: Result<String, serde_json::Error>| value.expect("plain data");
    let metadata = HashMap::from([
        ("plan".to_owned(), json(serde_json::to_string(&training.plan()))),
        ("history".to_owned(), json(serde_json::to_string(training.history()))),
        ("steps".to_owned(), optimizer.steps().to_string()),
        ("examples".to_owned(), examples.to_owned()),
    ]);
    write(path, &tensors, Some(metadata))
}

fn parameter_names(training: &mut Training) -> Vec<String> {
    let is_parameter = |slot: &Slot<'_, f32>| matches!(slot, Slot::Parameter { .. });
    let slots = training.network().slots().into_iter();
    slots.filter(|(_, slot)| is_parameter(slot)).map(|(name, _)| name).collect()
}

/// Reads a training, to go on with it, and the name of its examples.
///
/// # Errors
/// [`CheckpointError`], naming the file.
pub fn load_training(path: &Path) -> Result<(Training, String), CheckpointError> {
    let bytes = bytes(path)?;
    let format = |source| CheckpointError::Format { path: path.into(), source };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let no_training = |what| CheckpointError::NoTraining { path: path.into(), what };
    let get = |what: &'static str| metadata.get(what).ok_or(no_training(what));
    let plan: Plan = serde_json::from_str(get("plan")?).map_err(|_| no_training("plan"))?;
    let history: Vec<Epoch> = serde_json::from_str(get("history")?).map_err(|_| no_training("history"))?;
    let steps: u64 = get("steps")?.parse().map_err(|_| no_training("steps"))?;
    let state = read_state(path, &SafeTensors::deserialize(&bytes).map_err(format)?)?;
    let (of_optimizer, arrays): (Vec<_>, Vec<_>) =
        state.arrays.into_iter().partition(|(name, _)| name.starts_with(OPTIMIZER));
    let state = State { arrays, counters: state.counters };
    let network = |source| CheckpointError::Network { path: path.into(), source };
    let rule = plan.settings.rule;
    let mut memories = Vec::new();
    // Before the first step there are none.
    let parameters = if steps == 0 { Vec::new() } else { parameter_names(&mut Training::new(plan)) };
    for name in parameters {
        let of_parameter = rule.memories().iter().map(|kind| {
            let wanted = format!("{OPTIMIZER}{kind}.{name}");
            let found = of_optimizer.iter().find(|(known, _)| *known == wanted);
            let shape = state.array(&name).map(ArrayD::shape);
            match found {
                Some((_, memory)) if Some(memory.shape()) == shape => {
                    Ok(memory.mapv(<f32 as Element>::from_f64))
                }
                Some(_) => Err(network(Error::State(format!("{wanted} is not of the shape of {name}")))),
                None => Err(network(Error::State(format!("{wanted} is missing")))),
            }
        });
        memories.push(of_parameter.collect::<Result<Vec<_>, _>>()?);
    }
    let optimizer = Optimizer::resumed(rule, steps, memories);
    let training = Training::resumed(plan, &state, optimizer, history).map_err(network)?;
    Ok((training, get("examples")?.clone()))
}
