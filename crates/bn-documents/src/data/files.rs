//! Where a user's files are.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataError, Problem};

/// The files of these names, each with the first of the suffixes that there is, from the first of
/// the folders that holds any. `None` if no folder does.
///
/// # Errors
/// `dir`, which the user gave, is no folder that can be read; or the first folder that holds any
/// does not hold all.
pub(super) fn find<const N: usize>(
    dir: &Path,
    folders: &[PathBuf],
    names: [&str; N],
    suffixes: &[&str],
) -> Result<Option<[PathBuf; N]>, DataError> {
    fs::read_dir(dir).map_err(|error| Problem::Folder(error).of(dir))?;
    for folder in folders {
        let found = names.map(|name| {
            let mut files = suffixes.iter().map(|suffix| folder.join(format!("{name}{suffix}")));
            files.find(|file| file.is_file()).ok_or(name)
        });
        let missing: Vec<&str> = found.iter().filter_map(|file| file.as_ref().err().copied()).collect();
        if missing.is_empty() {
            return Ok(Some(found.map(|file| file.expect("none is missing"))));
        }
        if missing.len() < N {
            return Err(Problem::missing(&missing, std::slice::from_ref(folder)).of(dir));
        }
    }
    Ok(None)
}
