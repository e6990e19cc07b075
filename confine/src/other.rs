//! Systems that confine nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::confinement::Confinement;
use crate::enforcement::{Enforcement, Kernel};
use crate::error::Error;

/// What cannot be had here.
#[derive(Debug)]
pub enum Prepared {}

impl Prepared {
    pub(crate) fn new(_confinement: &Confinement) -> Result<Self, Error> {
        Err(Error::Unsupported(std::env::consts::OS))
    }

    /// What the kernel enforces of it.
    #[must_use]
    pub fn enforcement(&self) -> &Enforcement {
        match *self {}
    }

    /// Confines this process.
    ///
    /// # Errors
    /// There is nobody to call it.
    pub fn apply(self) -> Result<Enforcement, Error> {
        match self {}
    }

    /// Confines a child.
    pub fn before_exec(self, _command: &mut Command) {
        match self {}
    }
}

/// Nobody of the same user may look into this process.
///
/// # Errors
/// Always.
pub fn refuse_inspection() -> Result<(), Error> {
    Err(Error::Unsupported(std::env::consts::OS))
}

pub(crate) fn kernel() -> Kernel {
    Kernel { landlock: 0, seccomp: false }
}

/// A folder by its path.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Looks whether it is there.
    ///
    /// # Errors
    /// When it is not.
    pub fn open(path: &Path) -> io::Result<Self> {
        path.read_dir().map(|_| Self(path.to_owned()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}
