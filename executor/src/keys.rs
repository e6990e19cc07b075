//! The node's own secrets, made at its first start: the key that signs checkpoints, and the one that marks code.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use rand::TryRngCore as _;

/// Both keys.
pub(crate) struct NodeKeys {
    pub(crate) signing: SigningKey,
    pub(crate) code: [u8; 32],
}

impl NodeKeys {
    /// Reads the folder's keys, or makes them.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            signing: SigningKey::from_bytes(&secret(&folder.join("signing.key"))?),
            code: secret(&folder.join("code.key"))?,
        })
    }

    /// For the hello.
    pub(crate) fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.signing.verifying_key().as_bytes())
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
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(folder.path().join("code.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(folder.path().join("code.key"), b"short").unwrap();
        assert!(NodeKeys::open(folder.path()).is_err());
    }
}
