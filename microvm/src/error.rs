//! What can go wrong on the host's side. How a guest ends is no error: see [`crate::End`].

use std::io;

/// Why there is no machine, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's operating system refused something.
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    /// What the lane needs is not there.
    #[error("{0}")]
    Missing(String),
    /// QEMU ended or refused a command.
    #[error("QEMU: {0}")]
    Qemu(String),
    /// The agent inside did not do what it should.
    #[error("the guest: {0}")]
    Guest(String),
    /// Something took too long.
    #[error("{0} took too long")]
    Slow(&'static str),
    /// The memory set aside for machines is used up.
    #[error("no memory for another machine")]
    Full,
}

impl Error {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
