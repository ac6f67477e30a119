use super::*;
use crate::catalogue;

fn expected(name: &str) -> Vec<Expected> {
    let entry = catalogue::all().into_iter().find(|entry| entry.case.name == name);
    solve(&entry.expect("a case of the catalogue").case)
}

/// Worked by hand: columns 1 2 3, 2 3 4, …: mean k + 1, biased variance 2/3.
#[test]
fn the_three_by_four_example() {
    let steps = expected("documents/three-by-four");
    let field = |field| steps[0].fields[&field].value.data.clone();
    let edge = 1.0 / (2.0_f64 / 3.0 + 1e-5).sqrt();
    let row = |value: f64| vec![f64::from(value as f32); 4];
    assert_eq!(field(Field::Output), [row(-edge), row(0.0), row(edge)].concat());
    assert_eq!(field(Field::RunningVar), row(1.0));
    let means: Vec<f64> = [0.2_f32, 0.3, 0.4, 0.5].into_iter().map(f64::from).collect();
    assert_eq!(field(Field::RunningMean), means);
    assert_eq!(steps[0].num_batches_tracked, Some(1));
}

#[test]
fn bounds_are_rounded_up_to_three_digits() {
    for bound in [1.0, 1.001, 9.999e-8, 5e-324, 1.234567e300, 2.5e-10] {
        let shown = three_digits_up(bound);
        assert!(shown >= bound && shown <= bound * 1.011 || bound == 5e-324, "{bound:e} became {shown:e}");
    }
    assert_eq!(three_digits_up(0.0), 0.0);
}
