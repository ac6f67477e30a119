//! Which layers: the batch norms of published networks, by shape and by how often
//! each occurs.
//!
//! A network's file walks through its architecture as the paper gives it, and
//! notes every batch norm in passing (`Trunk`); [`Network::layers`] is the tally.
//! All are the networks of 224×224 images (Inception v3: 299×299).

mod densenet121;
mod efficientnet_b0;
mod googlenet_v2;
mod googlenet_v3;
mod mobilenet_v2;
mod resnet50;
mod small;

use std::cmp::Reverse;

/// One shape of a network's batch norms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The network's own batch size, where it does not take that of the run.
    pub batch: Option<usize>,
    /// C.
    pub channels: usize,
    /// The axes after the channels': H and W, or none.
    pub extents: Vec<usize>,
    /// How many layers of the network have this shape.
    pub count: usize,
}

impl Layer {
    /// (N, C, *), N being the layer's own batch size or `batch`.
    pub fn shape(&self, batch: usize) -> Vec<usize> {
        let mut shape = vec![self.batch.unwrap_or(batch), self.channels];
        shape.extend(&self.extents);
        shape
    }
}

/// A network's batch norms.
#[derive(Clone, Debug)]
pub struct Network {
    /// What `--network` calls it.
    pub name: &'static str,
    /// Its shapes, large first.
    pub layers: Vec<Layer>,
}

impl Network {
    /// Every network, ResNet-50 first.
    pub fn all() -> Vec<Network> {
        vec![
            Network::image("resnet50", resnet50::trunk()),
            Network::image("densenet121", densenet121::trunk()),
            Network::image("googlenet-v2", googlenet_v2::trunk()),
            Network::image("googlenet-v3", googlenet_v3::trunk()),
            Network::image("mobilenet-v2", mobilenet_v2::trunk()),
            Network::image("efficientnet-b0", efficientnet_b0::trunk()),
            Network { name: "small", layers: small::layers() },
        ]
    }

    /// The network of that name, if there is one.
    pub fn named(name: &str) -> Option<Network> {
        Network::all().into_iter().find(|network| network.name == name)
    }

    fn image(name: &'static str, trunk: Trunk) -> Network {
        Network { name, layers: trunk.tally() }
    }

    /// How many batch norms the network has.
    pub fn layer_count(&self) -> usize {
        self.layers.iter().map(|layer| layer.count).sum()
    }

    /// The channels of all its batch norms; each has a weight and a bias.
    pub fn channel_count(&self) -> usize {
        self.layers.iter().map(|layer| layer.channels * layer.count).sum()
    }
}

/// The batch norms met on a walk through a network: channels and image side.
#[derive(Default)]
struct Trunk {
    met: Vec<(usize, usize)>,
}

impl Trunk {
    /// A batch norm of `channels` channels on a square image of side `side`.
    fn norm(&mut self, channels: usize, side: usize) {
        self.met.push((channels, side));
    }

    /// Several on images of one side.
    fn norms(&mut self, channels: &[usize], side: usize) {
        channels.iter().for_each(|&channels| self.norm(channels, side));
    }

    /// Equal shapes counted, large images first, then many channels first.
    fn tally(mut self) -> Vec<Layer> {
        self.met.sort_unstable_by_key(|&(channels, side)| Reverse((side, channels)));
        self.met
            .chunk_by(|a, b| a == b)
            .map(|equal| {
                let (channels, side) = equal[0];
                Layer { batch: None, channels, extents: vec![side, side], count: equal.len() }
            })
            .collect()
    }
}

/// `32x64x112x112`.
pub fn shape_name(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shapes, layers, and channels of all layers. The channels of five are half of
    /// the "non-trainable params" that Keras's summaries state (a running mean and a
    /// running variance each): 53,120, 83,648, 34,432, 34,112 and 42,016.
    #[test]
    fn every_network_has_the_layers_that_are_published() {
        let published = [
            ("resnet50", 9, 53, 26_560),
            ("densenet121", 65, 121, 41_824),
            ("googlenet-v2", 23, 71, 10_208),
            ("googlenet-v3", 18, 94, 17_216),
            ("mobilenet-v2", 19, 52, 17_056),
            ("efficientnet-b0", 19, 49, 21_008),
            ("small", 7, 7, 392),
        ];
        let derived = Network::all().into_iter().map(|network| {
            (network.name, network.layers.len(), network.layer_count(), network.channel_count())
        });
        assert_eq!(derived.collect::<Vec<_>>(), published);
    }

    #[test]
    fn resnet50_is_the_well_known_table() {
        let network = Network::all().remove(0);
        let table: Vec<_> =
            network.layers.iter().map(|layer| (layer.channels, layer.extents[0], layer.count)).collect();
        let known = [
            (64, 112, 1),
            (256, 56, 4),
            (64, 56, 6),
            (512, 28, 5),
            (128, 28, 8),
            (1024, 14, 7),
            (256, 14, 12),
            (2048, 7, 4),
            (512, 7, 6),
        ];
        assert_eq!(table, known);
    }

    #[test]
    fn a_layer_takes_the_runs_batch_unless_it_has_its_own() {
        let layer = Layer { batch: None, channels: 3, extents: vec![5, 7], count: 1 };
        assert_eq!(layer.shape(32), [32, 3, 5, 7]);
        let own = Layer { batch: Some(4), extents: vec![], ..layer };
        assert_eq!(own.shape(32), [4, 3]);
        assert_eq!(shape_name(&own.shape(32)), "4x3");
    }
}
