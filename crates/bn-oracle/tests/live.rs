//! libtorch, live, against the truth.

mod limits;
mod random;

use bn_oracle::LibtorchEngine;
use bn_suite::engine::Engine;
use bn_suite::golden::{Expected, ExpectedField};
use bn_suite::outcome::Outcome;
use bn_suite::tensor::{Layout, Tensor};
use bn_suite::truth;

fn field_problem(like: bool, got: &Tensor, want: &ExpectedField) -> Option<String> {
    if (got.dtype, &got.shape) != (want.value.dtype, &want.value.shape) {
        return Some(format!(
            "{:?}{:?} for {:?}{:?}",
            got.dtype, got.shape, want.value.dtype, want.value.shape
        ));
    }
    if like && !matches!(want.value.layout, Layout::Strided { .. }) && got.layout != want.value.layout {
        return Some(format!("layout {:?} for {:?}", got.layout, want.value.layout));
    }
    for (i, ((g, w), a)) in got.data.iter().zip(&want.value.data).zip(&want.allowance).enumerate() {
        let fine = g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= *a;
        if !fine {
            return Some(format!("[{i}] got {g:?} want {w:?} allowance {a:e} ratio {}", (g - w).abs() / a));
        }
    }
    None
}

fn problem(got: &Outcome, want: &Expected) -> Option<String> {
    if got.refused.as_ref().map(|r| r.kind) != want.refused {
        return Some(format!("refused {:?} for {:?}", got.refused, want.refused));
    }
    if got.num_batches_tracked != want.num_batches_tracked {
        return Some(format!("counter {:?} for {:?}", got.num_batches_tracked, want.num_batches_tracked));
    }
    let (g, w): (Vec<_>, Vec<_>) = (got.fields.keys().collect(), want.fields.keys().collect());
    if g != w {
        return Some(format!("fields {g:?} for {w:?}"));
    }
    got.fields.iter().find_map(|(f, t)| field_problem(matches!(f, bn_suite::outcome::Field::Output | bn_suite::outcome::Field::GradInput), t, &want.fields[f]).map(|p| format!("{f}: {p}")))
}

fn describe(case: &bn_suite::case::Case, at: usize) -> String {
    use bn_suite::case::Step;
    let s = &case.state;
    let d =
        |t: &Option<Tensor>| t.as_ref().map_or("-".into(), |t| format!("{}{:?}", t.dtype.name(), t.shape));
    let mut out = format!(
        "w={} b={} rm={} rv={} track={} C={} eps={} ",
        d(&s.weight),
        d(&s.bias),
        d(&s.running_mean),
        d(&s.running_var),
        case.layer.track_running_stats,
        case.layer.num_features,
        case.layer.eps
    );
    for (i, step) in case.steps.iter().enumerate() {
        let mark = if i == at { "*" } else { "" };
        out += &match step {
            Step::BatchNorm(p) => format!(
                "{mark}[{:?} {}{:?} {:?} g={} {} mask={:?} cot={}]",
                p.mode,
                p.input.dtype.name(),
                p.input.shape,
                p.input.layout,
                p.grad_output.as_ref().map_or("-".into(), |g| format!("{:?}{:?}", g.shape, g.layout)),
                if p.backward_at_end { "END" } else { "" },
                p.output_mask.map(|m| (m.input, m.weight, m.bias)),
                p.cotangents.as_ref().map_or("-".into(), |c| format!(
                    "u{} v{} t{}",
                    c.grad_input.is_some() as u8,
                    c.grad_weight.is_some() as u8,
                    c.grad_bias.is_some() as u8
                ))
            ),
            Step::Reset { what } => format!("{mark}[{what:?}]"),
            Step::Fold(f) => format!("{mark}[fold {:?}]", f.into),
            Step::Merge { parts } => {
                format!("{mark}[merge {:?}]", parts.iter().map(|p| p.shape.clone()).collect::<Vec<_>>())
            }
        };
    }
    out
}

#[test]
fn explore() {
    let mut engine = LibtorchEngine::default();
    let n: u64 = std::env::var("N").map_or(300, |n| n.parse().unwrap());
    let mut bad = 0;
    for seed in 0..n {
        let case = random::case(seed);
        if limits::fault(&case).is_some() { continue; }
        let mut want = truth::solve(&case);
        limits::relax(&case, &mut want);
        let got = match engine.run(&case) {
            Ok(got) => got,
            Err(e) => {
                println!("{seed} ERROR {:.80} || {}", e.to_string(), describe(&case, 99));
                bad += 1;
                continue;
            }
        };
        for (i, (g, w)) in got.iter().zip(&want).enumerate() {
            if let Some(p) = problem(g, w) {
                println!("{seed} step {i}: {p} || {}", describe(&case, i));
                bad += 1;
                break;
            }
        }
    }
    panic!("{bad} of {n}");
}
