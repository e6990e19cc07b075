//! Why a node cannot run.

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's folder cannot be used.
    #[error("the node's folder cannot be used: {0}")]
    Folder(#[source] std::io::Error),
    /// The sandbox cannot be had.
    #[error("the sandbox cannot be had: {0}")]
    Sandbox(String),
    /// The fabric failed.
    #[error(transparent)]
    Fabric(#[from] fabric::FabricError),
}
