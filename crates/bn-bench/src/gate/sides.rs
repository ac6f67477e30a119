//! The two programs that are compared: the driver over the base's engine and over the
//! change's.
//!
//! Everything lies in `target/gate` of the checkout, and stays there for the next time:
//!
//! | | |
//! |---|---|
//! | `base` | the files of the base's commit, with the change's `crates/bn-driver` over them |
//! | `base-build`, `change-build` | cargo's target folders |
//! | `driver-0`, `-1`, `-2` | what is run: base, change, and a second copy of the change |
//!
//! The base is kept by an index of its own (`base.index`), so that git writes only what
//! differs from the last time, and cargo builds only that. Both sides are built by the
//! same command, and run under names of one length: the length of a program's name moves
//! its stack.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The crate that is the same on both sides.
const DRIVER: &str = "crates/bn-driver";

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The working folder lies in no checkout.
    #[error("not in a checkout of this repository: {0}")]
    Checkout(String),
    /// There is no such commit here.
    #[error("{revision}: no such commit here (a shallow clone has few: git fetch --unshallow)")]
    Revision {
        /// What was asked for.
        revision: String,
    },
    /// git failed in another way.
    #[error("git {command}: {message}")]
    Git {
        /// What it was to do.
        command: String,
        /// Its words.
        message: String,
    },
    /// The driver does not compile.
    #[error(
        "{revision}: the driver does not build over it (its batchnorm may have another interface):\n{message}"
    )]
    Cargo {
        /// Over which revision.
        revision: String,
        /// The compiler's words.
        message: String,
    },
    /// The file system refused.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Programs to compare.
#[derive(Clone, Debug)]
pub struct Sides {
    /// The base's commit.
    pub base_revision: String,
    /// The checkout's, with a mark where it differs from it.
    pub change_revision: String,
    /// The driver over the base.
    pub base: PathBuf,
    /// The driver over the checkout.
    pub change: PathBuf,
    /// The same, in a file of its own.
    pub copy: PathBuf,
}

/// Builds both sides of the checkout around the working folder. What it is busy with is
/// told to `progress`.
///
/// # Errors
/// [`BuildError`].
pub fn build(revision: &str, mut progress: impl FnMut(&str)) -> Result<Sides, BuildError> {
    let checkout = checkout()?;
    let commit = commit(&checkout, revision)?;
    let folder = checkout.join("target/gate");
    let base_tree = folder.join("base");
    fs::create_dir_all(&base_tree).map_err(|source| BuildError::File { path: base_tree.clone(), source })?;
    progress("the base's files");
    check_out(&checkout, &commit, &folder, &base_tree)?;
    synchronize(&checkout.join(DRIVER), &base_tree.join(DRIVER))?;
    progress("building the base");
    let base = compile(&base_tree, &folder.join("base-build"), revision)?;
    progress("building the change");
    let change = compile(&checkout, &folder.join("change-build"), "the checkout")?;
    Ok(Sides {
        base_revision: git(&checkout, &["rev-parse", "--short", &commit])?,
        change_revision: crate::machine::revision(),
        base: place(&base, &folder.join("driver-0"))?,
        change: place(&change, &folder.join("driver-1"))?,
        copy: place(&change, &folder.join("driver-2"))?,
    })
}

fn checkout() -> Result<PathBuf, BuildError> {
    let here = env::current_dir().map_err(|source| BuildError::File { path: ".".into(), source })?;
    match git(&here, &["rev-parse", "--show-toplevel"]) {
        Ok(root) if Path::new(&root).join(DRIVER).is_dir() => Ok(root.into()),
        Ok(root) => Err(BuildError::Checkout(format!("{root} has no {DRIVER}"))),
        Err(BuildError::Git { message, .. }) => Err(BuildError::Checkout(message)),
        Err(error) => Err(error),
    }
}

fn commit(checkout: &Path, revision: &str) -> Result<String, BuildError> {
    let asked = format!("{revision}^{{commit}}");
    git(checkout, &["rev-parse", "--verify", "--quiet", "--end-of-options", &asked])
        .map_err(|_| BuildError::Revision { revision: revision.into() })
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String, BuildError> {
    run_git(Command::new("git").current_dir(folder).args(arguments))
}

fn run_git(command: &mut Command) -> Result<String, BuildError> {
    let error = |command: &Command, message: String| BuildError::Git {
        command: command.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" "),
        message,
    };
    match command.output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().into()),
        Ok(output) => Err(error(command, String::from_utf8_lossy(&output.stderr).trim().into())),
        Err(failed) => Err(error(command, failed.to_string())),
    }
}

/// Makes `tree` the files of a commit; those that git does not know stay.
fn check_out(checkout: &Path, commit: &str, folder: &Path, tree: &Path) -> Result<(), BuildError> {
    let mut command = Command::new("git");
    command.current_dir(checkout).env("GIT_INDEX_FILE", folder.join("base.index"));
    command.arg("--work-tree").arg(tree).args(["read-tree", "--reset", "-u", commit]);
    run_git(&mut command).map(drop)
}

/// Makes the files of a folder those of another; what is equal is not touched, so that
/// cargo does not build it again.
fn synchronize(from: &Path, to: &Path) -> Result<(), BuildError> {
    let wanted = files(from)?;
    for file in files(to)?.difference(&wanted) {
        let path = to.join(file);
        fs::remove_file(&path).map_err(|source| BuildError::File { path, source })?;
    }
    for file in &wanted {
        let (source, target) = (from.join(file), to.join(file));
        let content = fs::read(&source).map_err(|error| BuildError::File { path: source, source: error })?;
        if fs::read(&target).is_ok_and(|there| there == content) {
            continue;
        }
        let written =
            fs::create_dir_all(target.parent().unwrap_or(to)).and_then(|()| fs::write(&target, content));
        written.map_err(|source| BuildError::File { path: target, source })?;
    }
    Ok(())
}

/// All files below a folder, as seen from it; none where there is no folder.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>, BuildError> {
    let mut found = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.and_then(|entries| entries.collect::<io::Result<Vec<_>>>()),
        };
        for entry in entries.map_err(|source| BuildError::File { path, source })? {
            let name = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(name);
            } else {
                found.insert(name);
            }
        }
    }
    Ok(found)
}

/// Builds the driver of a tree; where it lies then.
fn compile(tree: &Path, target: &Path, revision: &str) -> Result<PathBuf, BuildError> {
    let failed = |message: String| BuildError::Cargo { revision: revision.into(), message };
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(tree).args(["build", "--quiet", "--release", "-p", "bn-driver", "--target-dir"]);
    let output = command.arg(target).output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim_end().into()));
    }
    Ok(target.join("release").join(format!("bn-driver{}", env::consts::EXE_SUFFIX)))
}

fn place(program: &Path, at: &Path) -> Result<PathBuf, BuildError> {
    // One that runs cannot be written to, but another can take its name.
    let copied = fs::remove_file(at).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    let copied = copied.and_then(|()| fs::copy(program, at));
    copied.map_err(|source| BuildError::File { path: at.into(), source })?;
    Ok(at.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_becomes_another_and_equal_files_keep_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(&from.join("src/a.rs"), "a");
        write(&from.join("src/deep/b.rs"), "b");
        write(&to.join("src/a.rs"), "a");
        write(&to.join("src/old.rs"), "old");
        let time = || fs::metadata(to.join("src/a.rs")).unwrap().modified().unwrap();
        let before = time();
        synchronize(&from, &to).unwrap();
        assert_eq!(files(&from).unwrap(), files(&to).unwrap());
        assert_eq!(fs::read_to_string(to.join("src/deep/b.rs")).unwrap(), "b");
        assert_eq!(time(), before);
    }

    #[test]
    fn a_commit_that_is_not_there_is_named() {
        for revision in ["no-such-branch", "--all", ""] {
            let error = build(revision, |_| {}).unwrap_err();
            assert!(
                matches!(&error, BuildError::Revision { revision: named } if named == revision),
                "{error}"
            );
        }
    }
}
