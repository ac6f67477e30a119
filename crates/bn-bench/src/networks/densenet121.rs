//! DenseNet-121 (Huang et al., "Densely Connected Convolutional Networks", 2016,
//! table 1): growth 32, bottleneck 4·32, and a transition that halves the channels.
//! Here a batch norm stands before its convolution, on what all layers before it made.

use super::Trunk;

const GROWTH: usize = 32;

pub(super) fn trunk() -> Trunk {
    let mut trunk = Trunk::default();
    let mut channels = 2 * GROWTH;
    trunk.norm(channels, 112);
    for (layers, side) in [(6, 56), (12, 28), (24, 14), (16, 7)] {
        for _ in 0..layers {
            trunk.norms(&[channels, 4 * GROWTH], side);
            channels += GROWTH;
        }
        // Of the transition, and after the last block that of the classifier.
        trunk.norm(channels, side);
        channels /= 2;
    }
    trunk
}
