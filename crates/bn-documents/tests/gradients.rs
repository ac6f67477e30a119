//! Every layer's and loss's gradients are the derivatives of what it computes.
//!
//! By central differences D(h) = (f(θ + h) − f(θ − h))/2h: D₄ = (4D(h/2) − D(h))/3 is off by order
//! h⁴, which |D₄ − D(h/2)| bounds with room to spare; the objective's rounding adds 3E/h. The
//! objective is Σ g·output with uneven g: of a plain sum batch norm's gradient would be 0.

use bn_documents::layers::{BatchNorm, Conv2d, Flatten, Labml, Layer, Linear, MaxPool2d, Mode, Relu, Slot};
use bn_documents::loss::{Target, loss};
use ndarray::{ArrayD, IxDyn};

const H: f64 = 1.0 / 1024.0;

struct Chance(fastrand::Rng);

impl Chance {
    fn array(&mut self, shape: &[usize]) -> ArrayD<f64> {
        ArrayD::from_shape_simple_fn(IxDyn(shape), || 2.0 * self.0.f64() - 1.0)
    }
}

/// The derivative of `f` by a number whose change it is told, with what D₄ may be off.
fn derivative(mut f: impl FnMut(f64) -> (f64, f64)) -> (f64, f64) {
    let mut rounding = 0.0_f64;
    let mut difference = |h: f64| {
        let (high, low) = (f(h), f(-h));
        rounding = rounding.max(high.1).max(low.1);
        (high.0 - low.0) / (2.0 * h)
    };
    let (wide, narrow) = (difference(H), difference(H / 2.0));
    let fourth = (4.0 * narrow - wide) / 3.0;
    (fourth, (fourth - narrow).abs() + 3.0 * rounding / H)
}

fn near(what: &str, answered: f64, (numerical, tolerance): (f64, f64)) -> bool {
    assert!((answered - numerical).abs() <= tolerance, "{what}: {answered} for {numerical} ± {tolerance:e}");
    numerical.abs() > 10.0 * tolerance
}

/// Σ g·output, and what its rounding may be: `terms` products and sums behind each output.
fn objective(layer: &mut dyn Layer<f64>, input: &ArrayD<f64>, g: &ArrayD<f64>, terms: f64) -> (f64, f64) {
    let output = layer.forward(input.clone(), Mode::Train).unwrap();
    let most: f64 = (&output * g).mapv(f64::abs).sum();
    ((&output * g).sum(), terms * f64::EPSILON * (most + g.mapv(f64::abs).sum()))
}

/// Moves one number of the layer: of its first parameter, or of its second.
fn nudge(layer: &mut dyn Layer<f64>, parameter: usize, place: usize, by: f64) {
    if let Slot::Parameter { mut value, .. } = layer.slots().swap_remove(parameter).1 {
        *value.iter_mut().nth(place).unwrap() += by;
    }
}

fn check(name: &str, mut make: impl FnMut() -> Box<dyn Layer<f64>>, shape: &[usize], terms: f64) {
    let mut chance = Chance(fastrand::Rng::with_seed(5));
    let mut layer = make();
    for (_, slot) in layer.slots() {
        if let Slot::Parameter { mut value, .. } = slot {
            let shape = value.shape().to_vec();
            value.assign(&chance.array(&shape));
        }
    }
    let input = chance.array(shape) * 3.0;
    let output = layer.forward(input.clone(), Mode::Train).unwrap();
    let g = chance.array(output.shape());
    let grad_input = layer.backward(g.clone()).unwrap();
    assert_eq!(grad_input.shape(), input.shape());
    let (mut compared, mut telling) = (0, 0);
    for (place, &answered) in grad_input.iter().enumerate() {
        let numerical = derivative(|h| {
            let mut moved = input.clone();
            *moved.iter_mut().nth(place).unwrap() += h;
            objective(&mut *layer, &moved, &g, terms)
        });
        telling += usize::from(near(&format!("{name}: grad_input[{place}]"), answered, numerical));
        compared += usize::from(answered != 0.0);
    }
    layer.forward(input.clone(), Mode::Train).unwrap();
    layer.backward(g.clone()).unwrap();
    let gradients = layer.slots().into_iter().filter_map(|(of, slot)| match slot {
        Slot::Parameter { grad, .. } => Some((of, grad.to_owned())),
        _ => None,
    });
    for (parameter, (of, gradient)) in gradients.collect::<Vec<_>>().into_iter().enumerate() {
        for (place, &answered) in gradient.iter().enumerate() {
            let numerical = derivative(|h| {
                nudge(&mut *layer, parameter, place, h);
                let value = objective(&mut *layer, &input, &g, terms);
                nudge(&mut *layer, parameter, place, -h);
                value
            });
            telling += usize::from(near(&format!("{name}: {of}.grad[{place}]"), answered, numerical));
            compared += usize::from(answered != 0.0);
        }
    }
    assert!(
        telling > 2 && telling * 3 > compared,
        "{name}: only {telling} of {compared} derivatives stand out"
    );
}

#[test]
fn of_every_layer() {
    check("linear", || Box::new(Linear::new(5, 3, true)), &[4, 5], 16.0);
    check("linear without bias", || Box::new(Linear::new(5, 3, false)), &[4, 5], 16.0);
    check("convolution", || Box::new(Conv2d::new(2, 3, 3, 1, true)), &[2, 2, 4, 5], 60.0);
    check("convolution of 5×5", || Box::new(Conv2d::new(1, 2, 5, 0, false)), &[2, 1, 6, 7], 60.0);
    check("convolution of 2×2", || Box::new(Conv2d::new(2, 2, 2, 2, true)), &[1, 2, 3, 3], 40.0);
    check("batch norm", || Box::new(BatchNorm::new(3)), &[6, 3], 400.0);
    check("batch norm of images", || Box::new(BatchNorm::new(2)), &[3, 2, 2, 2], 400.0);
    check("labml's", || Box::new(Labml::new(2)), &[3, 2, 2, 2], 400.0);
    check("flatten", || Box::new(Flatten::default()), &[2, 3, 2, 2], 4.0);
    // No number is so near a kink that a step of H crosses it: the seed is fixed.
    check("relu", || Box::new(Relu::default()), &[5, 4], 4.0);
    check("max-pool", || Box::new(MaxPool2d::new(2)), &[2, 2, 5, 4], 4.0);
    check("max-pool of 3×3", || Box::new(MaxPool2d::new(3)), &[1, 2, 7, 6], 4.0);
}

#[test]
fn of_both_losses() {
    let mut chance = Chance(fastrand::Rng::with_seed(6));
    let binary = Target::Binary(vec![0.0, 1.0, 1.0, 0.25]);
    let classes = Target::Class(vec![2, 0, 1, 1]);
    for (shape, target) in [([4, 1], binary), ([4, 3], classes)] {
        let logits = chance.array(&shape) * 4.0;
        let (_, gradient) = loss(&logits, &target).unwrap();
        let mut telling = 0;
        for (place, &answered) in gradient.iter().enumerate() {
            let numerical = derivative(|h| {
                let mut moved = logits.clone();
                *moved.iter_mut().nth(place).unwrap() += h;
                let value = loss(&moved, &target).unwrap().0;
                (value, 40.0 * f64::EPSILON * (value.abs() + 8.0))
            });
            telling += usize::from(near(&format!("{target:?}[{place}]"), answered, numerical));
        }
        assert_eq!(telling, gradient.len());
    }
}

#[test]
fn extreme_logits_have_finite_losses() {
    let logits = ndarray::array![[1000.0_f32], [-1000.0], [1000.0]].into_dyn();
    let (value, gradient) = loss(&logits, &Target::Binary(vec![1.0, 0.0, 0.0])).unwrap();
    assert_eq!((value, gradient.as_slice().unwrap()), (1000.0 / 3.0, &[0.0, 0.0, 1.0 / 3.0][..]));
    let logits = ndarray::array![[1000.0_f32, -1000.0], [1000.0, -1000.0]].into_dyn();
    let (value, _) = loss(&logits, &Target::Class(vec![0, 1])).unwrap();
    assert_eq!(value, 1000.0);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let image = ArrayD::<f64>::zeros(IxDyn(&[1, 3, 2, 8]));
    let refused = |layer: &mut dyn Layer<f64>, input: &ArrayD<f64>| {
        layer.forward(input.clone(), Mode::Train).unwrap_err().to_string()
    };
    let mut conv = Conv2d::new(3, 4, 5, 1, true);
    assert_eq!(
        refused(&mut conv, &image),
        "Conv2d(3, 4, kernel_size=5, padding=1, bias=true): expected an input of shape (N, 3, H, W) with H and W \
         of at least 3, got [1, 3, 2, 8]"
    );
    assert!(refused(&mut Linear::new(5, 2, true), &image).contains("expected an input of shape (N, 5), got"));
    assert!(refused(&mut MaxPool2d::new(3), &image).contains("H and W of at least 3, got [1, 3, 2, 8]"));
    for mut nothing in
        [Box::new(MaxPool2d::new(0)) as Box<dyn Layer<f64>>, Box::new(Conv2d::new(3, 1, 0, 0, false))]
    {
        assert!(refused(&mut *nothing, &image).contains("expected an input"));
    }
    assert!(refused(&mut BatchNorm::new(4), &image).contains("BatchNorm(4"));
    assert!(refused(&mut Labml::new(4), &image).contains("(N, 4, *), got [1, 3, 2, 8]"));
    assert!(refused(&mut Flatten::default(), &ArrayD::zeros(IxDyn(&[]))).contains("(N, *)"));
    let mut relu = Relu::default();
    assert!(relu.backward(image.clone()).unwrap_err().to_string().contains("needs a forward pass"));
    relu.forward(image.clone(), Mode::Train).unwrap();
    let other = ArrayD::zeros(IxDyn(&[1, 3, 2, 7]));
    assert!(relu.backward(other).unwrap_err().to_string().contains("[1, 3, 2, 8], got [1, 3, 2, 7]"));
    for (shape, target) in [
        (&[2, 1][..], Target::Binary(vec![1.0])),
        (&[1, 2], Target::Binary(vec![1.0])),
        (&[1, 2], Target::Class(vec![2])),
        (&[0, 2], Target::Class(vec![])),
        (&[2], Target::Class(vec![0, 1])),
    ] {
        let error = loss(&ArrayD::<f64>::zeros(IxDyn(shape)), &target).unwrap_err();
        assert!(error.to_string().contains("logits"), "{error}");
    }
}
