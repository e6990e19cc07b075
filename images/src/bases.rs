//! Base images: what a single script or executable stands on, made from Debian's packages.

mod apt;
mod build;
mod outline;
mod python;
mod recipe;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::build::{BuildError, build};
pub(crate) use self::outline::Outline;

use crate::error::Error;
use crate::image::{Architecture, RootFs};

/// A base image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseId {
    /// Python 3 with numpy, and all of `Shell`.
    Python,
    /// Shells, the usual small tools, and the common libraries.
    Shell,
}

impl BaseId {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Shell, Self::Python];

    /// As a manifest writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Shell => "shell",
        }
    }

    /// A program of its own that reads what most functions on it will read, too: its interpreter and its libraries. It
    /// is run in templates, so that runs find those in memory.
    #[must_use]
    pub fn warm_up(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["/usr/bin/python3", "-c", "import io, json, os, struct, sys, zlib, numpy"],
            Self::Shell => &["/bin/sh", "-c", "for t in awk cat cut grep head sed sort tr wc; do $t </dev/null; done"],
        }
    }

    /// What runs a text that names no interpreter.
    pub(crate) fn interpreter(self) -> &'static str {
        match self {
            Self::Python => "/usr/bin/python3",
            Self::Shell => "/bin/sh",
        }
    }

    /// The smallest base that may have it. Where it has not, the entry point is missing.
    pub(crate) fn of_interpreter(name: &str) -> Self {
        if name.starts_with("python") { Self::Python } else { Self::Shell }
    }
}

impl std::fmt::Display for BaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for BaseId {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|base| base.name() == name);
        found.ok_or_else(|| Error::Unsupported(format!("the base `{name}`; there are `python` and `shell`")))
    }
}

/// A base that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Which.
    pub id: BaseId,
    /// For which machine.
    pub architecture: Architecture,
    /// How it was made: one of an older recipe is made anew.
    pub recipe: u32,
    /// Its files.
    pub rootfs: RootFs,
    /// Environment that it wants.
    pub env: Vec<(String, String)>,
    /// What is in it, without contents.
    pub(crate) outline: Outline,
}

/// A folder of bases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// A shelf in this folder, which may be empty or missing.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The base, if it is here.
    ///
    /// # Errors
    /// [`Error::NoBase`] where it is not, or only in part.
    pub fn open(&self, id: BaseId, architecture: Architecture) -> Result<Base, Error> {
        let missing = || Error::NoBase { base: id, architecture };
        let text = std::fs::read(self.description(id, architecture)).map_err(|_| missing())?;
        let mut base: Base = serde_json::from_slice(&text).map_err(|_| missing())?;
        // The shelf may have moved since.
        base.rootfs.path = self.folder.join(base.rootfs.path.file_name().ok_or_else(missing)?);
        let size = base.rootfs.path.metadata().map_err(|_| missing())?.len();
        let whole = size == base.rootfs.size.0 && base.recipe == recipe::RECIPE;
        if whole { Ok(base) } else { Err(missing()) }
    }

    fn description(&self, id: BaseId, architecture: Architecture) -> PathBuf {
        self.file(id, architecture, "json")
    }

    fn file(&self, id: BaseId, architecture: Architecture, extension: &str) -> PathBuf {
        self.folder.join(format!("{id}-{architecture}.{extension}"))
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
