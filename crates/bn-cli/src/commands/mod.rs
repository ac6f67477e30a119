//! One file per subcommand. Each gives true when nothing failed.

pub mod bless;
pub mod check;
pub mod claims;
pub mod explain;
pub mod list;
pub mod mutants;
pub mod report;
pub mod run;
pub mod schema;
pub mod show;
pub mod train;
