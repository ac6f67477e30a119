//! Layers one after the other.

use batchnorm::Element;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};
use serde::{Deserialize, Serialize};

use crate::blueprint::{Named, Piece};
use crate::error::Error;
use crate::layers::{BatchNorm, Conv2d, Flatten, Labml, Layer, Linear, MaxPool2d, Mode, Relu, Slot};
use crate::loss::{Target, loss};
use crate::optimizer::Optimizer;
use crate::real::Real;

/// Whose batch norm a network has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Ours, which does what PyTorch does.
    #[default]
    Batchnorm,
    /// labml's dialect: a biased running variance, and E\[x²\] − E\[x\]² in the input's dtype.
    Labml,
}

impl Engine {
    /// `batchnorm` or `labml`.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Batchnorm => "batchnorm",
            Engine::Labml => "labml",
        }
    }
}

/// An array on its way through a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tap {
    /// What the layer of this number gives.
    Output(usize),
    /// ∂loss/∂ what comes to the layer of this number; the loss comes after the last.
    GradInput(usize),
}

/// A network: what `torch.nn.Sequential` is, or a module whose `forward` is a chain.
pub struct Network<T> {
    layers: Vec<(String, Box<dyn Layer<T>>)>,
}

impl<T: Real> Network<T> {
    /// The network of a blueprint, with weights as PyTorch draws them: each uniform between
    /// −1/√k and 1/√k, where k is the number of inputs of an output. The draws are rounded to
    /// f32, so that f32 and f64 begin alike, and they are the same with and without batch norm.
    pub fn new(blueprint: &[Named], engine: Engine, seed: u64) -> Self {
        let layers = blueprint.iter().map(|Named { name, piece }| (name.clone(), layer(*piece, engine)));
        let mut network = Network::from_layers(layers.collect());
        let mut draws = fastrand::Rng::with_seed(seed);
        for ((_, layer), Named { piece, .. }) in network.layers.iter_mut().zip(blueprint) {
            let fan_in = match *piece {
                Piece::Linear { inputs, .. } => inputs,
                Piece::Conv2d { inputs, kernel, .. } => inputs * kernel * kernel,
                _ => continue,
            };
            let bound = 1.0 / (fan_in as f64).sqrt();
            for (_, slot) in layer.slots() {
                if let Slot::Parameter { mut value, .. } = slot {
                    let mut draw = || f64::from(((2.0 * draws.f64() - 1.0) * bound) as f32);
                    value.mapv_inplace(|_| T::from_f64(draw()));
                }
            }
        }
        network
    }

    /// Layers under the names that their state goes by.
    pub fn from_layers(layers: Vec<(String, Box<dyn Layer<T>>)>) -> Self {
        Network { layers }
    }

    /// The logits for a batch, (N, *).
    ///
    /// # Errors
    /// As [`Layer::forward`].
    pub fn forward(&mut self, input: ArrayD<T>, mode: Mode) -> Result<ArrayD<T>, Error> {
        self.layers.iter_mut().try_fold(input, |x, (_, layer)| layer.forward(x, mode))
    }

    /// ∂loss/∂input for ∂loss/∂logits; every parameter's gradient is kept beside it.
    ///
    /// # Errors
    /// As [`Layer::backward`].
    pub fn backward(&mut self, grad_output: ArrayD<T>) -> Result<ArrayD<T>, Error> {
        self.layers.iter_mut().rev().try_fold(grad_output, |g, (_, layer)| layer.backward(g))
    }

    /// Forward in training mode, the loss, and backward.
    ///
    /// # Errors
    /// As [`Layer::forward`] and [`loss`].
    pub fn differentiate(&mut self, input: ArrayD<T>, target: &Target<T>) -> Result<T, Error> {
        self.differentiate_tapped(input, target, &mut |_, _| {})
    }

    /// As [`Self::differentiate`], with a look at every array on its way, and a hand on it.
    ///
    /// # Errors
    /// As [`Self::differentiate`].
    pub fn differentiate_tapped(
        &mut self,
        input: ArrayD<T>,
        target: &Target<T>,
        tap: &mut dyn FnMut(Tap, &mut ArrayD<T>),
    ) -> Result<T, Error> {
        let mut x = input;
        for (index, (_, layer)) in self.layers.iter_mut().enumerate() {
            x = layer.forward(x, Mode::Train)?;
            tap(Tap::Output(index), &mut x);
        }
        let (value, mut g) = loss(&x, target)?;
        tap(Tap::GradInput(self.layers.len()), &mut g);
        for (index, (_, layer)) in self.layers.iter_mut().enumerate().rev() {
            g = layer.backward(g)?;
            tap(Tap::GradInput(index), &mut g);
        }
        Ok(value)
    }

    /// One step of training: the loss before it.
    ///
    /// # Errors
    /// As [`Self::differentiate`].
    pub fn learn(
        &mut self,
        input: ArrayD<T>,
        target: &Target<T>,
        optimizer: &mut Optimizer<T>,
    ) -> Result<T, Error> {
        let value = self.differentiate(input, target)?;
        optimizer.step(self.parameters());
        Ok(value)
    }

    /// Everything that is remembered, by PyTorch's names and in its order.
    pub fn slots(&mut self) -> Vec<(String, Slot<'_, T>)> {
        let named = self.layers.iter_mut().flat_map(|(prefix, layer)| {
            layer.slots().into_iter().map(move |(name, slot)| (format!("{prefix}.{name}"), slot))
        });
        named.collect()
    }

    /// The parameters with their gradients.
    pub fn parameters(&mut self) -> impl Iterator<Item = (ArrayViewMutD<'_, T>, ArrayViewD<'_, T>)> {
        self.layers.iter_mut().flat_map(|(_, layer)| layer.slots()).filter_map(|(_, slot)| match slot {
            Slot::Parameter { value, grad } => Some((value, view(grad))),
            _ => None,
        })
    }

    /// A copy of all that is remembered.
    pub fn state(&mut self) -> State {
        let mut state = State::default();
        for (name, slot) in self.slots() {
            match slot {
                Slot::Parameter { value, .. } => state.arrays.push((name, value.mapv(Element::to_f64))),
                Slot::Buffer(value) => state.arrays.push((name, value.mapv(Element::to_f64))),
                Slot::Counter(count) => state.counters.push((name, *count)),
            }
        }
        state
    }

    /// Takes a state over, each value rounded to the network's dtype.
    ///
    /// # Errors
    /// [`Error::State`], naming the first entry that is missing, of another shape or left
    /// over; nothing was taken over then.
    pub fn load(&mut self, state: &State) -> Result<(), Error> {
        let mut slots = self.slots();
        let refused = |text: String| Err(Error::State(text));
        for (name, slot) in &slots {
            let wanted = match slot {
                Slot::Parameter { value, .. } | Slot::Buffer(value) => value.shape(),
                Slot::Counter(_) if state.counter(name).is_some() => continue,
                Slot::Counter(_) => return refused(format!("{name}, an integer, is missing")),
            };
            match state.array(name) {
                None => return refused(format!("{name}, of shape {wanted:?}, is missing")),
                Some(array) if array.shape() != wanted => {
                    return refused(format!("{name} must have shape {wanted:?}, not {:?}", array.shape()));
                }
                Some(_) => {}
            }
        }
        if let Some(name) = state.names().find(|&name| slots.iter().all(|(known, _)| known != name)) {
            return refused(format!("the network has no {name}"));
        }
        for (name, slot) in &mut slots {
            match slot {
                Slot::Parameter { value, .. } | Slot::Buffer(value) => {
                    value.zip_mut_with(state.array(name).expect("checked"), |x, &y| *x = T::from_f64(y));
                }
                Slot::Counter(count) => **count = state.counter(name).expect("checked"),
            }
        }
        Ok(())
    }
}

/// A view for reading of one for writing, for as long.
fn view<'a, T>(view: ArrayViewMutD<'a, T>) -> ArrayViewD<'a, T> {
    let shape = view.raw_dim();
    let slice: &'a [T] = view.into_slice().expect("gradients are contiguous");
    ArrayViewD::from_shape(shape, slice).expect("its own shape")
}

fn layer<T: Real>(piece: Piece, engine: Engine) -> Box<dyn Layer<T>> {
    match (piece, engine) {
        (Piece::Linear { inputs, outputs, bias }, _) => Box::new(Linear::new(inputs, outputs, bias)),
        (Piece::Conv2d { inputs, outputs, kernel, padding, bias }, _) => {
            Box::new(Conv2d::new(inputs, outputs, kernel, padding, bias))
        }
        (Piece::BatchNorm { features }, Engine::Batchnorm) => Box::new(BatchNorm::new(features)),
        (Piece::BatchNorm { features }, Engine::Labml) => Box::new(Labml::new(features)),
        (Piece::Relu, _) => Box::new(Relu::default()),
        (Piece::MaxPool2d { kernel }, _) => Box::new(MaxPool2d::new(kernel)),
        (Piece::Flatten, _) => Box::new(Flatten::default()),
    }
}

/// What a network remembers, each value as the f64 that equals it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Parameters and buffers.
    pub arrays: Vec<(String, ArrayD<f64>)>,
    /// Counters.
    pub counters: Vec<(String, i64)>,
}

impl State {
    /// The parameter or buffer of this name.
    pub fn array(&self, name: &str) -> Option<&ArrayD<f64>> {
        self.arrays.iter().find(|(known, _)| known == name).map(|(_, array)| array)
    }

    /// The counter of this name.
    pub fn counter(&self, name: &str) -> Option<i64> {
        self.counters.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let arrays = self.arrays.iter().map(|(name, _)| name.as_str());
        arrays.chain(self.counters.iter().map(|(name, _)| name.as_str()))
    }
}
