//! What can be wrong with what was deployed, and with the host that looks at it.

use std::io;

use crate::bases::BaseId;
use crate::image::Architecture;

/// Whose fault it is: what a caller makes a status of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The deployer must mend the input.
    Deployer,
    /// This host lacks something or failed.
    Host,
    /// Nobody's: it was cancelled.
    Caller,
}

/// A limit that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// Uncompressed bytes, all layers together.
    Bytes,
    /// How far compressed data expands.
    Ratio,
    /// Files, folders and links.
    Entries,
    /// Bytes of all names and link targets.
    Names,
    /// Bytes of one path.
    Path,
    /// Folders within folders.
    Depth,
    /// Layers of an image.
    Layers,
    /// Bytes of a manifest, an index or a configuration.
    Manifest,
    /// Distinct users and groups that own files.
    Owners,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bytes => "uncompressed bytes",
            Self::Ratio => "bytes for each compressed byte",
            Self::Entries => "files",
            Self::Names => "bytes of names",
            Self::Path => "bytes of a path",
            Self::Depth => "folders within folders",
            Self::Layers => "layers",
            Self::Manifest => "bytes of a manifest",
            Self::Owners => "owners of files",
        })
    }
}

/// Why there is no image. Each of the deployer's has one problem code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive is cut off, or is not what it says.
    #[error("the archive cannot be read: {0}")]
    Unreadable(String),
    /// A limit was met.
    #[error("the image has more than {limit} {bound}")]
    TooLarge {
        /// Which.
        bound: Bound,
        /// Its value.
        limit: u64,
    },
    /// There is nothing to start, or it cannot be started.
    #[error("no entry point: {0}")]
    MissingEntryPoint(String),
    /// The image is for another machine.
    #[error("the image is for {found}; wanted is {wanted}")]
    WrongPlatform {
        /// What it is for.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// A name in the archive points outside.
    #[error("`{0}` leaves the root of the image")]
    PathLeavesRoot(String),
    /// The input is of a kind that is not offered.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// Bytes are not those that a manifest promised.
    #[error("{what} has the digest {found}; its manifest says {expected}")]
    BrokenDigest {
        /// Of what.
        what: String,
        /// What the manifest says.
        expected: String,
        /// What was read.
        found: String,
    },
    /// The image's configuration, or what was asked for beside it, makes no sense.
    #[error("the configuration is invalid: {0}")]
    InvalidConfig(String),
    /// The base that it stands on is not on this host.
    #[error("the base image `{base}` for {architecture} is not on this host")]
    NoBase {
        /// Which base.
        base: BaseId,
        /// For which machine.
        architecture: Architecture,
    },
    /// The host's own files failed.
    #[error("this host cannot make the image: {0}")]
    Host(#[from] io::Error),
    /// [`crate::Stop`] was called.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Host(_) | Self::NoBase { .. } => Blame::Host,
            Self::Cancelled => Blame::Caller,
            _ => Blame::Deployer,
        }
    }

    /// Says what is wrong with the archive.
    pub(crate) fn unreadable(detail: impl std::fmt::Display) -> Self {
        Self::Unreadable(detail.to_string())
    }
}
