//! A folded map does what the map and the batch norm after it did.
//!
//! Running variances and weights are powers of 2 and all values small integers,
//! so every number is exact and the two must be equal.

use batchnorm::{BatchNorm, Config, Map, Rank, State};
use ndarray::{Array1, Array2, ArrayD, Axis, IxDyn};

/// W with kernel extent 1, as the matrix (out, in) that it is, groups and all.
fn matrix(map: Map, weight: &ArrayD<f64>) -> Array2<f64> {
    let (rows, columns) = (weight.shape()[0], weight.shape()[1]);
    let at = |i: usize, j: usize| weight.index_axis(Axis(0), i).index_axis(Axis(0), j).sum();
    match map {
        Map::Linear => Array2::from_shape_fn((rows, columns), |(o, i)| at(o, i)),
        Map::Conv { groups } => Array2::from_shape_fn((rows, columns * groups), |(o, i)| {
            let group = o / (rows / groups);
            if i / columns == group { at(o, i % columns) } else { 0.0 }
        }),
        Map::ConvTranspose { groups } => Array2::from_shape_fn((columns * groups, rows), |(o, i)| {
            let group = i / (rows / groups);
            if o / columns == group { at(i, o % columns) } else { 0.0 }
        }),
    }
}

#[test]
fn a_folded_map_is_the_map_and_the_batch_norm_after_it() {
    for (map, shape) in [
        (Map::Linear, vec![4, 6]),
        (Map::Conv { groups: 1 }, vec![4, 6, 1]),
        (Map::Conv { groups: 2 }, vec![4, 3, 1, 1]),
        (Map::ConvTranspose { groups: 1 }, vec![6, 4, 1]),
        (Map::ConvTranspose { groups: 2 }, vec![6, 2, 1, 1]),
    ] {
        let mut next = 0;
        let weight = ArrayD::from_shape_simple_fn(IxDyn(&shape), || {
            next = (next * 5 + 3) % 17;
            f64::from(next - 8)
        });
        for (has_map_bias, has_weight, has_bias) in
            [(true, true, true), (false, true, false), (true, false, true)]
        {
            let config = Config { eps: 0.25, weight: has_weight, bias: has_bias, ..Config::new(4) };
            let state = State {
                weight: has_weight.then(|| Array1::from(vec![2.0, -1.0, 4.0, 0.5])),
                bias: has_bias.then(|| Array1::from(vec![1.0, 2.0, -3.0, 5.0])),
                running_mean: Some(Array1::from(vec![3.0, -2.0, 7.0, 1.0])),
                running_var: Some(Array1::from(vec![0.0, 0.75, 3.75, 15.75])),
                num_batches_tracked: None,
            };
            let mut layer = BatchNorm::from_state(Rank::Any, config, state);
            layer.eval();
            let map_bias = has_map_bias.then(|| Array1::from(vec![4.0, 3.0, 2.0, 1.0]));
            let (folded, folded_bias) =
                layer.fold(map, weight.view(), map_bias.as_ref().map(|bias| bias.view())).unwrap();
            let x = Array2::from_shape_fn((6, 3), |(i, k)| (i * 5 + k * 7 % 4) as f64 - 9.0);
            let mut y = matrix(map, &weight).dot(&x);
            if let Some(bias) = map_bias {
                y += &bias.insert_axis(Axis(1));
            }
            let (expected, _) = layer.forward(y.t()).unwrap();
            let got = matrix(map, &folded).dot(&x) + folded_bias.insert_axis(Axis(1));
            assert_eq!(got.t(), expected, "{map:?}, bias {has_map_bias}");
        }
    }
}
