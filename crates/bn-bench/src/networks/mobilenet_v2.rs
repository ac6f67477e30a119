//! MobileNetV2 (Sandler et al., "MobileNetV2: Inverted Residuals and Linear
//! Bottlenecks", 2018, table 2).

use super::Trunk;

pub(super) fn trunk() -> Trunk {
    inverted_residuals(&[
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ])
}

/// Expansion t, channels c, repetitions n, stride s of the first.
type Stage = (usize, usize, usize, usize);

/// A stem of 32 channels, blocks of 1×1 to t times the channels (unless t is 1),
/// depthwise with the stride, 1×1 to c; and 1×1 to 1280.
pub(super) fn inverted_residuals(stages: &[Stage]) -> Trunk {
    let mut trunk = Trunk::default();
    let (mut channels, mut side) = (32, 112);
    trunk.norm(channels, side);
    for &(t, c, n, s) in stages {
        for repetition in 0..n {
            let wide = t * channels;
            if t > 1 {
                trunk.norm(wide, side);
            }
            side /= if repetition == 0 { s } else { 1 };
            trunk.norms(&[wide, c], side);
            channels = c;
        }
    }
    trunk.norm(1280, side);
    trunk
}
