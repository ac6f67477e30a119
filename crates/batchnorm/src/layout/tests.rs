use super::*;
use ndarray::{Array4, ArrayD, Axis, Slice};

/// (2, 19, 3, 5): more channels than a group, more positions than a lane row.
fn numbered() -> ArrayD<f64> {
    let shape = IxDyn(&[9, 19, 3, 5]);
    let count = shape.size();
    Array::from_iter((0..count).map(|v| v as f64)).into_shape_with_order(shape).unwrap()
}

/// The same logical values in every way of lying in memory.
fn layouts(values: &ArrayD<f64>) -> Vec<(&'static str, ArrayD<f64>)> {
    let relaid = |order: [usize; 4]| {
        let mut back = [0; 4];
        order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        let moved = values.view().permuted_axes(IxDyn(&order)).as_standard_layout().into_owned();
        moved.permuted_axes(IxDyn(&back))
    };
    let mut reversed = values.clone();
    reversed.invert_axis(Axis(2));
    let mut reversed = reversed.as_standard_layout().into_owned();
    reversed.invert_axis(Axis(2));
    vec![
        ("contiguous", values.clone()),
        ("channels last", relaid([0, 2, 3, 1])),
        ("spatial first", relaid([2, 3, 0, 1])),
        ("channels first", relaid([1, 3, 0, 2])),
        ("backwards", reversed),
    ]
}

fn read_all(view: ArrayViewD<'_, f64>) -> Vec<f64> {
    let (walk, source, mut tile) = (Walk::over(&view), Source::new(&view), BLANK);
    let mut read = Vec::new();
    for c in 0..view.shape()[1] {
        let group = walk.groups().find(|group| group.contains(&c)).unwrap();
        for piece in walk.pieces() {
            source.load(&group, &piece, &mut tile);
            read.extend_from_slice(&tile[c - group.start][..piece.len()]);
        }
    }
    read
}

#[test]
fn every_layout_is_read_in_logical_order() {
    let values = numbered();
    let logical: Vec<f64> =
        (0..19).flat_map(|c| values.index_axis(Axis(1), c).iter().copied().collect::<Vec<_>>()).collect();
    for (name, array) in layouts(&values) {
        assert_eq!(array, values, "{name}");
        assert_eq!(read_all(array.view()), logical, "{name}");
    }
    // Gaps between the elements: every other column of a wider array.
    let mut wide = ArrayD::from_elem(IxDyn(&[9, 19, 3, 10]), f64::NAN);
    wide.slice_axis_mut(Axis(3), Slice::new(0, None, 2)).assign(&values);
    assert_eq!(read_all(wide.slice_axis(Axis(3), Slice::new(0, None, 2))), logical);
}

#[test]
fn what_is_stored_in_any_layout_is_what_was_loaded_from_any_other() {
    let values = numbered();
    for (from_name, from) in layouts(&values) {
        for (to_name, mut to) in layouts(&values) {
            to.fill(f64::NAN);
            let (from, mut to_view) = (from.view(), to.view_mut());
            let (walk, source, mut tile) = (Walk::over(&from), Source::new(&from), BLANK);
            let mut sink = Sink::new(&mut to_view);
            for group in walk.groups() {
                for piece in walk.pieces() {
                    source.load(&group, &piece, &mut tile);
                    sink.store(&group, &piece, &tile);
                }
            }
            assert_eq!(to, values, "{from_name} to {to_name}");
        }
    }
}

/// (N, C), where the channels of a position are no neighbours either way round.
#[test]
fn matrices_are_read_in_logical_order_however_they_lie() {
    let values = ArrayD::from_shape_fn(IxDyn(&[9, 19]), |index| (index[0] * 19 + index[1]) as f64);
    let logical: Vec<f64> = values.t().iter().copied().collect();
    assert_eq!(read_all(values.view()), logical);
    let transposed = values.t().as_standard_layout().into_owned();
    assert_eq!(read_all(transposed.t()), logical);
}

/// Where the channels of a position lie side by side, they are read so.
#[test]
fn neighbouring_channels_are_walked_together() {
    let groups = |array: &ArrayD<f64>| Walk::over(&array.view()).groups().collect::<Vec<_>>();
    let alone: Vec<_> = (0..19).map(|c| c..c + 1).collect();
    let values = numbered();
    for (name, array) in layouts(&values) {
        let neighbours = ["channels last", "spatial first"].contains(&name);
        let expected = if neighbours { vec![0..16, 16..19] } else { alone.clone() };
        assert_eq!(groups(&array), expected, "{name}");
    }
    assert_eq!(groups(&ArrayD::zeros(IxDyn(&[9, 19]))), [0..16, 16..19]);
    // (N, C, 1): channels and positions are both neighbours of themselves.
    assert_eq!(groups(&ArrayD::zeros(IxDyn(&[9, 19, 1]))), alone);
}

/// Only where a gap or a backward stride leaves no other way are elements found
/// one by one.
#[test]
fn dense_memory_is_read_and_written_as_a_slice() {
    let values = numbered();
    for (name, mut array) in layouts(&values) {
        let dense = name != "backwards";
        assert_eq!(matches!(Source::new(&array.view()), Source::Dense(..)), dense, "{name}");
        assert_eq!(matches!(Sink::new(&mut array.view_mut()), Sink::Dense(..)), dense, "{name}");
    }
}

#[test]
fn axes_merge_where_one_stride_continues_the_other() {
    let axes = |shape: &[usize], strides: &[isize]| Positions::new(shape, strides).unwrap().axes().to_vec();
    assert_eq!(axes(&[2, 3, 4, 5], &[60, 20, 5, 1]), [(2, 60), (20, 1)]);
    assert_eq!(axes(&[2, 3, 4, 5], &[60, 1, 15, 3]), [(40, 3)]);
    assert_eq!(axes(&[7, 3], &[3, 1]), [(7, 3)]);
    assert_eq!(axes(&[1, 3, 1], &[3, 1, 1]), []);
    assert!(Positions::new(&[2, 3], &[-3, 1]).is_none());
}

#[test]
fn the_suggested_format_is_pytorchs() {
    use MemoryFormat::*;
    let suggested = MemoryFormat::suggested;
    assert_eq!(suggested(&[2, 3, 4, 5], &[60, 20, 5, 1]), Contiguous);
    assert_eq!(suggested(&[2, 3, 4, 5], &[60, 1, 15, 3]), ChannelsLast);
    assert_eq!(suggested(&[2, 3, 4, 5, 6], &[360, 1, 90, 18, 3]), ChannelsLast);
    // Cut out of a wider channels-last array, and out of a contiguous one.
    assert_eq!(suggested(&[2, 3, 4, 5], &[960, 1, 120, 6]), ChannelsLast);
    assert_eq!(suggested(&[2, 3, 4, 5], &[120, 40, 10, 2]), Contiguous);
    // One channel: the strides that `contiguous()` and `channels_last` give differ.
    assert_eq!(suggested(&[2, 1, 4, 5], &[20, 20, 5, 1]), Contiguous);
    assert_eq!(suggested(&[2, 1, 4, 5], &[20, 1, 5, 1]), ChannelsLast);
    // Both readings fit (N, 1, 1, 1): contiguous.
    assert_eq!(suggested(&[3, 1, 1, 1], &[1, 1, 1, 1]), Contiguous);
    // Lower ranks have no channels-last, whatever their strides.
    assert_eq!(suggested(&[2, 3, 4], &[12, 1, 3]), Contiguous);
    assert_eq!(suggested(&[0, 3, 4, 5], &[60, 1, 15, 3]), Contiguous);
}

#[test]
fn zeros_come_in_the_suggested_format() {
    let contiguous = Array4::<f32>::zeros((2, 3, 4, 5));
    assert_eq!(zeros_like(&contiguous.view()).strides(), contiguous.strides());
    let last = Array4::<f32>::zeros((2, 4, 5, 3)).permuted_axes([0, 3, 1, 2]);
    assert_eq!(zeros_like(&last.view()).shape(), [2, 3, 4, 5]);
    assert_eq!(zeros_like(&last.view()).strides(), last.strides());
    let transposed = Array4::<f32>::zeros((5, 4, 3, 2)).reversed_axes();
    assert_eq!(zeros_like(&transposed.view()).strides(), contiguous.strides());
}
