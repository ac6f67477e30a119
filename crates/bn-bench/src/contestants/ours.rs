//! Our engine: what the driver does, and its check.

use anyhow::{Result, ensure};
pub use bn_driver::Ours;

use super::Contestant;
use crate::axes::Op;
use crate::expected::Expected;
use crate::paired::Call;
use crate::value::Value;

impl<T: Value> Call for Ours<'_, T> {
    fn call(&mut self) -> Result<()> {
        Ok(Ours::call(self)?)
    }
}

impl<T: Value> Contestant<T> for Ours<'_, T> {
    fn check(&mut self, expected: &Expected<'_, T>) -> Result<()> {
        if self.op().is_backward() {
            let n = self.per_channel();
            ensure!(self.sums.iter().all(|sums| sums.count == n), "not every value was summed");
            expected.check_sums(&self.grad_weight, &self.grad_bias)?;
            expected.check_grad_input(&self.result)?;
            if let Some(gradient) = &self.grad_residual {
                expected.check_grad_residual(gradient)?;
            }
        } else {
            expected.check_output(&self.result)?;
        }
        if self.op().norm() == Op::ForwardTrain {
            expected.check_running(&self.running_mean, &self.running_var)?;
        }
        Ok(())
    }
}
