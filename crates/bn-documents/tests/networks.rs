//! The networks are the documents'.

use bn_documents::blueprint::{Document, Norm};
use bn_documents::layers::{Mode, Slot};
use bn_documents::network::{Engine, Network};
use ndarray::{ArrayD, IxDyn};

fn network(document: Document, norm: Norm) -> Network<f32> {
    Network::new(&document.blueprint(norm), Engine::Batchnorm, 1)
}

#[test]
fn outputs_have_the_documents_shapes() {
    for (document, input, output) in [
        (Document::ApxMlp, &[64, 784][..], [64, 10]),
        (Document::ApxCnn, &[16, 3, 32, 32], [16, 10]),
        (Document::ApxEval, &[4, 10], [4, 20]),
        (Document::ApxHandsOn, &[64, 20], [64, 1]),
        (Document::MachineCurve, &[10, 3, 32, 32], [10, 10]),
        (Document::Labml, &[2, 1, 28, 28], [2, 10]),
    ] {
        for norm in Norm::ALL {
            for mode in [Mode::Train, Mode::Eval] {
                let input = ArrayD::from_shape_fn(IxDyn(input), |at| (at[0] as f32 + at[1] as f32).sin());
                assert_eq!(network(document, norm).forward(input, mode).unwrap().shape(), output);
            }
        }
    }
}

#[test]
fn the_cnn_without_its_head_gives_what_the_page_says() {
    let blueprint = Document::ApxCnn.blueprint(Norm::Before);
    let mut features = Network::<f32>::new(&blueprint[..8], Engine::Batchnorm, 1);
    let output = features.forward(ArrayD::zeros(IxDyn(&[16, 3, 32, 32])), Mode::Train).unwrap();
    assert_eq!(output.shape(), [16, 32, 8, 8]);
}

#[test]
fn states_go_by_pytorchs_names() {
    let names = |document, norm| -> Vec<String> {
        network(document, norm).slots().into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(
        names(Document::ApxHandsOn, Norm::Before),
        [
            "layer1.weight",
            "layer1.bias",
            "bn1.weight",
            "bn1.bias",
            "bn1.running_mean",
            "bn1.running_var",
            "bn1.num_batches_tracked",
            "layer2.weight",
            "layer2.bias",
            "bn2.weight",
            "bn2.bias",
            "bn2.running_mean",
            "bn2.running_var",
            "bn2.num_batches_tracked",
            "output_layer.weight",
            "output_layer.bias"
        ]
    );
    assert_eq!(
        names(Document::MachineCurve, Norm::Without),
        [
            "layers.1.weight",
            "layers.1.bias",
            "layers.3.weight",
            "layers.3.bias",
            "layers.5.weight",
            "layers.5.bias"
        ]
    );
    // labml leaves out the biases that batch norm would cancel, and only those.
    let labml = names(Document::Labml, Norm::Before);
    assert_eq!(labml.iter().filter(|name| name.ends_with("bias")).count(), 4);
    assert!(labml.contains(&"fc2.bias".to_owned()) && !labml.contains(&"conv1.bias".to_owned()));
}

#[test]
fn weights_begin_alike_with_and_without_batch_norm_and_in_both_dtypes() {
    let with = network(Document::ApxHandsOn, Norm::Before).state();
    let without = network(Document::ApxHandsOn, Norm::Without).state();
    let blueprint = Document::ApxHandsOn.blueprint(Norm::Without);
    assert_eq!(Network::<f64>::new(&blueprint, Engine::Batchnorm, 1).state(), without);
    for (name, array) in &without.arrays {
        assert_eq!(with.array(name), Some(array));
        let bound = 1.0
            / if name.starts_with("layer1") {
                20.0_f64
            } else if name.starts_with("layer2") {
                128.0
            } else {
                64.0
            }
            .sqrt();
        assert!(
            array.iter().all(|w| w.abs() <= bound) && array.iter().any(|w| w.abs() > 0.5 * bound),
            "{name}"
        );
    }
}

#[test]
fn a_state_of_another_network_is_refused_and_changes_nothing() {
    let mut network = network(Document::ApxHandsOn, Norm::Before);
    let before = network.state();
    let mut refused = |change: &dyn Fn(&mut bn_documents::network::State)| {
        let mut state = before.clone();
        state.arrays[0].1.fill(7.0);
        change(&mut state);
        let error = network.load(&state).unwrap_err().to_string();
        assert_eq!(network.state(), before);
        error
    };
    assert!(
        refused(&|state| drop(state.arrays.remove(2))).contains("bn1.weight, of shape [128], is missing")
    );
    assert!(
        refused(&|state| state.arrays[1].1 = ArrayD::zeros(IxDyn(&[3])))
            .contains("layer1.bias must have shape [128], not [3]")
    );
    assert!(
        refused(&|state| state.counters.clear()).contains("bn1.num_batches_tracked, an integer, is missing")
    );
    assert!(refused(&|state| state.counters.push(("x".into(), 1))).contains("the network has no x"));
}

#[test]
fn evaluation_moves_nothing() {
    let mut network = network(Document::ApxCnn, Norm::Before);
    let before = network.state();
    network.forward(ArrayD::ones(IxDyn(&[2, 3, 32, 32])), Mode::Eval).unwrap();
    assert_eq!(network.state(), before);
    network.forward(ArrayD::ones(IxDyn(&[2, 3, 32, 32])), Mode::Train).unwrap();
    let counters: Vec<i64> = network
        .slots()
        .into_iter()
        .filter_map(|(_, slot)| match slot {
            Slot::Counter(count) => Some(*count),
            _ => None,
        })
        .collect();
    assert_eq!(counters, [1, 1]);
}
