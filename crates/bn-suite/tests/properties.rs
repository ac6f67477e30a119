//! On any case at all, small but of every kind, the engines that come with the
//! suite are within the allowances of the truth.
//!
//! The cases are those of the group `random`, made from a list of choices in place
//! of a seed: proptest shrinks the list, and with it the case. What is left is
//! written to a file, and the failure names the command that replays it.
//!
//! The properties of batch norm itself are tested in the crate `batchnorm`.

mod common;

use std::path::Path;

use bn_suite::catalogue::random::{self, Breadth, Tape};
use bn_suite::check::{Replay, Verdict, check};
use bn_suite::fixtures;
use bn_suite::golden::Golden;
use bn_suite::truth;
use common::{ENGINES, engine};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// As many choices as a case of four steps takes; what is missing is 0.
const CHOICES: usize = 96;

proptest! {
    #![proptest_config(Config { cases: 400, max_shrink_iters: 20_000, ..Config::default() })]

    #[test]
    fn every_engine_is_within_the_allowances(choices in prop::collection::vec(any::<u32>(), 0..CHOICES)) {
        let case = random::case(&mut Tape::listed(choices), Breadth::Whole);
        let golden = Golden { expected: truth::solve(&case), case, disputed: None };
        for name in ENGINES {
            let replay = Replay::named(name);
            let mut report = check(&golden, engine(name).as_mut(), &replay);
            if !matches!(report.verdict, Verdict::Passed { .. }) {
                let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("failing-{name}.json"));
                fixtures::write_case(&file, &golden.case)?;
                report.reproduce = fixtures::replay_of(&file, &replay);
                prop_assert!(false, "{report}");
            }
        }
    }
}
