//! GoogLeNet v3, or Inception v3 (Szegedy et al., "Rethinking the Inception
//! Architecture", 2015, table 1, as released), on 299×299 images, without the
//! auxiliary classifier.

use super::Trunk;

pub(super) fn trunk() -> Trunk {
    let mut trunk = Trunk::default();
    trunk.norm(32, 149);
    trunk.norms(&[32, 64], 147);
    trunk.norm(80, 73);
    trunk.norm(192, 71);
    for pool in [32, 64, 64] {
        trunk.norms(&[64, 48, 64, 64, 96, 96, pool], 35);
    }
    // To 17: a 3×3; and 1×1, 3×3, 3×3.
    trunk.norms(&[64, 96], 35);
    trunk.norms(&[384, 96], 17);
    // 1×1; 1×1, 1×7, 7×1; 1×1 and four of 7; after the pool.
    for narrow in [128, 160, 160, 192] {
        trunk.norms(&[192, narrow, narrow, 192, narrow, narrow, narrow, narrow, 192, 192], 17);
    }
    // To 8: 1×1, 3×3; and 1×1, 1×7, 7×1, 3×3.
    trunk.norms(&[192, 192, 192, 192], 17);
    trunk.norms(&[320, 192], 8);
    // 1×1; 1×1, then 1×3 beside 3×1; 1×1, 3×3, then 1×3 beside 3×1; after the pool.
    for _ in 0..2 {
        trunk.norms(&[320, 384, 384, 384, 448, 384, 384, 384, 192], 8);
    }
    trunk
}
