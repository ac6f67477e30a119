//! The dtypes that are timed, as types.

use batchnorm::MixesWith;
use half::{bf16, f16};

use crate::axes::DType;

/// A number that inputs and outputs are made of.
pub trait Value: MixesWith<<Self as Value>::Parameter> {
    /// What parameters, running statistics and their gradients are made of.
    type Parameter: Value + MixesWith<Self::Parameter>;
    /// Its name on the command line and in the record.
    const NAME: DType;
    /// u: the largest relative error of a rounding.
    const UNIT: f64;
    /// Half the distance of two subnormals: the largest error of a rounding near 0.
    const TINY: f64;
}

/// 2^exponent, of a normal f64.
const fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

macro_rules! values {
    ($($value:ty, $parameter:ty, $name:ident, $unit:literal, $tiny:literal;)*) => {$(
        impl Value for $value {
            type Parameter = $parameter;
            const NAME: DType = DType::$name;
            const UNIT: f64 = power_of_two($unit);
            const TINY: f64 = power_of_two($tiny);
        }
    )*};
}

values! {
    f32, f32, F32, -24, -150;
    // Half of the smallest subnormal, 2^-1075, is no f64; the smallest normal will do.
    f64, f64, F64, -53, -1022;
    bf16, f32, Bf16, -8, -134;
    f16, f32, F16, -11, -25;
}

#[cfg(test)]
mod tests {
    use batchnorm::Element;

    use super::*;

    /// 1 + u is a tie that goes to 1, and anything beyond goes up.
    fn check<T: Value>() {
        assert_eq!(T::from_f64(1.0 + T::UNIT).to_f64(), 1.0);
        assert_eq!(T::from_f64(1.0 + 1.5 * T::UNIT).to_f64(), 1.0 + 2.0 * T::UNIT);
    }

    #[test]
    fn units_are_where_rounding_changes() {
        check::<f32>();
        check::<bf16>();
        check::<f16>();
        assert_eq!(f64::UNIT, f64::EPSILON / 2.0);
        assert_eq!(f32::from_bits(1).to_f64() / 2.0, f32::TINY);
        assert_eq!(bf16::from_bits(1).to_f64() / 2.0, bf16::TINY);
        assert_eq!(f16::from_bits(1).to_f64() / 2.0, f16::TINY);
    }
}
