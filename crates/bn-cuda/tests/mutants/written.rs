//! Changes by file: what is wrong, and the text before and after.

/// What is wrong, and the text before and after.
pub type Change = (&'static str, &'static str, &'static str);

pub const SUM: &[Change] = &[
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

pub const CHANNEL: &[Change] = &[
    ("the slowest axis but one is taken for the slowest", "axis > 0", "axis > 1"),
    ("an axis is as long as its neighbour", "i / array.length[axis]", "i / array.length[axis - 1]"),
    (
        "the next channel starts one element late",
        "c * array.channel_stride",
        "c * (array.channel_stride + 1)",
    ),
];

pub const ELEMENT: &[Change] = &[
    ("rounded twice on the way to 16 bits", "return from_bits(bits_of(cut) | 1);", "return cut;"),
    ("bfloat16 is cut off", "odd == odd ? 0x7fff + (bits >> 16 & 1) : 0", "0"),
    ("bfloat16 rounds ties up", "0x7fff + (bits >> 16 & 1)", "0x8000"),
    (
        "NaN becomes an infinity in bfloat16",
        "if (odd != odd) to.bits |= 0x40;",
        "if (odd != odd) to.bits = 0x7f80;",
    ),
];

pub const FORMULAS: &[Change] = &[
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

pub const BASELINE: &[Change] = &[
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

pub const ROWS: &[Change] = &[
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

pub const RESIDENT: &[Change] = &[
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

pub const COLUMNS: &[Change] = &[
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
    ("the last block is taken for a full one", "(int)(left < g.group ? left : g.group)", "(int)g.group"),
    (
        "the slab is sent to its neighbour",
        "(T*)array.data + slab.first * slab.channels",
        "(T*)array.data + (slab.first + 1) * slab.channels",
    ),
];

pub const SLAB: &[Change] = &[
    ("a block is forgotten", "b < blocks(); b += WARP", "b < blocks() - 1; b += WARP"),
    (
        "blocks are added in another order",
        "int b = thread() % WARP; b < blocks(); b += WARP",
        "int b = thread() % WARP * 2 % WARP + thread() % WARP / 16; b < blocks(); b += WARP",
    ),
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

pub const STREAM: &[Change] = &[
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

pub const STRIP: &[Change] = &[
    ("both tiles share a place", "(number % 2 * arrays + array)", "array"),
    ("the phase is not the tile's", "tiles_so_far / 2);", "0);"),
    ("the last tile is left out", "(whole.positions + size - 1) / size", "whole.positions / size"),
    ("the second pass is one tile late", "tiles - 1 - i", "tiles - i"),
    (
        "the last tile is taken for a full one",
        "left < geometry.tile_rows ? left : (int)geometry.tile_rows",
        "(int)geometry.tile_rows",
    ),
    ("every tile is the first", "tile.first = whole.first + from", "tile.first = whole.first"),
    ("both totals share a place", "* 2 + which)", "* 2)"),
    ("channels of a thread share their totals", "((c / whole.width) * 2 + which)", "(which)"),
    (
        "totals are of the last tile alone",
        "double first = load_shared(total(c, 0)), second",
        "double first = 0, second",
    ),
    (
        "totals are not cleared",
        "    strip.clear();\n    strip.each_tile(true, {&a.input}",
        "    strip.each_tile(true, {&a.input}",
    ),
    ("a block is forgotten", "b < blocks(); b += WARP", "b < blocks() - 1; b += WARP"),
    (
        "blocks are added in another order",
        "int b = thread() % WARP; b < blocks(); b += WARP",
        "int b = thread() % WARP * 2 % WARP + thread() % WARP / 16; b < blocks(); b += WARP",
    ),
    ("every lane answers", "if (thread() % WARP == 0) combine", "combine"),
    ("the pivot is infinite", "first - first == 0 ? first : 0.0", "first"),
    ("no pivot, in one pass", "first - first == 0 ? first : 0.0", "0.0"),
    ("the pivot is not added again", "pivot_of(c) + shift", "shift"),
    ("the shift is not taken off", "        squares -= shift * shift * n;\n", ""),
    ("eps is forgotten", "squares / n + a.eps", "squares / n"),
    ("the bias is forgotten", "parameter(a.bias, c, 0.0)", "0.0"),
    ("grad_weight is not scaled", "        dot *= load(&a.saved[c].invstd);\n", ""),
    (
        "evaluation differentiates the batch's statistics",
        "strip_backward<T, false>",
        "strip_backward<T, true>",
    ),
    ("training differentiates constants", "strip_backward<T, true>", "strip_backward<T, false>"),
];
