//! What a confined process may still do, as data.

use std::path::PathBuf;

/// What a process may still do. What is not named is refused: the default is the strictest.
///
/// A path is a file, or a folder with all that is in it. It is looked up once, when the confinement is prepared, and
/// must be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confinement {
    /// What it may read and list.
    pub read: Vec<PathBuf>,
    /// Where it may also write, make and remove; devices here may be controlled, sockets here connected to.
    pub write: Vec<PathBuf>,
    /// What it may read and execute: programs, and their loader.
    pub execute: Vec<PathBuf>,
    /// Whether it may read what the kernel tells of this very process, at `/proc/self`; of no other, not even of those that
    /// it starts.
    pub own_process: bool,
    /// Sockets.
    pub network: Network,
    /// Other processes.
    pub children: Children,
    /// Who it becomes; it takes root. None: it stays who it is.
    pub identity: Option<Identity>,
    /// Files that it may have open at once. None: as before.
    pub open_files_max: Option<u64>,
}

/// Which sockets a process may make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Network {
    /// None, not even to itself.
    #[default]
    None,
    /// UNIX sockets.
    Local,
    /// Connected pairs of UNIX sockets, and TCP connections to these ports. No UDP: names must be looked up elsewhere.
    Tcp(Vec<u16>),
    /// Connected pairs of UNIX sockets, TCP connections and UDP to any port. Nobody can connect to it by TCP.
    Internet,
    /// As before.
    Any,
}

impl Network {
    /// Whether UNIX sockets can be connected to.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Local | Self::Any)
    }
}

/// Whether a process may start others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Children {
    /// Threads alone.
    #[default]
    Refused,
    /// As before; they are confined, too.
    Allowed,
}

/// User and group of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User and group, of the same number.
    pub id: u32,
    /// Further groups; all that it had are dropped.
    pub groups: Vec<u32>,
}
