//! The kernels' mutants: one text replaced by another, once.

use std::fs;
use std::path::Path;

/// The kernels with one thing changed.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// What is wrong with it.
    pub name: &'static str,
    /// The file of `kernels/`.
    pub file: &'static str,
    find: &'static str,
    replace: &'static str,
    /// Which of the places where `find` stands, from 0.
    place: usize,
    /// Whether it shows only where there is a relu.
    pub is_of_relu: bool,
}

impl Mutant {
    /// The file's text, changed.
    pub fn apply(&self, text: &str) -> String {
        let (at, _) = text.match_indices(self.find).nth(self.place).unwrap_or_else(|| {
            panic!("{}: {} has no place {} of {:?}", self.name, self.file, self.place, self.find)
        });
        [&text[..at], self.replace, &text[at + self.find.len()..]].concat()
    }
}

/// Every mutant: those that are written down, and everything that orders threads left out.
pub fn mutants() -> Vec<Mutant> {
    let groups =
        [("sum.cuh", SUM), ("channel.cuh", CHANNEL), ("element.cuh", ELEMENT), ("formulas.cuh", FORMULAS)];
    let more = [
        ("baseline.cuh", BASELINE),
        ("rows.cuh", ROWS),
        ("resident.cuh", RESIDENT),
        ("slab.cuh", SLAB),
        ("stream.cuh", STREAM),
    ];
    let of_relu = RELU.iter().map(|&(file, group)| (file, group, true));
    let all = groups.into_iter().chain(more).map(|(file, group)| (file, group, false)).chain(of_relu);
    let written = all.flat_map(|(file, group, is_of_relu)| {
        group.iter().map(move |&(name, find, replace)| Mutant {
            name,
            file,
            find,
            replace,
            place: 0,
            is_of_relu,
        })
    });
    let left_out = ["sum.cuh", "baseline.cuh", "rows.cuh", "resident.cuh", "slab.cuh", "stream.cuh"]
        .into_iter()
        .flat_map(left_out);
    written.chain(left_out).collect()
}

/// What orders one thread's accesses before another's, or before the copy engine's.
const ORDERING: [(&str, &str); 8] = [
    ("a barrier is left out", " barrier();"),
    ("a barrier of the cluster is left out", " cluster_barrier();"),
    ("a barrier of the grid is left out", " grid_barrier(slab.scratch.gate);"),
    ("a barrier of the grid is left out", " grid_barrier(stream.gate);"),
    ("nobody waits for the tiles", " wait_for(&desk->arrival[tiles_so_far % 2], tiles_so_far / 2);"),
    ("what was written is not handed over", " hand_over();"),
    ("nobody waits for the copies in", " wait_for(arrival, 0);"),
    ("nobody waits for the copies out", " wait_for_copies_out();"),
];

fn left_out(file: &'static str) -> Vec<Mutant> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let text = fs::read_to_string(folder.join(file)).unwrap();
    let of_kind = |&(name, find): &(&'static str, &'static str)| {
        (0..text.matches(find).count()).map(move |place| Mutant {
            name,
            file,
            find,
            replace: " ;",
            place,
            is_of_relu: false,
        })
    };
    ORDERING.iter().flat_map(of_kind).collect()
}

/// What is wrong, and the text before and after.
type Change = (&'static str, &'static str, &'static str);

const SUM: &[Change] = &[
    ("a warp's sum ends one step early", "mask > 0", "mask > 1"),
    ("a warp's sum starts one step late", "WARP / 2", "WARP / 4"),
    (
        "a warp's pairs are taken in another order",
        "int mask = WARP / 2; mask > 0; mask /= 2",
        "int mask = 1; mask < WARP; mask *= 2",
    ),
    ("every lane tells the warp's total", "if (lane == 0) ", ""),
    ("one total too many", "lane < warps", "lane <= warps"),
    ("one total too few", "lane < warps", "lane < warps - 1"),
    ("the totals overlap", "totals + warp, value", "totals + warp / 2, value"),
    (
        "the totals are added in another order",
        "load_shared(totals + lane)",
        "load_shared(totals + (lane / 2 + lane % 2 * (warps / 2)))",
    ),
];

const CHANNEL: &[Change] = &[
    ("the slowest axis but one is taken for the slowest", "axis > 0", "axis > 1"),
    ("an axis is as long as its neighbour", "i / array.length[axis]", "i / array.length[axis - 1]"),
    (
        "the next channel starts one element late",
        "c * array.channel_stride",
        "c * (array.channel_stride + 1)",
    ),
];

const ELEMENT: &[Change] = &[
    ("rounded twice on the way to 16 bits", "return from_bits(bits_of(cut) | 1);", "return cut;"),
    ("bfloat16 is cut off", "odd == odd ? 0x7fff + (bits >> 16 & 1) : 0", "0"),
    ("bfloat16 rounds ties up", "0x7fff + (bits >> 16 & 1)", "0x8000"),
    (
        "NaN becomes an infinity in bfloat16",
        "if (odd != odd) to.bits |= 0x40;",
        "if (odd != odd) to.bits = 0x7f80;",
    ),
];

const FORMULAS: &[Change] = &[
    ("a parameter of the first channel serves all", "load(of + c)", "load(of)"),
    (
        "momentum weighs the old value",
        "(1.0 - momentum) * old + momentum * batch",
        "momentum * old + (1.0 - momentum) * batch",
    ),
    ("the running variance is the biased one", "(double)(a.count - 1)", "(double)a.count"),
    ("an empty batch is tracked", "a.running_mean && a.count > 0", "a.running_mean"),
    ("the statistics are saved for the next channel", "&saved[c].invstd, s", "&saved[c + 1].invstd, s"),
    ("grad_bias is grad_weight", "rounded<float>(sum)", "rounded<float>(dot)"),
    ("the gradient keeps its mean", "fused(-x_hat, slope, g - mean)", "fused(-x_hat, slope, g)"),
    ("the gradient keeps its slope", "fused(-x_hat, slope, g - mean)", "(g - mean)"),
    ("the gradient forgets the weight", "s.invstd * parameter(a.weight, c, 1.0)", "s.invstd"),
];

const BASELINE: &[Change] = &[
    (
        "the last value is left out",
        "i < count; i += threads()) sum +=",
        "i < count - 1; i += threads()) sum +=",
    ),
    (
        "the first value is left out",
        "long long i = thread(); i < count; i += threads()) sum",
        "long long i = thread() + 1; i < count; i += threads()) sum",
    ),
    ("no values have no mean", "count > 0 ? (double)count : 1.0", "(double)count"),
    ("eps is added outside the root", "1.0 / root(squares / n + eps)", "1.0 / (root(squares / n) + eps)"),
    ("the variance is the unbiased one", "root(squares / n + eps)", "root(squares / (n - 1) + eps)"),
    (
        "E[x²] − E[x]²",
        "double d = x.get(i) - mean;\n        squares = fused(d, d, squares);",
        "double d = x.get(i);\n        squares = fused(d, d, squares - mean * mean);",
    ),
    (
        "every thread updates the running statistics",
        "if (thread() == 0) remember(a, c, s, squares)",
        "remember(a, c, s, squares)",
    ),
    (
        "scaled before the mean is subtracted, in f32",
        "fused(x.get(i + lane) - s.mean, factor, bias)",
        "(float)(x.get(i + lane) * factor) + (float)(bias - s.mean * factor)",
    ),
    ("the bias is 1 where there is none", "parameter(a.bias, c, 0.0)", "parameter(a.bias, c, 1.0)"),
    ("every thread answers the sums", "if (thread() == 0) tell", "tell"),
    ("grad_weight is not scaled", "block_sum(dot, totals) * s.invstd", "block_sum(dot, totals)"),
    (
        "evaluation differentiates the batch's statistics",
        "baseline_backward<T, false>",
        "baseline_backward<T, true>",
    ),
    ("training differentiates constants", "baseline_backward<T, true>", "baseline_backward<T, false>"),
];

const ROWS: &[Change] = &[
    ("the end of a row is one late", "i >= spatial", "i > spatial"),
    ("a row is skipped", "                row++;\n", "                row += 2;\n"),
    ("rows are rounded down", "geometry.batch - part.rank + size - 1", "geometry.batch - part.rank"),
    (
        "blocks take neighbouring rows",
        "part.rank + (long long)row * part.size",
        "part.rank * part.rows + row",
    ),
    ("the last block is not added", "rank < cluster_size(); rank++", "rank < cluster_size() - 1; rank++"),
    (
        "blocks are added in another order",
        "load_remote(partial, rank)",
        "load_remote(partial, cluster_size() - 1 - rank)",
    ),
    ("each block keeps to itself", "load_remote(partial, rank)", "load_remote(partial, cluster_rank())"),
    (
        "warps are added in another order",
        "int w = channel; w < warps; w += group",
        "int w = warps - group + channel; w >= 0; w -= group",
    ),
    (
        "warps of another channel are added",
        "int w = channel; w < warps; w += group",
        "int w = channel; w < warps; w++",
    ),
    ("slabs overlap", "array * geometry.slab_bytes", "array * (geometry.slab_bytes - 16)"),
    ("a piece is taken for a row", "n - whole * g.pieces", "n % 2 * 0"),
];

const RESIDENT: &[Change] = &[
    ("both sums share a place", "part.sum(squares, 1)", "part.sum(squares, 0)"),
    ("more bytes are expected than come", "part.rows * bytes);", "part.rows * bytes + 16);"),
    ("fewer bytes are expected than come", "number_of(arrays) * part.rows * bytes", "part.rows * bytes - 16"),
    (
        "a row is not brought",
        "int row = thread(); row < part.rows; row += WARP) {\n            for",
        "int row = thread() + 1; row < part.rows; row += WARP) {\n            for",
    ),
    (
        "the last row is not sent",
        "int row = thread(); row < part.rows; row += WARP) {\n            copy_out",
        "int row = thread(); row < part.rows - 1; row += WARP) {\n            copy_out",
    ),
    (
        "every block tells",
        "part.first == 0 && part.rank == 0) remember(a, c, {",
        "part.first == 0) remember(a, c, {",
    ),
    ("every warp answers", "part.first == 0 && part.rank == 0) tell", "part.rank == 0) tell"),
    ("eps is forgotten", "squares / n + a.eps", "squares / n"),
    (
        "evaluation differentiates the batch's statistics",
        "resident_backward<T, false>",
        "resident_backward<T, true>",
    ),
    ("training differentiates constants", "resident_backward<T, true>", "resident_backward<T, false>"),
];

const SLAB: &[Change] = &[
    ("a thread of no team adds too", " || team() >= teams", ""),
    ("a channel too many", "if (c >= channels ||", "if (c > channels ||"),
    ("teams skip positions", "p += teams", "p += teams + 1"),
    ("a team is forgotten", "t < teams; t++", "t < teams - 1; t++"),
    (
        "teams are added in another order",
        "notes->of_thread + t * width",
        "notes->of_thread + (teams - 1 - t) * width",
    ),
    ("every team tells", "team() != 0 || c >= channels", "c >= channels"),
    ("blocks tell in one place", "(long long)c * blocks() + block()", "(long long)c * blocks()"),
    ("a block is forgotten", "b < blocks(); b += WARP", "b < blocks() - 1; b += WARP"),
    (
        "blocks are added in another order",
        "int b = thread() % WARP; b < blocks(); b += WARP",
        "int b = thread() % WARP * 2 % WARP + thread() % WARP / 16; b < blocks(); b += WARP",
    ),
    ("the last block is taken for a full one", "(int)(left < g.group ? left : g.group)", "(int)g.group"),
    (
        "every lane remembers",
        "        if (thread() % WARP != 0) return;\n        Statistics s",
        "        Statistics s",
    ),
    ("every lane answers", "        if (thread() % WARP != 0) return;\n        tell", "        tell"),
    (
        "means are not weighed",
        "fused(positions_of(a.geometry, b), slab.told(c, b, 0), sum)",
        "fused(a.geometry.group, slab.told(c, b, 0), sum)",
    ),
    ("means do not differ", "double d = slab.told(c, b, 0) - mean;", "double d = 0;"),
    (
        "the last bytes are not brought",
        "expect(arrival, number_of(arrays) * bytes);",
        "expect(arrival, number_of(arrays) * (bytes -= 16));",
    ),
    (
        "the slab is sent to its neighbour",
        "(T*)array.data + slab.first * slab.channels",
        "(T*)array.data + (slab.first + 1) * slab.channels",
    ),
    ("eps is forgotten", "squares / (double)a.count + a.eps", "squares / (double)a.count"),
    ("the bias is forgotten", "parameter(a.bias, c, 0.0)", "0.0"),
    (
        "deviations are not subtracted",
        "widen(load_shared(values + at)) - mean, dot)",
        "widen(load_shared(values + at)), dot)",
    ),
    ("evaluation differentiates the batch's statistics", "slab_backward<T, false>", "slab_backward<T, true>"),
    ("training differentiates constants", "slab_backward<T, true>", "slab_backward<T, false>"),
];

const STREAM: &[Change] = &[
    ("both tiles share a place", "(number % 2 * arrays + array)", "array"),
    ("the phase is not the tile's", "tiles_so_far / 2);", "0);"),
    (
        "the last unit is left out",
        "(units() - block() + blocks() - 1) / blocks()",
        "(units() - block()) / blocks()",
    ),
    ("the second pass skips a unit", "(forwards ? i : mine - 1 - i)", "(forwards ? i : mine - i)"),
    (
        "a unit is noted in one place",
        "2 * (unit * geometry.group + part.channel) + which, value",
        "2 * part.channel + which, value",
    ),
    ("pieces are forgotten", "u < first + splits", "u < first + splits - 1"),
    ("pieces of another group are added", "unit / splits * splits", "unit"),
    (
        "the last tile is taken for a full one",
        "left < geometry.tile_rows ? left : (int)geometry.tile_rows",
        "(int)geometry.tile_rows",
    ),
    ("rows of the next tile", "part, from + row), bytes, arrival", "part, from + row + 1), bytes, arrival"),
    ("the pivot is infinite", "first - first == 0 ? first : 0.0", "first"),
    ("no pivot, in one pass", "first - first == 0 ? first : 0.0", "0.0"),
    ("the pivot is not added again", "pivot_of(whole) + shift", "shift"),
    (
        "the shift is not taken off",
        "stream.noted(whole, unit, 1) - shift * shift * n",
        "stream.noted(whole, unit, 1)",
    ),
    ("every piece remembers", "whole.first == 0 && whole.rank == 0) remember", "whole.first == 0) remember"),
    ("grad_weight is not scaled", "stream.noted(whole, unit, 1) * s.invstd", "stream.noted(whole, unit, 1)"),
    (
        "the tile is sent to the unit's first rows",
        "part, from + row), (unsigned char*)",
        "part, row), (unsigned char*)",
    ),
    (
        "evaluation differentiates the batch's statistics",
        "stream_backward<T, false>",
        "stream_backward<T, true>",
    ),
    ("training differentiates constants", "stream_backward<T, true>", "stream_backward<T, false>"),
];

/// What shows only where there is a relu, by file.
const RELU: &[(&str, &[Change])] = &[
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
        "slab.cuh",
        &[
            (
                "the bits are those of the first block",
                "byte_of(mask, slab.first * slab.channels)",
                "byte_of(mask, 0)",
            ),
            ("the residual's gradient is forgotten", "if (a.grad_residual.data) send", "if (false) send"),
            ("the sums take g as it came", "gate(slab, gradients, a.mask);", ";"),
            (
                "the last bits are not noted",
                "note_bits(values, slab.positions * slab.channels",
                "note_bits(values, slab.positions * slab.channels - 8",
            ),
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
