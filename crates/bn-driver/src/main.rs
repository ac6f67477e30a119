//! `bn-driver`: times one operation at a time, as it is asked on standard input
//! ([`bn_driver::protocol`]).
//!
//! Exit status: 0 when the input has ended, 2 when it was started in another way or could
//! not read or write.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("bn-driver takes no arguments: it answers the requests on its standard input");
        return ExitCode::from(2);
    }
    match bn_driver::session::serve(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
