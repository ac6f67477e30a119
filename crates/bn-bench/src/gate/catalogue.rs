//! What the gate times: a short list over operations, layouts and dtypes, of calls that
//! last from 0.03 to 1 ms on one core.

use bn_driver::axes::{DType, Layout, Op};
use bn_driver::protocol::Row;

use crate::networks::shape_name;

/// A row of the gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What is timed.
    pub row: Row,
    /// Whether a slowdown of 5 % is promised to be found: of rows that stay in a core's
    /// own caches, whose time hangs on nothing but the code. scripts/gate-power keeps
    /// the promise under watch.
    pub promises: bool,
}

/// `forward-train/f32/contiguous/1 16x16x32x32`.
pub fn name(row: &Row) -> String {
    let Row { shape, dtype, layout, op, threads } = row;
    format!("{op}/{dtype}/{layout}/{threads} {}", shape_name(shape))
}

/// All of them.
pub fn catalogue() -> Vec<Entry> {
    use DType::{Bf16, F32, F64};
    use Layout::{ChannelsLast, Contiguous};
    use Op::{BackwardTrain, ForwardEval, ForwardTrain};
    let entry = |promises, op, dtype, layout, shape: &[usize], threads| Entry {
        row: Row { shape: shape.into(), dtype, layout, op, threads },
        promises,
    };
    vec![
        entry(true, ForwardTrain, F32, Contiguous, &[16, 32, 16, 16], 1),
        entry(true, ForwardTrain, F32, ChannelsLast, &[16, 32, 16, 16], 1),
        entry(true, BackwardTrain, F32, Contiguous, &[16, 32, 16, 16], 1),
        entry(true, BackwardTrain, F64, ChannelsLast, &[8, 32, 14, 14], 1),
        entry(false, ForwardTrain, Bf16, Contiguous, &[32, 64, 14, 14], 1),
        entry(false, ForwardEval, F32, Contiguous, &[32, 128, 14, 14], 1),
        entry(false, BackwardTrain, F32, ChannelsLast, &[32, 128, 14, 14], 1),
        entry(false, ForwardTrain, F32, Contiguous, &[32, 32, 28, 28], 2),
    ]
}

/// Rows for counting instructions, which are emulated: a few thousand values each.
pub fn counted() -> Vec<Row> {
    use DType::{Bf16, F32, F64};
    use Layout::{ChannelsLast, Contiguous};
    use Op::{BackwardTrain, ForwardEval, ForwardTrain};
    [
        (ForwardTrain, F32, Contiguous),
        (ForwardTrain, F32, ChannelsLast),
        (ForwardEval, F32, Contiguous),
        (BackwardTrain, F32, Contiguous),
        (BackwardTrain, F64, ChannelsLast),
        (ForwardTrain, Bf16, Contiguous),
    ]
    .map(|(op, dtype, layout)| Row { shape: vec![4, 16, 7, 7], dtype, layout, op, threads: 1 })
    .into()
}
