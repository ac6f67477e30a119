//! Changes that show only where there is a relu.

use super::written::Change;

/// What shows only where there is a relu, by file.
pub const RELU: &[(&str, &[Change])] = &[
    (
        "relu.cuh",
        &[
            ("0 passes", "relu.mask.data && v <= 0", "relu.mask.data && v < 0"),
            ("NaN does not pass", "relu.mask.data && v <= 0", "relu.mask.data && !(v > 0)"),
            ("the bit is that of the rounded value", "v <= 0) v = -0.0", "(float)v <= 0) v = -0.0"),
            ("nothing is added", "if (relu.residual.data) v +=", "if (false) v +="),
            (
                "relu comes before the sum",
                "if (relu.residual.data) v +=",
                "if (relu.residual.data) v = (v > 0 ? v : 0) +",
            ),
            (
                "every f16 passes",
                "value.bits == 0x8000; }\nDEVICE bool is_minus_zero(Bfloat",
                "false; }\nDEVICE bool is_minus_zero(Bfloat",
            ),
            ("no sign, no −0", "bits_of(value) == 0x80000000u", "(bits_of(value) & 0x7fffffffu) == 0"),
            ("−0 stays", "if (is_there && !passed) store_shared", "if (false) store_shared"),
            (
                "one element too many",
                "i + lane < count;\n        bool passed",
                "i + lane <= count;\n        bool passed",
            ),
            (
                "one element too few",
                "i + lane < count;\n        bool passed",
                "i + lane < count - 1;\n        bool passed",
            ),
            ("one byte too many", "lane < 4 && i + 8 * lane < count", "lane < 4"),
            ("the fourth byte is not noted", "lane < 4 && i", "lane < 3 && i"),
            ("every byte is the first", "(unsigned char)(bits >> 8 * lane)", "(unsigned char)bits"),
            ("the mask starts one byte late", "element / 8;", "element / 8 + 1;"),
            ("the gate is the other way round", "if (!passed) store_shared", "if (passed) store_shared"),
            ("the gate counts bits from the other end", ">> i % 8 & 1", ">> (7 - i % 8) & 1"),
        ],
    ),
    (
        "channel.cuh",
        &[
            ("a bit is its neighbour", ">> bit % 8 & 1", ">> (bit + 1) % 8 & 1"),
            ("a word is its neighbour", "(first + i) / 32", "(first + i) / 32 + 1"),
            ("each channel has the first one's bits", "{array, c * array.channel_stride}", "{array, 0}"),
        ],
    ),
    (
        "baseline.cuh",
        &[
            ("0 passes", "passed = !(v <= 0)", "passed = !(v < 0)"),
            ("NaN does not pass", "passed = !(v <= 0)", "passed = v > 0"),
            ("nothing is added", "if (relu.residual.data) v +=", "if (false) v +="),
            ("the mask is noted, and y is v", "relu.mask.data && !passed ? 0.0 : v", "v"),
            ("every lane notes the mask", "if (lane == 0) mask.set", "mask.set"),
            ("the sums take g as it came", "double gi = gated(i);", "double gi = g.get(i);"),
            ("grad_input takes g as it came", "gradient.of(gated(i)", "gradient.of(g.get(i)"),
            ("the residual's gradient is forgotten", "if (a.grad_residual.data) to", "if (false) to"),
        ],
    ),
    (
        "rows.cuh",
        &[
            ("a tile's bits are those of the first", "row_start(part, from + row)", "row_start(part, row)"),
            (
                "a row is left out",
                "int row = thread() / WARP; row < part.rows",
                "int row = thread() / WARP; row < part.rows - 1",
            ),
            ("half of a row is gated", "gate(row, count, bytes", "gate(row, count / 2, bytes"),
        ],
    ),
    (
        "resident.cuh",
        &[
            ("x is added", "const T* residual = part.slab(1)", "const T* residual = part.slab(0)"),
            ("the residual's gradient is forgotten", "if (a.grad_residual.data) send", "if (false) send"),
            ("the sums take g as it came", "gate_rows(part, gradients, a.mask, 0);", ";"),
        ],
    ),
    (
        "columns.cuh",
        &[
            (
                "the bits are those of the first block",
                "byte_of(mask, slab.first * slab.channels)",
                "byte_of(mask, 0)",
            ),
            (
                "the last bits are not noted",
                "note_bits(values, slab.positions * slab.channels",
                "note_bits(values, slab.positions * slab.channels - 8",
            ),
        ],
    ),
    (
        "slab.cuh",
        &[
            ("the residual's gradient is forgotten", "if (a.grad_residual.data) send", "if (false) send"),
            ("the sums take g as it came", "gate(slab, gradients, a.mask);", ";"),
        ],
    ),
    (
        "strip.cuh",
        &[
            ("the first of the second arrays is added", "values(tiles_so_far, 1)", "values(0, 1)"),
            ("the residual's gradient is forgotten", "if (a.grad_residual.data) send", "if (false) send"),
            ("the sums take g as it came", "gate(tile, tile.values, a.mask);\n        if", "if"),
            ("grad_input takes g as it came", "gate(tile, tile.values, a.mask);\n        tile", "tile"),
        ],
    ),
    (
        "stream.cuh",
        &[
            (
                "x is added",
                "const T* residual = stream.tile(tile, 1)",
                "const T* residual = stream.tile(tile, 0)",
            ),
            ("the sums take g as it came", "gate_rows(part, gradients, a.mask, row);\n            if", "if"),
            (
                "grad_input takes g as it came",
                "gate_rows(part, gradients, a.mask, row);\n            part",
                "part",
            ),
            (
                "the residual's gradient is that of the first rows",
                "stream.send(part, a.grad_residual, tile, row)",
                "stream.send(part, a.grad_residual, tile, 0)",
            ),
            (
                "the bits are those of the first tile",
                "note_rows(part, values, a.relu.mask, row)",
                "note_rows(part, values, a.relu.mask, 0)",
            ),
        ],
    ),
];
