//! On which shapes: the batch-norm layers of ResNet-50, and small ones, where
//! the time to get going counts as much as the arithmetic.

/// ResNet-50 at batch 32: the nine shapes of its 53 batch-norm layers.
pub const RESNET50: [[usize; 4]; 9] = [
    [32, 64, 112, 112],
    [32, 256, 56, 56],
    [32, 64, 56, 56],
    [32, 512, 28, 28],
    [32, 128, 28, 28],
    [32, 1024, 14, 14],
    [32, 256, 14, 14],
    [32, 2048, 7, 7],
    [32, 512, 7, 7],
];

/// The layers of small networks: perceptrons on (N, C), and a CNN on 32×32 images.
pub const SMALL: [&[usize]; 7] =
    [&[64, 100], &[10, 64], &[10, 32], &[64, 128], &[4, 20], &[16, 16, 32, 32], &[16, 32, 16, 16]];

/// Every shape, large first.
pub fn all() -> impl Iterator<Item = &'static [usize]> {
    RESNET50.iter().map(|shape| shape.as_slice()).chain(SMALL)
}

/// `32x64x112x112`.
pub fn name(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
