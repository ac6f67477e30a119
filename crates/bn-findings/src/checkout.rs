//! Where the files of a checkout are, for a program that is run anywhere in it.

use std::env;
use std::path::{Path, PathBuf};

/// The first folder of that name that will do, upward from the working folder,
/// then upward from this program (which stands in `target/` of a checkout).
pub fn found(name: &str, will_do: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    if will_do(Path::new(name)) {
        return Some(name.into());
    }
    let program = env::current_exe().ok();
    let starts = [Some(here.as_path()), program.as_deref()];
    let folders = starts.into_iter().flatten().flat_map(Path::ancestors);
    folders.map(|folder| folder.join(name)).find(|folder| will_do(folder))
}
