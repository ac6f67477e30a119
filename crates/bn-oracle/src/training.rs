//! The documents' networks by libtorch's operators, differentiated by its autograd and trained by
//! its optimisers.

use batchnorm::DType;
use bn_documents::agreement::{Run, Trace, Trainee};
use bn_documents::blueprint::{Named, Piece};
use bn_documents::loss::Target;
use bn_documents::network::{Engine, Network, State};
use bn_documents::optimizer::{ADAM, Rule};
use ndarray::{ArrayD, IxDyn};
use tch::nn::{Adam, Init, Optimizer, OptimizerConfig, Path, Sgd, VarStore};
use tch::{Device, Kind, Reduction, Tensor};

/// PyTorch's defaults.
const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// A network of a run, in libtorch.
pub struct Libtorch {
    engine: Engine,
    pieces: Vec<Named>,
    kind: Kind,
    store: VarStore,
    optimizer: Optimizer,
    /// The names and shapes of all parameters and buffers, in PyTorch's order.
    names: Vec<(String, Vec<usize>)>,
    buffers: Vec<(String, Tensor)>,
    counters: Vec<(String, i64)>,
}

impl Libtorch {
    /// The network of a run with the weights that ours starts with. Computes on one thread, so
    /// that a run repeats itself.
    pub fn new(run: Run) -> Self {
        tch::set_num_threads(1);
        let pieces = run.blueprint();
        let initial = Network::<f64>::new(&pieces, run.engine, run.seed()).state();
        let mut store = VarStore::new(Device::Cpu);
        let mut buffers = Vec::new();
        let kind = if run.dtype == DType::F64 { Kind::Double } else { Kind::Float };
        for (name, array) in &initial.arrays {
            if name.contains("running_") {
                buffers.push((name.clone(), tensor(array, kind)));
            } else {
                variable(store.root(), name, array.shape());
            }
        }
        if kind == Kind::Double {
            store.double();
        }
        let rule = match run.rule() {
            Rule::Adam { lr } => {
                let [beta1, beta2, eps] = ADAM;
                Adam { beta1, beta2, eps, ..Adam::default() }.build(&store, lr)
            }
            Rule::Sgd { lr, momentum } => Sgd { momentum, ..Sgd::default() }.build(&store, lr),
        };
        let shapes = initial.arrays.iter().map(|(name, array)| (name.clone(), array.shape().to_vec()));
        let mut network = Libtorch {
            engine: run.engine,
            pieces,
            kind,
            store,
            optimizer: rule.expect("an optimiser of the CPU"),
            names: shapes.collect(),
            buffers,
            counters: initial.counters.clone(),
        };
        network.load(&initial);
        network
    }

    fn parameter(&self, name: &str) -> Option<Tensor> {
        let variables = self.store.variables_.lock().expect("nobody panics holding it");
        variables.named_variables.get(name).map(Tensor::shallow_clone)
    }

    fn get(&self, name: &str) -> Option<Tensor> {
        let buffer = self.buffers.iter().find(|(known, _)| known == name);
        buffer.map(|(_, buffer)| buffer.shallow_clone()).or_else(|| self.parameter(name))
    }

    fn layer(&self, Named { name, piece }: &Named, x: &Tensor) -> Tensor {
        let get = |what: &str| self.get(&format!("{name}.{what}"));
        let weight = || get("weight").expect("a weight");
        match *piece {
            Piece::Linear { .. } => x.linear(&weight(), get("bias").as_ref()),
            Piece::Conv2d { padding, .. } => {
                x.conv2d(&weight(), get("bias").as_ref(), [1, 1], [padding as i64; 2], [1, 1], 1)
            }
            Piece::BatchNorm { .. } => {
                let [bias, mean, var] = ["bias", "running_mean", "running_var"].map(get);
                match self.engine {
                    Engine::Batchnorm => {
                        x.batch_norm(Some(weight()), bias, mean, var, true, MOMENTUM, EPS, false)
                    }
                    Engine::Labml => labml(
                        x,
                        &weight(),
                        &bias.expect("a bias"),
                        [mean.expect("a running mean"), var.expect("a running variance")],
                    ),
                }
            }
            Piece::Relu => x.relu(),
            Piece::MaxPool2d { kernel } => {
                let kernel = kernel as i64;
                x.max_pool2d([kernel; 2], [kernel; 2], [0, 0], [1, 1], false)
            }
            Piece::Flatten => x.flatten(1, -1),
        }
    }
}

/// labml's layer, operation by operation; the running statistics in place.
fn labml(x: &Tensor, weight: &Tensor, bias: &Tensor, running: [Tensor; 2]) -> Tensor {
    let size = x.size();
    let view = |vector: &Tensor| vector.view([1, -1, 1]);
    let x = x.view([size[0], size[1], -1]);
    let over = [0_i64, 2];
    let mean = x.mean_dim(&over[..], false, None::<Kind>);
    let var = (&x * &x).mean_dim(&over[..], false, None::<Kind>) - &mean * &mean;
    for (mut running, batch) in running.into_iter().zip([&mean, &var]) {
        let next = &running * (1.0 - MOMENTUM) + batch.detach() * MOMENTUM;
        running.copy_(&next);
    }
    let normalized = (x - view(&mean)) / view(&(var + EPS).sqrt());
    (view(weight) * normalized + view(bias)).view(&size[..])
}

fn variable(root: Path<'_>, name: &str, shape: &[usize]) {
    let (folders, last) = name.rsplit_once('.').expect("LAYER.PARAMETER");
    let path = folders.split('.').fold(root, |path, folder| path / folder);
    let shape: Vec<i64> = shape.iter().map(|&extent| extent as i64).collect();
    let _ = path.var(last, &shape, Init::Const(0.0));
}

fn tensor(array: &ArrayD<f64>, kind: Kind) -> Tensor {
    let shape: Vec<i64> = array.shape().iter().map(|&extent| extent as i64).collect();
    let values: Vec<f64> = array.iter().copied().collect();
    Tensor::from_slice(&values).view(&shape[..]).to_kind(kind)
}

fn array(tensor: &Tensor) -> ArrayD<f64> {
    let shape: Vec<usize> = tensor.size().iter().map(|&extent| extent as usize).collect();
    let flat = tensor.detach().to_kind(Kind::Double).contiguous().view([-1]);
    let mut values = vec![0.0; flat.numel()];
    flat.copy_data(&mut values, flat.numel());
    ArrayD::from_shape_vec(IxDyn(&shape), values).expect("its own shape")
}

impl Trainee for Libtorch {
    fn state(&mut self) -> State {
        let value =
            |(name, _): &(String, _)| (name.clone(), array(&self.get(name).expect("a name of its own")));
        State { arrays: self.names.iter().map(value).collect(), counters: self.counters.clone() }
    }

    fn load(&mut self, state: &State) {
        for (name, _) in &self.names {
            let value = tensor(state.array(name).expect("the state of the same network"), self.kind);
            let mut place = self.get(name).expect("a name of its own");
            tch::no_grad(|| place.copy_(&value));
        }
        self.counters.clone_from(&state.counters);
    }

    fn differentiate(&mut self, input: &ArrayD<f64>, target: &Target<f64>) -> Trace {
        let input = tensor(input, self.kind).set_requires_grad(true);
        let mut on_its_way = vec![input];
        for piece in &self.pieces {
            let output = self.layer(piece, on_its_way.last().expect("at least the input"));
            on_its_way.push(output);
        }
        let logits = on_its_way.last().expect("at least the input");
        let none = None::<Tensor>;
        let loss = match target {
            Target::Binary(of) => {
                let target = Tensor::from_slice(of).to_kind(self.kind).view([-1, 1]);
                logits.binary_cross_entropy_with_logits(
                    &target,
                    none.as_ref(),
                    none.as_ref(),
                    Reduction::Mean,
                )
            }
            Target::Class(of) => {
                let target: Vec<i64> = of.iter().map(|&class| class as i64).collect();
                let target = Tensor::from_slice(&target);
                logits.cross_entropy_loss(&target, none.as_ref(), Reduction::Mean, -100, 0.0)
            }
        };
        let gradients = Tensor::run_backward(&[&loss], &on_its_way, true, false);
        self.optimizer.zero_grad();
        loss.backward();
        self.counters.iter_mut().for_each(|(_, count)| *count += 1);
        Trace {
            loss: loss.to_kind(Kind::Double).double_value(&[]),
            outputs: on_its_way[1..].iter().map(array).collect(),
            gradients: gradients.iter().map(array).collect(),
        }
    }

    fn gradients(&mut self) -> Vec<(String, ArrayD<f64>)> {
        let gradient = |(name, _): &(String, _)| {
            let parameter = self.parameter(name)?;
            Some((format!("{name}.grad"), array(&parameter.grad())))
        };
        self.names.iter().filter_map(gradient).collect()
    }

    fn step(&mut self) {
        self.optimizer.step();
    }
}
