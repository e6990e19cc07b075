//! Why a node cannot run.

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's folder cannot be used.
    #[error("the node's folder cannot be used: {0}")]
    Folder(#[source] std::io::Error),
    /// A disk for blobs cannot be used.
    #[error("a disk for blobs cannot be used: {0}")]
    Disk(#[from] store::DiskError),
    /// The sandbox cannot be had.
    #[error("the sandbox cannot be had: {0}")]
    Sandbox(String),
    /// The platform does not take this node, or no more: it will not, however often it is asked.
    #[error("{}", .0.detail)]
    Refused(Box<protocol::Problem>),
    /// The fabric failed.
    #[error(transparent)]
    Fabric(#[from] fabric::FabricError),
}
