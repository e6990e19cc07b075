//! What a node is given by whoever starts it, beside its settings: its keys, or somebody who signs with them.

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use protocol::Digest;
use protocol::node::{Confinement, Fingerprint, PublicKeys};
use serde::{Deserialize, Serialize};

use crate::keys::NodeKeys;

/// What a node cannot find out itself where it is confined, and tells the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The public halves of its keys.
    pub public: PublicKeys,
    /// What tells its machine from a copy of its disk; none where that is nobody's concern.
    pub fingerprint: Option<Fingerprint>,
    /// How far it is confined; none where nobody confines it.
    pub confinement: Option<Confinement>,
}

/// What a node is given.
pub struct Given {
    /// What it tells of itself.
    pub told: Told,
    /// With it, machine code that the node has compiled itself is told from all else.
    pub code: [u8; 32],
    /// What signs its checkpoints.
    pub receipts: ReceiptKey,
    /// The control socket, where it is open already; else the node makes one in its folder.
    pub control: Option<UnixListener>,
    /// The CPU time that the node and its supervisor take; none where the node may look for itself.
    pub ours: Option<Arc<CpuTicks>>,
}

/// What signs checkpoints.
#[derive(Clone)]
pub enum ReceiptKey {
    /// The key.
    Own(Box<SigningKey>),
    /// Another process that has it.
    Elsewhere(Arc<SignDigest>),
}

/// Has a checkpoint's digest signed. It may block.
pub type SignDigest = dyn Fn(&Digest) -> io::Result<[u8; 64]> + Send + Sync;

/// Ticks of CPU time that a process and all that it has started have used. It may block.
pub type CpuTicks = dyn Fn() -> io::Result<u64> + Send + Sync;

impl ReceiptKey {
    /// Signs a checkpoint's digest.
    pub(crate) fn sign(&self, digest: &Digest) -> io::Result<[u8; 64]> {
        match self {
            Self::Own(key) => Ok(key.sign(&digest.0).to_bytes()),
            Self::Elsewhere(sign) => sign(digest),
        }
    }
}

impl From<NodeKeys> for Given {
    /// A node with its keys at hand, which nobody confines.
    fn from(keys: NodeKeys) -> Self {
        Self {
            told: Told { public: keys.public(), fingerprint: None, confinement: None },
            code: keys.code(),
            receipts: ReceiptKey::Own(Box::new(keys.signing)),
            control: None,
            ours: None,
        }
    }
}
