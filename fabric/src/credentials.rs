//! NATS users made by us alone: an operator, three accounts, and user JWTs whose permission lists are what keeps
//! lenders apart.
//!
//! | account | who logs in | has |
//! | --- | --- | --- |
//! | CORE | the core, for its own traffic | JetStream |
//! | LENDERS | lenders' nodes, and the core to speak with them | subjects of nodes only |
//! | SYS | the operator's tools | the server's events and figures |
//!
//! No account exports or imports anything: what nodes publish never reaches CORE. The accounts' JWTs are made once and
//! kept beside their keys; the server gets them in its configuration (a memory resolver), so a new node needs no reload.

mod authority;
mod jwt;
mod registrar;
mod user_key;

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nkeys::{KeyPair, KeyPairType};

pub use self::authority::Authority;
pub use self::registrar::Registrar;
pub use self::user_key::UserKey;
use crate::FabricError;

/// A NATS user: its JWT, and what signs for it.
#[derive(Clone)]
pub struct Credentials {
    pub jwt: String,
    pub key: NonceKey,
}

/// What signs the server's nonces.
#[derive(Clone)]
pub enum NonceKey {
    /// The user's seed, as in a `.creds` file.
    Seed(String),
    /// Another process that has it.
    Elsewhere(Arc<SignNonce>),
}

/// Has a nonce signed. It may block.
pub type SignNonce = dyn Fn(&[u8]) -> Result<Vec<u8>, FabricError> + Send + Sync;

impl Credentials {
    /// The seed, where it is in this process.
    pub fn seed(&self) -> Option<&str> {
        match &self.key {
            NonceKey::Seed(seed) => Some(seed),
            NonceKey::Elsewhere(_) => None,
        }
    }
}

impl NonceKey {
    /// Signs what a server has asked for.
    pub(crate) async fn sign(&self, nonce: &[u8]) -> Result<Vec<u8>, FabricError> {
        match self {
            Self::Seed(seed) => KeyPair::from_seed(seed).and_then(|pair| pair.sign(nonce)).map_err(bad_key),
            Self::Elsewhere(sign) => {
                let (sign, nonce) = (Arc::clone(sign), nonce.to_vec());
                let signed = tokio::task::spawn_blocking(move || sign(&nonce)).await;
                signed.unwrap_or_else(|error| Err(FabricError::Credentials(error.to_string())))
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Reads a key's file, or makes it.
fn open_key(path: &Path, kind: KeyPairType) -> Result<KeyPair, FabricError> {
    let failed = |e: std::io::Error| FabricError::Credentials(format!("{}: {e}", path.display()));
    if let Some(pair) = read_key(path)? {
        return Ok(pair);
    }
    let pair = KeyPair::new(kind);
    let seed = pair.seed().map_err(bad_key)?;
    if write_first(path, &pair.public_key(), seed.as_bytes()).map_err(failed)? {
        return Ok(pair);
    }
    // Another process has made one meanwhile.
    read_key(path)?.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))
}

fn read_key(path: &Path) -> Result<Option<KeyPair>, FabricError> {
    let failed = |e: std::io::Error| FabricError::Credentials(format!("{}: {e}", path.display()));
    match fs::read_to_string(path) {
        Ok(seed) => {
            let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
            if mode & 0o077 != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
            }
            let pair = KeyPair::from_seed(seed.trim());
            pair.map(Some).map_err(|e| FabricError::Credentials(format!("{} is not a key: {e}", path.display())))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

/// Writes beside and renames, so that a crash never leaves half a key.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = write_beside(path, ".new", bytes)?;
    fs::rename(&beside, path)
}

/// The same where there is nothing yet; whether there was not. `mark` tells its writers apart.
fn write_first(path: &Path, mark: &str, bytes: &[u8]) -> std::io::Result<bool> {
    let beside = write_beside(path, &format!(".{mark}.new"), bytes)?;
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    match linked {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

fn write_beside(path: &Path, suffix: &str, bytes: &[u8]) -> std::io::Result<PathBuf> {
    let mut beside = PathBuf::from(path);
    beside.as_mut_os_string().push(suffix);
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(beside)
}

fn bad_key(error: nkeys::error::Error) -> FabricError {
    FabricError::Credentials(error.to_string())
}
