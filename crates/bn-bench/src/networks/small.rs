//! The layers of small networks, where the time to get going counts as much as the
//! arithmetic: perceptrons on (N, C), and a CNN on 32×32 images. Each has the batch
//! size that its network is trained with.

use super::Layer;

pub(super) fn layers() -> Vec<Layer> {
    let shapes: [&[usize]; 7] =
        [&[16, 16, 32, 32], &[16, 32, 16, 16], &[64, 128], &[64, 100], &[10, 64], &[10, 32], &[4, 20]];
    let layer = |shape: &&[usize]| Layer {
        batch: Some(shape[0]),
        channels: shape[1],
        extents: shape[2..].to_vec(),
        count: 1,
    };
    shapes.iter().map(layer).collect()
}
