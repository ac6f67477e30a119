//! Serves libtorch over the engine protocol: requests on standard input, answers
//! on standard output, one JSON value per line.

use std::io;

use anyhow::Result;
use bn_oracle::{LibtorchEngine, version};
use bn_suite::protocol;
use clap::Parser;

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
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.version {
        println!(
            "bn-oracle {} (libtorch {} loaded, {} linked)",
            env!("CARGO_PKG_VERSION"),
            version::loaded(),
            version::linked()
        );
        return Ok(());
    }
    protocol::serve(&mut LibtorchEngine::new(args.threads), io::stdin().lock(), io::stdout().lock())?;
    Ok(())
}
