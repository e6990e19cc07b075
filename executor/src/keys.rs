//! The node's own secrets, made at its first start and never sent (`protocol/src/node/keys.rs` lists them).

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use ed25519_dalek::{Signer as _, SigningKey};
use fabric::UserKey;
use protocol::Digest;
use protocol::node::{PublicKey, PublicKeys};
use rand::TryRngCore as _;

/// All keys of a node.
pub struct NodeKeys {
    nats: UserKey,
    pub(crate) signing: SigningKey,
    /// Its scalar is the X25519 secret.
    ticket: SigningKey,
    code: [u8; 32],
}

impl NodeKeys {
    /// Reads the keys of the node with this folder, or makes them.
    ///
    /// # Errors
    /// When the folder cannot be used, or a key is damaged.
    pub fn open(node_data: &Path) -> io::Result<Self> {
        let folder = node_data.join("keys");
        fs::create_dir_all(&folder)?;
        Ok(Self {
            nats: UserKey::open(&folder.join("nats.nk")).map_err(io::Error::other)?,
            signing: SigningKey::from_bytes(&secret(&folder.join("signing.key"))?),
            ticket: SigningKey::from_bytes(&secret(&folder.join("ticket.key"))?),
            code: secret(&folder.join("code.key"))?,
        })
    }

    /// The key that the node connects with.
    #[must_use]
    pub fn nats(&self) -> &UserKey {
        &self.nats
    }

    /// With it, machine code that the node has compiled itself is told from all else.
    #[must_use]
    pub fn code(&self) -> [u8; 32] {
        self.code
    }

    /// Signs a checkpoint's digest.
    #[must_use]
    pub fn sign_checkpoint(&self, digest: &Digest) -> [u8; 64] {
        self.signing.sign(&digest.0).to_bytes()
    }

    /// The public halves, which the platform registers and each hello names.
    #[must_use]
    pub fn public(&self) -> PublicKeys {
        PublicKeys {
            nats: self.nats.public(),
            receipt: PublicKey(self.signing.verifying_key().to_bytes()),
            ticket: PublicKey(self.ticket.verifying_key().to_montgomery().to_bytes()),
        }
    }
}

fn secret(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| io::Error::other(format!("{} is damaged", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut bytes = [0; 32];
            rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
            // A crash in between leaves no half a key.
            let partial = path.with_extension("partial");
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&partial)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(partial, path)?;
            Ok(bytes)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::NodeKeys;

    #[test]
    fn keys_are_made_once_and_only_for_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let first = NodeKeys::open(folder.path()).unwrap();
        let second = NodeKeys::open(folder.path()).unwrap();
        assert_eq!((first.public(), first.code), (second.public(), second.code));
        let keys = first.public();
        assert!(fabric::UserKey::is_public(&keys.nats) && keys.receipt != keys.ticket);
        #[cfg(unix)]
        for file in ["nats.nk", "signing.key", "ticket.key", "code.key"] {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(folder.path().join("keys").join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        for file in ["nats.nk", "code.key"] {
            let path = folder.path().join("keys").join(file);
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, b"short").unwrap();
            assert!(NodeKeys::open(folder.path()).is_err(), "{file}");
            std::fs::write(&path, whole).unwrap();
        }
    }
}
