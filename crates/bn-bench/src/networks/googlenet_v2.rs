//! GoogLeNet v2, or BN-Inception (Ioffe and Szegedy, "Batch Normalization", 2015,
//! figure 5), with the channels of the model that was released and that oneDNN's
//! benchdnn lists: the pools of 4c and 4d project to 96, not 128.
//!
//! As there, the two auxiliary classifiers count with their convolutions, and not
//! with their fully connected layers.

use super::Trunk;

/// The convolutions of a module: 1×1; 1×1 and 3×3; 1×1, 3×3 and 3×3; after the pool.
type Module = (usize, [usize; 2], [usize; 3], usize);

pub(super) fn trunk() -> Trunk {
    let mut trunk = Trunk::default();
    trunk.norm(64, 112);
    trunk.norms(&[64, 192], 56);
    modules(&mut trunk, 28, &[(64, [64, 64], [64, 96, 96], 32), (64, [64, 96], [64, 96, 96], 64)]);
    reduction(&mut trunk, 28, [128, 160], [64, 96, 96]);
    trunk.norm(128, 4); // auxiliary
    let at_14 = [
        (224, [64, 96], [96, 128, 128], 128),
        (192, [96, 128], [96, 128, 128], 128),
        (160, [128, 160], [128, 160, 160], 96),
        (96, [128, 192], [160, 192, 192], 96),
    ];
    modules(&mut trunk, 14, &at_14);
    reduction(&mut trunk, 14, [128, 192], [192, 256, 256]);
    trunk.norm(128, 2); // auxiliary
    let at_7 = [(352, [192, 320], [160, 224, 224], 128), (352, [192, 320], [192, 224, 224], 128)];
    modules(&mut trunk, 7, &at_7);
    trunk
}

fn modules(trunk: &mut Trunk, side: usize, modules: &[Module]) {
    for (single, pair, triple, pool) in modules {
        trunk.norms(&[*single, *pool], side);
        trunk.norms(pair, side);
        trunk.norms(triple, side);
    }
}

/// A module whose last convolutions have stride 2, and whose pool is not projected.
fn reduction(trunk: &mut Trunk, side: usize, pair: [usize; 2], triple: [usize; 3]) {
    trunk.norms(&[pair[0], triple[0], triple[1]], side);
    trunk.norms(&[pair[1], triple[2]], side / 2);
}
