//! The documents' claims, asked of our runs with five seeds: docs/claims.md says what came of them.

use bn_documents::claims::{self, Claim, Figure, Verdict};
use bn_documents::report;

#[test]
fn claims_come_out_as_the_report_says() {
    let mut told = 0;
    let claims = claims::all(5, None, &mut |_| told += 1).unwrap();
    assert_eq!((claims.len(), told), (claims::COUNT, claims::COUNT));
    let verdict = |name: &str| claims.iter().find(|claim| claim.name == name).unwrap().verdict;
    // Theorems; and what came out by margins that no rounding turns round.
    for (name, expected) in [
        ("bias-before", Verdict::Holds),
        ("scaled-weights", Verdict::Holds),
        ("detached-bias", Verdict::Holds),
        ("forgotten-eval", Verdict::Holds),
        ("labml-dialect", Verdict::Holds),
        ("machinecurve-faster", Verdict::Holds),
        ("machinecurve-lower", Verdict::DoesNotHold),
        ("machinecurve-validation", Verdict::DoesNotHold),
        ("hands-on-lower", Verdict::DoesNotHold),
        ("hands-on-validation", Verdict::Holds),
        ("placement", Verdict::Compared),
    ] {
        assert_eq!(verdict(name), expected, "{name}");
    }
    // With lr 0.1 the plain network always ends far above what it reaches with 0.01.
    let struggles = claims.iter().find(|claim| claim.name == "high-learning-rate").unwrap();
    let [plain, calm] = [1, 2].map(|figure: usize| struggles.figures[figure].range());
    assert!(plain[0] > 5.0 * calm[1], "{struggles:?}");
    let page = report::claims::page(&claims, "bn claims");
    let markdown = report::claims::markdown(&claims, "bn claims");
    for Claim { name, verdict, figures, .. } in &claims {
        assert_eq!(figures[0].values.len(), 5);
        for text in [&page, &markdown] {
            assert!(text.contains(name) && text.contains(&verdict.to_string()), "{name}");
        }
    }
}

#[test]
fn a_figure_has_a_median_and_a_range() {
    let figure = |values: &[f64]| Figure::new("", values.to_vec());
    let odd = figure(&[3.0, 1.0, 2.0]);
    assert_eq!((odd.median(), odd.range()), (2.0, [1.0, 3.0]));
    assert_eq!(figure(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
    // A training that diverged is the worst of them.
    assert!(figure(&[1.0, f64::NAN]).range()[1].is_nan());
    assert_eq!(report::claims::figure_text(&figure(&[0.5; 3])), "0.5000");
    assert_eq!(report::claims::figure_text(&odd), "2 (1 to 3)");
}
