//! ResNet-50 (He et al., "Deep Residual Learning", 2015, table 1), with the stride
//! where the paper has it, in the first 1×1 convolution of a stage.

use super::Trunk;

pub(super) fn trunk() -> Trunk {
    let mut trunk = Trunk::default();
    trunk.norm(64, 112);
    for (blocks, narrow, side) in [(3, 64, 56), (4, 128, 28), (6, 256, 14), (3, 512, 7)] {
        let wide = 4 * narrow;
        // The projection of the shortcut, once a stage.
        trunk.norm(wide, side);
        (0..blocks).for_each(|_| trunk.norms(&[narrow, narrow, wide], side));
    }
    trunk
}
