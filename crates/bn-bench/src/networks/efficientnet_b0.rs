//! EfficientNet-B0 (Tan and Le, "EfficientNet", 2019, table 1). Stem, blocks and head
//! are MobileNetV2's with other numbers; squeeze and excitation have no batch norm.

use super::Trunk;
use super::mobilenet_v2::inverted_residuals;

pub(super) fn trunk() -> Trunk {
    inverted_residuals(&[
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 40, 2, 2),
        (6, 80, 3, 2),
        (6, 112, 3, 1),
        (6, 192, 4, 2),
        (6, 320, 1, 1),
    ])
}
