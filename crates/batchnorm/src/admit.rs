//! Whether a forward pass may run, what it normalises by, and what it updates.
//!
//! | | both buffers | neither buffer | exactly one |
//! |---|---|---|---|
//! | train, tracking | batch statistics, buffers and counter updated | batch statistics, counter updated | refused |
//! | train, not tracking | batch statistics, no update | the same | the same |
//! | eval | running statistics | batch statistics | refused |
//!
//! The checks run in this order, and the first that fails is reported: rank; then
//! the counter goes up (training, tracking); a counter of 0 with cumulative
//! momentum; one value per channel where batch statistics are used; eps; for each of
//! running_mean, running_var, weight, bias in turn its absence, where evaluation
//! needs it, or its length; in training one buffer without the other; dtypes. So the counter stays up when a later check refuses, as in
//! PyTorch, where the module counts and the function under it checks. The lengths
//! of buffers that a pass does not use are not checked.

use arrayvec::ArrayVec;

use crate::config::{Config, Momentum, Rank};
use crate::dtype::{DType, check_dtypes};
use crate::error::Error;
use crate::layout::values_per_channel;

/// Where the statistics that a pass normalises by come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The batch itself: they depend on the input, and the gradient knows it.
    #[default]
    Batch,
    /// The running statistics: constants.
    Running,
}

/// What a layer holds: dtype and length of each parameter and buffer present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// The weight's.
    pub weight: Option<(DType, usize)>,
    /// The bias's.
    pub bias: Option<(DType, usize)>,
    /// The running mean's.
    pub running_mean: Option<(DType, usize)>,
    /// The running variance's.
    pub running_var: Option<(DType, usize)>,
}

impl Signature {
    /// The dtypes of what is present, in PyTorch's order.
    pub fn dtypes(&self) -> ArrayVec<DType, 4> {
        let all = [self.weight, self.bias, self.running_mean, self.running_var];
        all.into_iter().flatten().map(|(dtype, _)| dtype).collect()
    }
}

/// A forward pass that is asked for, free of element types, so that callers who
/// learn dtypes at run time are refused in the same order.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The layer's configuration.
    pub config: &'a Config,
    /// The ranks that the layer takes.
    pub rank: Rank,
    /// What the layer holds.
    pub signature: Signature,
    /// Whether the layer is in training mode.
    pub training: bool,
    /// The input's dtype.
    pub input: DType,
    /// The input's shape.
    pub shape: &'a [usize],
}

/// A forward pass that may run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// What it normalises by.
    pub origin: Origin,
    /// The factor with which it updates the running statistics, if it does.
    pub update: Option<f64>,
}

impl Request<'_> {
    /// Runs the checks in the order of [this module](self), and raises the counter
    /// when its turn comes.
    pub fn admit(&self, num_batches_tracked: &mut Option<i64>) -> Result<Plan, Error> {
        self.rank.check(self.shape.len())?;
        let factor = self.count(num_batches_tracked)?;
        let origin = self.origin();
        self.check_count(origin)?;
        self.check_eps(origin)?;
        self.check_held(origin)?;
        self.check_pair()?;
        check_dtypes(self.input, &self.signature.dtypes())?;
        let updates = self.tracks() && self.signature.running_mean.is_some();
        Ok(Plan { origin, update: updates.then_some(factor) })
    }

    fn tracks(&self) -> bool {
        self.training && self.config.track_running_stats
    }

    /// Counts the batch, and gives the factor of the running update.
    fn count(&self, num_batches_tracked: &mut Option<i64>) -> Result<f64, Error> {
        if self.tracks() {
            // PyTorch's int64 wraps too.
            *num_batches_tracked = num_batches_tracked.map(|count| count.wrapping_add(1));
        }
        match (self.config.momentum, *num_batches_tracked) {
            (Momentum::Exponential(factor), _) => Ok(factor),
            (Momentum::Cumulative, Some(0)) if self.tracks() => Err(Error::CounterZero),
            (Momentum::Cumulative, Some(count)) => Ok(1.0 / count as f64),
            (Momentum::Cumulative, None) => Ok(0.0),
        }
    }

    fn origin(&self) -> Origin {
        let neither = self.signature.running_mean.is_none() && self.signature.running_var.is_none();
        if self.training || neither { Origin::Batch } else { Origin::Running }
    }

    fn check_count(&self, origin: Origin) -> Result<(), Error> {
        if origin == Origin::Batch && values_per_channel(self.shape) == 1 {
            return Err(Error::TooFewValues { shape: self.shape.to_vec() });
        }
        Ok(())
    }

    /// What the pass uses, each in turn: in evaluation a running statistic may not
    /// be missing, and what is there must have the input's channels.
    fn check_held(&self, origin: Origin) -> Result<(), Error> {
        let Signature { running_mean, running_var, weight, bias } = self.signature;
        let evaluating = origin == Origin::Running;
        for (name, held) in [("running_mean", running_mean), ("running_var", running_var)] {
            match held {
                None if evaluating => return Err(Error::MissingRunningStat { name }),
                Some(held) if evaluating || self.tracks() => self.check_length(name, held)?,
                _ => {}
            }
        }
        for (name, held) in [("weight", weight), ("bias", bias)] {
            held.map_or(Ok(()), |held| self.check_length(name, held))?;
        }
        Ok(())
    }

    fn check_length(&self, name: &'static str, (_, actual): (DType, usize)) -> Result<(), Error> {
        let expected = self.shape[1];
        if actual == expected { Ok(()) } else { Err(Error::NumFeatures { name, expected, actual }) }
    }

    /// Training updates both running statistics, or has neither.
    fn check_pair(&self) -> Result<(), Error> {
        match (self.signature.running_mean, self.signature.running_var) {
            (Some(_), None) if self.tracks() => Err(Error::UnpairedRunningStats { present: "running_mean" }),
            (None, Some(_)) if self.tracks() => Err(Error::UnpairedRunningStats { present: "running_var" }),
            _ => Ok(()),
        }
    }

    /// NaN passes, as it does in PyTorch, and makes NaN.
    fn check_eps(&self, origin: Origin) -> Result<(), Error> {
        let eps = self.config.eps;
        match origin {
            Origin::Batch if eps <= 0.0 => Err(Error::EpsNotPositive { eps }),
            Origin::Running => check_eps_in_evaluation(eps),
            Origin::Batch => Ok(()),
        }
    }
}

/// Refuses a negative `eps`.
pub(crate) fn check_eps_in_evaluation(eps: f64) -> Result<(), Error> {
    if eps < 0.0 { Err(Error::EpsNegative { eps }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Option<(DType, usize)> = Some((DType::F32, 3));
    const BOTH: Signature = Signature { weight: HELD, bias: HELD, running_mean: HELD, running_var: HELD };

    fn request<'a>(
        config: &'a Config,
        signature: Signature,
        training: bool,
        shape: &'a [usize],
    ) -> Request<'a> {
        Request { config, rank: Rank::Any, signature, training, input: DType::F32, shape }
    }

    /// Message of the refusal and counter after it, from 4.
    fn refusal(request: Request<'_>) -> (String, i64) {
        let mut counter = Some(4);
        let error = request.admit(&mut counter).unwrap_err();
        (error.to_string(), counter.unwrap())
    }

    #[test]
    fn the_table_of_modes_and_buffers() {
        let neither = Signature { running_mean: None, running_var: None, ..BOTH };
        let mean_only = Signature { running_var: None, ..BOTH };
        let var_only = Signature { running_mean: None, ..BOTH };
        let tracking = Config::new(3);
        let untracked = Config { track_running_stats: false, ..Config::new(3) };
        let plan = |config: &Config, signature, training| {
            let mut counter = Some(4);
            let plan = request(config, signature, training, &[5, 3]).admit(&mut counter);
            (plan.map_err(|error| error.to_string()), counter.unwrap())
        };
        let ok = |origin, update| Ok(Plan { origin, update });
        use Origin::*;
        assert_eq!(plan(&tracking, BOTH, true), (ok(Batch, Some(0.1)), 5));
        assert_eq!(plan(&tracking, neither, true), (ok(Batch, None), 5));
        let unpaired = "running_mean and running_var must either both be None or neither be None, got";
        assert_eq!(plan(&tracking, mean_only, true), (Err(format!("{unpaired} running_mean alone")), 5));
        assert_eq!(plan(&tracking, var_only, true), (Err(format!("{unpaired} running_var alone")), 5));
        for signature in [BOTH, neither, mean_only, var_only] {
            assert_eq!(plan(&untracked, signature, true), (ok(Batch, None), 4));
        }
        for config in [&tracking, &untracked] {
            assert_eq!(plan(config, BOTH, false), (ok(Running, None), 4));
            assert_eq!(plan(config, neither, false), (ok(Batch, None), 4));
            let missing = |name| Err(format!("{name} must be defined in evaluation mode, got None"));
            assert_eq!(plan(config, mean_only, false), (missing("running_var"), 4));
            assert_eq!(plan(config, var_only, false), (missing("running_mean"), 4));
        }
    }

    #[test]
    fn refusals_come_in_order_and_all_but_rank_after_counting() {
        // Everything is wrong at once; each repair shows the next refusal.
        let usual_eps = Config { momentum: Momentum::Cumulative, ..Config::new(3) };
        let config = Config { eps: 0.0, ..usual_eps };
        let two = Some((DType::F64, 2));
        let mut signature = Signature { weight: two, bias: two, running_mean: two, running_var: None };
        let mut ask = Request { rank: Rank::One, ..request(&config, signature, true, &[1, 3, 1, 1]) };
        let mut counter = Some(-1);
        assert_eq!(
            ask.admit(&mut counter).unwrap_err().to_string(),
            "expected 2D or 3D input (got 4D input)"
        );
        assert_eq!(counter, Some(-1), "a rank error counts nothing");
        ask.shape = &[1, 3];
        let error = ask.admit(&mut counter).unwrap_err();
        assert_eq!((error, counter), (Error::CounterZero, Some(0)));
        let too_few = "expected more than 1 value per channel when training, got input size [1, 3]";
        assert_eq!(refusal(ask), (too_few.into(), 5));
        ask.shape = &[5, 3];
        let eps = "batch_norm eps must be positive during training, but got 0.0";
        assert_eq!(refusal(ask), (eps.into(), 5));
        ask.config = &usual_eps;
        let three = Some((DType::F64, 3));
        type Held = fn(&mut Signature) -> &mut Option<(DType, usize)>;
        let repairs: [(&str, Held); 3] = [
            ("running_mean", |signature| &mut signature.running_mean),
            ("weight", |signature| &mut signature.weight),
            ("bias", |signature| &mut signature.bias),
        ];
        for (name, held) in repairs {
            ask.signature = signature;
            assert_eq!(refusal(ask), (format!("{name} should contain 3 elements not 2"), 5));
            *held(&mut signature) = three;
        }
        ask.signature = signature;
        assert!(refusal(ask).0.contains("either both"));
        signature.running_var = two;
        ask.signature = signature;
        assert_eq!(refusal(ask), ("running_var should contain 3 elements not 2".into(), 5));
        signature.running_var = three;
        ask.signature = signature;
        assert!(refusal(ask).0.ends_with("got f32 input with f64 parameters"), "{}", refusal(ask).0);
        let ask = Request { input: DType::F64, ..request(&usual_eps, signature, true, &[5, 3]) };
        assert_eq!(ask.admit(&mut Some(8)).unwrap().update, Some(1.0 / 9.0));
    }

    #[test]
    fn eps_may_be_zero_in_evaluation_and_nan_anywhere() {
        let admitted = |eps, signature, training| {
            let config = Config { eps, ..Config::new(3) };
            let plan = request(&config, signature, training, &[5, 3]).admit(&mut None);
            plan.map(|_| ()).map_err(|error| error.to_string())
        };
        let stateless = Signature::default();
        assert_eq!(admitted(0.0, BOTH, false), Ok(()));
        let negative = "batch_norm eps must be non-negative, but got -1e-5";
        assert_eq!(admitted(-1e-5, BOTH, false), Err(negative.into()));
        let not_positive = "batch_norm eps must be positive during training, but got -1e-5";
        assert_eq!(admitted(-1e-5, BOTH, true), Err(not_positive.into()));
        // Evaluation by batch statistics is held to the rule of training.
        assert!(admitted(0.0, stateless, false).is_err());
        for (signature, training) in [(BOTH, true), (BOTH, false), (stateless, false)] {
            assert_eq!(admitted(f64::NAN, signature, training), Ok(()));
        }
    }

    #[test]
    fn one_value_per_channel_is_enough_for_running_statistics_and_empty_is_fine() {
        let config = Config::new(3);
        let ok = |signature, training, shape: &[usize]| {
            request(&config, signature, training, shape).admit(&mut None).is_ok()
        };
        assert!(ok(BOTH, false, &[1, 3]));
        assert!(!ok(Signature::default(), false, &[1, 3]));
        assert!(!ok(BOTH, true, &[1, 3, 1, 1]));
        assert!(ok(BOTH, true, &[1, 3, 1, 2]));
        assert!(ok(BOTH, true, &[0, 3]) && ok(BOTH, true, &[4, 3, 0]));
        assert!(ok(Signature::default(), true, &[5, 0]));
    }

    #[test]
    fn what_a_pass_does_not_use_is_not_checked() {
        let untracked = Config { track_running_stats: false, ..Config::new(3) };
        let two = Some((DType::F32, 2));
        let short = Signature { running_mean: two, running_var: two, ..BOTH };
        assert!(request(&untracked, short, true, &[5, 3]).admit(&mut None).is_ok());
        assert!(request(&untracked, short, false, &[5, 3]).admit(&mut None).is_err());
        // A new layer's counter is 0: nothing is weighed by 1/0 before it trains.
        let cumulative = Config { momentum: Momentum::Cumulative, ..Config::new(3) };
        assert!(request(&cumulative, BOTH, false, &[5, 3]).admit(&mut Some(0)).is_ok());
        let untracked = Config { momentum: Momentum::Cumulative, ..untracked };
        assert!(request(&untracked, BOTH, true, &[5, 3]).admit(&mut Some(0)).is_ok());
    }

    #[test]
    fn the_factor_is_what_was_asked() {
        let factor = |momentum, mut counter: Option<i64>| {
            let config = Config { momentum, ..Config::new(3) };
            request(&config, BOTH, true, &[5, 3]).admit(&mut counter).unwrap().update.unwrap()
        };
        for given in [0.0, 1.0, -0.5, 2.0, f64::INFINITY] {
            assert_eq!(factor(Momentum::Exponential(given), Some(7)), given);
        }
        assert!(factor(Momentum::Exponential(f64::NAN), Some(7)).is_nan());
        assert_eq!(factor(Momentum::Cumulative, Some(9)), 0.1);
        assert_eq!(factor(Momentum::Cumulative, Some(-3)), -0.5);
        assert_eq!(factor(Momentum::Cumulative, None), 0.0);
    }
}
