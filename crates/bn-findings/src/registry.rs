//! The engines that this repository knows how to set up, and the conventions that some of
//! them document: `engines/registry.json` and `engines/conventions.json`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The version of the form of both files.
pub const SCHEMA: u32 = 1;
/// The file of the engines, in the folder `engines`.
pub const REGISTRY: &str = "registry.json";
/// The file of the conventions, beside it.
pub const CONVENTIONS: &str = "conventions.json";

/// The engines, in the order in which they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    schema: u32,
    /// All of them.
    pub engines: Vec<Registered>,
}

/// An engine around a framework.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    /// Its name, and its folder's in `engines`.
    pub name: String,
    /// The framework and the layer.
    pub title: String,
    /// `rust` or `python`.
    pub language: String,
    /// The version that is pinned.
    pub version: String,
    /// Programs that it calls and that its set-up does not bring along.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Where the framework lives; empty where that is not known.
    pub homepage: String,
}

/// The conventions that frameworks document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conventions {
    schema: u32,
    /// All of them.
    pub conventions: Vec<Convention>,
}

/// A difference from PyTorch that the framework's own documentation states.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convention {
    /// The engine.
    pub engine: String,
    /// The id of the cause.
    pub cause: String,
    /// What the documentation says, in our words.
    pub says: String,
    /// Where.
    pub link: String,
}

/// Why one of the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not have the form.
    #[error("{path}: {source}")]
    Form {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It has another version.
    #[error("{path}: schema {found}; this program reads schema {SCHEMA}")]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl Registry {
    /// Reads the registry of a folder `engines`.
    ///
    /// # Errors
    /// [`RegistryError`], with the file's name.
    pub fn read(folder: &Path) -> Result<Registry, RegistryError> {
        read(&folder.join(REGISTRY), |registry: &Registry| registry.schema)
    }

    /// The engine of that name.
    pub fn find(&self, name: &str) -> Option<&Registered> {
        self.engines.iter().find(|engine| engine.name == name)
    }
}

impl Conventions {
    /// Reads the conventions of a folder `engines`.
    ///
    /// # Errors
    /// [`RegistryError`], with the file's name.
    pub fn read(folder: &Path) -> Result<Conventions, RegistryError> {
        read(&folder.join(CONVENTIONS), |conventions: &Conventions| conventions.schema)
    }

    /// What the engine documents of this cause.
    pub fn find(&self, engine: &str, cause: &str) -> Option<&Convention> {
        self.conventions.iter().find(|convention| convention.engine == engine && convention.cause == cause)
    }
}

fn read<T: DeserializeOwned>(path: &Path, schema: impl Fn(&T) -> u32) -> Result<T, RegistryError> {
    let named = || path.to_path_buf();
    let text = fs::read_to_string(path).map_err(|source| RegistryError::Io { path: named(), source })?;
    let read: T =
        serde_json::from_str(&text).map_err(|source| RegistryError::Form { path: named(), source })?;
    match schema(&read) {
        SCHEMA => Ok(read),
        found => Err(RegistryError::Version { path: named(), found }),
    }
}
