//! Serves libtorch over the engine protocol: requests on standard input, answers
//! on standard output, one JSON value per line.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use bn_oracle::cuda::Backend;
use bn_oracle::{LibtorchEngine, version};
use bn_suite::protocol;
use clap::{Parser, ValueEnum};

/// The exit status where the device that was asked for is not there.
const NO_DEVICE: u8 = 3;

/// libtorch as an engine of the batch-norm suite.
#[derive(Parser)]
#[command(name = "bn-oracle")]
struct Args {
    /// Print the libtorch that was linked and the one that is loaded, and end.
    #[arg(long)]
    version: bool,
    /// Threads that libtorch may use.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Where libtorch computes.
    #[arg(long, value_enum, default_value_t = DeviceArgument::Cpu)]
    device: DeviceArgument,
    /// Which implementation computes on CUDA.
    #[arg(long, value_enum, default_value_t = BackendArgument::Native)]
    backend: BackendArgument,
}

#[derive(Clone, Copy, ValueEnum)]
enum DeviceArgument {
    /// On the CPU.
    Cpu,
    /// On the first CUDA device.
    Cuda,
}

#[derive(Clone, Copy, ValueEnum)]
enum BackendArgument {
    /// libtorch's own kernels.
    Native,
    /// cuDNN's, for the inputs that libtorch gives to it.
    Cudnn,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let mut engine = LibtorchEngine::new(args.threads);
    if let DeviceArgument::Cuda = args.device {
        let backend = match args.backend {
            BackendArgument::Native => Backend::Native,
            BackendArgument::Cudnn => Backend::Cudnn,
        };
        engine = match LibtorchEngine::on_cuda(backend) {
            Ok(engine) => engine,
            Err(reason) => {
                eprintln!("libtorch on CUDA: {reason}");
                return Ok(ExitCode::from(NO_DEVICE));
            }
        };
    }
    if args.version {
        println!(
            "bn-oracle {} (libtorch {} loaded, {} linked)",
            env!("CARGO_PKG_VERSION"),
            version::loaded(),
            version::linked()
        );
        return Ok(ExitCode::SUCCESS);
    }
    protocol::serve(&mut engine, io::stdin().lock(), io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}
