//! The second gradients are those of S = Σ u·grad_input + Σ v·grad_weight +
//! Σ t·grad_bias, by central differences of the first.
//!
//! D(h) = (S(x + h) − S(x − h))/2h is off by c₂h² + c₄h⁴ + …, so
//! R = (4·D(h/2) − D(h))/3 is off by about c₄h⁴/4, and D(h) − D(h/2) is ¾·c₂h².
//! With h = 2⁻¹⁰ the error of R is some h² of that difference; 2⁻⁸ of it leaves
//! room for a c₄ thousands of times c₂. Where c₂ happens to be 0, what
//! remains is c₄h⁴, below 2⁻³⁰ of the terms, and rounding: S is within 2⁻⁴⁶ of its
//! terms' magnitudes (see `properties`), divided by h: 2⁻³⁵.

use batchnorm::{BatchNorm, Config, OutputMask, Saved, State};
use ndarray::{Array1, Array2};

const H: f64 = 1.0 / 1024.0;

/// Multiples of 1/64 below 2, no two rows alike.
fn values(seed: u32, rows: usize, columns: usize) -> Array2<f64> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    Array2::from_shape_simple_fn((rows, columns), || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state % 257) / 64.0 - 2.0
    })
}

#[derive(Clone)]
struct Question {
    training: bool,
    x: Array2<f64>,
    g: Array2<f64>,
    w: Option<Array1<f64>>,
    b: Option<Array1<f64>>,
    u: Array2<f64>,
    v: Array1<f64>,
    t: Array1<f64>,
}

impl Question {
    fn new(training: bool, weight: bool, bias: bool) -> Self {
        let row = |seed| values(seed, 1, 3).row(0).to_owned();
        Question {
            training,
            x: values(1, 5, 3),
            g: values(2, 5, 3),
            w: weight.then(|| row(3) + 2.5),
            b: bias.then(|| row(4)),
            u: values(5, 5, 3),
            v: row(6),
            t: row(7),
        }
    }

    fn saved(&self) -> Saved<f64> {
        let mut layer = BatchNorm::<f64>::new(Config { eps: 0.125, ..Config::new(3) });
        *layer.state_mut() = State {
            weight: self.w.clone(),
            bias: self.b.clone(),
            running_mean: Some(Array1::from(vec![0.5, -0.25, 0.125])),
            running_var: Some(Array1::from(vec![1.5, 0.5, 2.0])),
            num_batches_tracked: None,
        };
        layer.set_training(self.training);
        layer.forward(self.x.view()).unwrap().1
    }

    /// S, and the sum of its terms' magnitudes.
    fn s(&self) -> (f64, f64) {
        let first = self.saved().backward(self.x.view(), self.g.view(), OutputMask::ALL).unwrap();
        let mut terms = (&self.u * &first.input.unwrap()).into_iter().collect::<Vec<_>>();
        terms.extend(first.weight.iter().flat_map(|weight| &self.v * weight));
        terms.extend(first.bias.iter().flat_map(|bias| &self.t * bias));
        (terms.iter().sum(), terms.iter().map(|term| term.abs()).sum())
    }

    fn check(&self, name: &str, got: f64, nudge: impl Fn(&mut Question, f64)) {
        let s = |by: f64| {
            let mut nudged = self.clone();
            nudge(&mut nudged, by);
            nudged.s().0
        };
        let difference = |h: f64| (s(h) - s(-h)) / (2.0 * h);
        let (whole, half) = (difference(H), difference(H / 2.0));
        let expected = (4.0 * half - whole) / 3.0;
        let bound = (whole - half).abs() * 2f64.powi(-8) + self.s().1 * (2f64.powi(-30) + 2f64.powi(-35));
        assert!((got - expected).abs() <= bound, "{name}: {got:e} for {expected:e}, allowed {bound:e}");
    }
}

#[test]
fn second_gradients_are_the_differences_of_the_first() {
    for training in [true, false] {
        for (weight, bias) in [(true, true), (true, false), (false, true), (false, false)] {
            let question = Question::new(training, weight, bias);
            let (x, g, u) = (question.x.view(), question.g.view(), question.u.view());
            let (v, t) = (question.v.view(), question.t.view());
            let second = question.saved().double_backward(x, g, Some(u), Some(v), Some(t)).unwrap();
            let name = |of: &str| format!("{of}, training {training}, weight {weight}, bias {bias}");
            for (index, &got) in second.grad_output.indexed_iter() {
                question.check(&name("grad_output"), got, |q, by| q.g[index] += by);
            }
            for (index, &got) in second.input.indexed_iter() {
                question.check(&name("input"), got, |q, by| q.x[index] += by);
            }
            assert_eq!(second.weight.is_some(), weight);
            for (c, &got) in second.weight.iter().flatten().enumerate() {
                question.check(&name("weight"), got, |q, by| q.w.as_mut().unwrap()[c] += by);
            }
        }
    }
}

/// The first gradients likewise: S = Σ g·y, by differences of the output.
#[test]
fn first_gradients_are_the_differences_of_the_output() {
    for training in [true, false] {
        let question = Question::new(training, true, true);
        let first = question.saved().backward(question.x.view(), question.g.view(), OutputMask::ALL).unwrap();
        let loss = |x: &Array2<f64>| {
            let mut layer = BatchNorm::<f64>::new(Config { eps: 0.125, ..Config::new(3) });
            *layer.state_mut() = State {
                weight: question.w.clone(),
                bias: question.b.clone(),
                running_mean: Some(Array1::from(vec![0.5, -0.25, 0.125])),
                running_var: Some(Array1::from(vec![1.5, 0.5, 2.0])),
                num_batches_tracked: None,
            };
            layer.set_training(training);
            (&question.g * &layer.forward(x.view()).unwrap().0).sum()
        };
        let size = question.g.mapv(f64::abs).sum() * 16.0; // |y| < 16
        for (index, &got) in first.input.unwrap().indexed_iter() {
            let difference = |h: f64| {
                let at = |by: f64| {
                    let mut x = question.x.clone();
                    x[index] += by;
                    loss(&x)
                };
                (at(h) - at(-h)) / (2.0 * h)
            };
            let (whole, half) = (difference(H), difference(H / 2.0));
            let bound = (whole - half).abs() * 2f64.powi(-8) + size * (2f64.powi(-30) + 2f64.powi(-35));
            let expected = (4.0 * half - whole) / 3.0;
            assert!((got - expected).abs() <= bound, "training {training}: {got:e} for {expected:e}");
        }
    }
}

/// ∂S/∂w = A/σ, A = Σ (u − ū)(g − ḡ − x̂·mean(g·x̂)). Without the means A would be the
/// same in exact arithmetic, since the other factor sums to 0; in f64 it would not.
/// Every difference and product here is exact: x̂ = ±½, the rest is in units of 2⁻¹²,
/// and Σ u·x̂ = 0.
#[test]
fn a_constant_in_the_gradients_is_taken_off_before_they_are_multiplied() {
    let (g, u) = (
        [1_000_003.0, -2_000_029.0, 3_000_017.0, -1_999_991.0],
        [777_777.0, -777_777.0, 333_331.0, -333_331.0],
    );
    let total: f64 = g.iter().zip(u).map(|(g, u)| g * u).sum();
    let expected = total * 2f64.powi(-24) / 2.0;
    let column =
        |values: [f64; 4], by: f64| Array2::from_shape_fn((4, 1), |(row, _)| values[row] / 4096.0 + by);
    let x = Array2::from_shape_vec((4, 1), vec![1.0, 1.0, -1.0, -1.0]).unwrap();
    let saved = BatchNorm::<f64>::new(Config { eps: 3.0, ..Config::new(1) }).forward(x.view()).unwrap().1;
    let far = 2f64.powi(40);
    for (of_g, of_u) in [(0.0, 0.0), (far, 0.0), (0.0, far), (far, far)] {
        let (g, u) = (column(g, of_g), column(u, of_u));
        let second = saved.double_backward(x.view(), g.view(), Some(u.view()), None, None).unwrap();
        assert_eq!(second.weight.unwrap()[0], expected, "g + {of_g}, u + {of_u}");
    }
}
