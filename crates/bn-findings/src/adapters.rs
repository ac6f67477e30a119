//! The frameworks that the checkout has adapters for, by the names of `engines/registry.json`.

use std::path::PathBuf;

use crate::checkout;
use crate::registry::{CONVENTIONS, Conventions, REGISTRY, Registry, RegistryError};

/// The script that sets adapters up and starts them.
const SCRIPT: &str = "scripts/engines";

/// The folder `engines` of a checkout.
pub struct Adapters {
    folder: PathBuf,
    /// What is in it.
    pub registry: Registry,
}

impl Adapters {
    /// The one here, above, or beside the checkout that built this program.
    ///
    /// # Errors
    /// [`RegistryError`] for a registry that cannot be read.
    pub fn find() -> Result<Option<Adapters>, RegistryError> {
        let folder = checkout::found("engines", |folder| folder.join(REGISTRY).is_file());
        folder.map(|folder| Ok(Adapters { registry: Registry::read(&folder)?, folder })).transpose()
    }

    /// The command that starts the adapter of that name.
    pub fn command(&self, name: &str) -> Vec<String> {
        let checkout = self.folder.parent().filter(|folder| !folder.as_os_str().is_empty());
        let script = checkout.map_or_else(|| PathBuf::from(".").join(SCRIPT), |folder| folder.join(SCRIPT));
        vec![script.to_string_lossy().into_owned(), "serve".into(), name.into()]
    }

    /// The conventions that the frameworks document; none without the file.
    ///
    /// # Errors
    /// [`RegistryError`] for a file that cannot be read.
    pub fn conventions(&self) -> Result<Conventions, RegistryError> {
        match self.folder.join(CONVENTIONS).is_file() {
            true => Conventions::read(&self.folder),
            false => Ok(Conventions::default()),
        }
    }
}
