//! Why a gateway cannot run.

use std::path::PathBuf;

/// Why a gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is out of range.
    #[error("{0}")]
    Config(String),
    /// The spool's folder cannot be used.
    #[error("cannot use the spool folder {path}: {source}")]
    Spool {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
}
