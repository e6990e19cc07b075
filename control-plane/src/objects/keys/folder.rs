//! The folder of master keys: one file for each, beside the root secret, which nobody but its owner may read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use protocol::{BlobKey, Digest};
use rand::TryRngCore as _;
use serde::{Deserialize, Serialize};

use crate::tickets::{make_private, remove_drafts};

/// What each key's file is called after its number.
const EXTENSION: &str = "key";
/// The first key that is made.
pub(super) const FIRST: KeyNumber = KeyNumber(1);

/// Which master key: of two, the later one has the higher number. 0 is derived from the root secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyNumber(pub(crate) i32);

impl KeyNumber {
    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for KeyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bytes of a master key. Their memory is cleared, and no `Debug` shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct MasterSecret(BlobKey);

impl MasterSecret {
    pub(crate) fn of(bytes: [u8; 32]) -> Self {
        Self(BlobKey(bytes))
    }

    fn random() -> std::io::Result<Self> {
        let mut bytes = [0_u8; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Self::of(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0.0
    }

    /// Tells it from all others, and says nothing of it.
    pub(crate) fn fingerprint(&self) -> String {
        Digest(blake3::derive_key("crowdcloud 2026 fingerprints of master keys", self.bytes())).to_string()
    }
}

/// Why something could not be done with master keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key's file has something else.
    #[error("{0}: not a master key (32 bytes)")]
    NotAKey(PathBuf),
    /// No control plane has made one yet.
    #[error("there is no master key in {0}")]
    NoKey(PathBuf),
    /// There is another key of this number.
    #[error("there is another key {number} in {folder}")]
    Differs {
        /// Which.
        number: KeyNumber,
        /// Where.
        folder: PathBuf,
    },
    /// What is to be imported is something else.
    #[error("this is no export of master keys: {0}")]
    NotAnExport(String),
    /// It is encrypted, and no passphrase was given.
    #[error("the export is encrypted: its passphrase is needed")]
    Encrypted,
    /// It was given another passphrase.
    #[error("the passphrase is another one, or the export is damaged")]
    Passphrase,
    /// Nothing protects an export under an empty one.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// The passphrase could not be made a key.
    #[error("the passphrase cannot be made a key: {0}")]
    Derivation(String),
}

/// What is in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyFiles {
    /// All keys, by number.
    pub(crate) keys: BTreeMap<KeyNumber, MasterSecret>,
    /// Files that are called as keys are, and have something else.
    pub(crate) damaged: BTreeSet<KeyNumber>,
}

impl KeyFiles {
    /// The highest number that a file has.
    fn last(&self) -> Option<KeyNumber> {
        self.keys.keys().chain(&self.damaged).max().copied()
    }
}

/// What is wrong in a folder.
#[derive(Debug, Default)]
pub struct KeyFindings {
    /// Keys that no export is known to have.
    pub unexported: Vec<KeyNumber>,
    /// Files that are called as keys are, and have something else.
    pub damaged: Vec<PathBuf>,
    /// Keys' files, and the folder itself, where others than their owner may open them.
    pub exposed: Vec<PathBuf>,
}

/// Where the master keys are.
#[derive(Debug, Clone)]
pub struct KeyFolder(PathBuf);

impl KeyFolder {
    /// This folder; it is made with the first key.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All keys, and what is none.
    pub(crate) fn read(&self) -> Result<KeyFiles, KeyError> {
        let mut files = KeyFiles::default();
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(failed(&self.0, error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| failed(&self.0, error))?.path();
            let Some(number) = self.number_of(&path) else { continue };
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                // Another process has deleted it since.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) if error.kind() == ErrorKind::IsADirectory => Vec::new(),
                Err(error) => return Err(failed(&path, error)),
            };
            match <[u8; 32]>::try_from(bytes) {
                Ok(bytes) => {
                    files.keys.insert(number, MasterSecret::of(bytes));
                }
                Err(_) => {
                    files.damaged.insert(number);
                }
            }
        }
        Ok(files)
    }

    /// Keeps a key; refused where there is another one of its number.
    pub(crate) fn put(&self, number: KeyNumber, secret: &MasterSecret) -> Result<(), KeyError> {
        if self.make(number, secret)? == *secret {
            return Ok(());
        }
        Err(KeyError::Differs { number, folder: self.0.clone() })
    }

    /// Makes the first key, where there is none.
    pub(super) fn make_first(&self) -> Result<(), KeyError> {
        let files = self.read()?;
        if files.keys.is_empty() {
            let number = files.last().map_or(FIRST, KeyNumber::next);
            let secret = MasterSecret::random().map_err(|error| failed(&self.0, error))?;
            // Of several who make it at once one does, and all take that.
            self.make(number, &secret)?;
        }
        Ok(())
    }

    /// Makes a new key, which the platform goes over to.
    ///
    /// # Errors
    /// Where there is no key yet, or the folder cannot be used.
    pub fn rotate(&self) -> Result<KeyNumber, KeyError> {
        let files = self.read()?;
        if files.keys.is_empty() {
            return Err(KeyError::NoKey(self.0.clone()));
        }
        // A key that was exported from here, or came from elsewhere, may have been deleted since.
        let exported = self.exported()?.into_values().max();
        let next = files.last().max(exported).map_or(FIRST, KeyNumber::next);
        let secret = MasterSecret::random().map_err(|error| failed(&self.0, error))?;
        self.put(next, &secret)?;
        Ok(next)
    }

    /// Whoever reads it next finds the key that was there, or this one; durable.
    fn make(&self, number: KeyNumber, secret: &MasterSecret) -> Result<MasterSecret, KeyError> {
        let path = self.file(number);
        let make = || -> std::io::Result<Vec<u8>> {
            let mut folder = std::fs::DirBuilder::new();
            folder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
            folder.create(&self.0)?;
            let made = make_private(&path, secret.bytes())?;
            remove_drafts(&path)?;
            std::fs::File::open(&self.0)?.sync_all()?;
            Ok(made)
        };
        let made = make().map_err(|error| failed(&path, error))?;
        <[u8; 32]>::try_from(made).map(MasterSecret::of).map_err(|_| KeyError::NotAKey(path))
    }

    /// Deletes a key that nothing is sealed under.
    pub(super) fn remove(&self, number: KeyNumber) -> Result<(), KeyError> {
        let path = self.file(number);
        // Drafts go first: nobody comes back for them once the key's file is gone.
        match remove_drafts(&path).and_then(|()| std::fs::remove_file(&path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path, error)),
            _ => Ok(()),
        }
    }

    /// The newest key's number.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn newest(&self) -> Result<Option<KeyNumber>, KeyError> {
        Ok(self.read()?.keys.into_keys().next_back())
    }

    /// What is wrong here.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn look_over(&self) -> Result<KeyFindings, KeyError> {
        let (files, exported) = (self.read()?, self.exported()?);
        let is_exported = |secret: &MasterSecret| exported.contains_key(&secret.fingerprint());
        let paths = files.keys.keys().map(|number| self.file(*number));
        let exposed = std::iter::once(self.0.clone()).chain(paths).filter(|path| is_exposed(path)).collect();
        Ok(KeyFindings {
            unexported: files.keys.iter().filter(|key| !is_exported(key.1)).map(|key| *key.0).collect(),
            damaged: files.damaged.iter().map(|number| self.file(*number)).collect(),
            exposed,
        })
    }

    pub(super) fn file(&self, number: KeyNumber) -> PathBuf {
        self.0.join(format!("{number}.{EXTENSION}"))
    }

    /// None: it is no key's file.
    fn number_of(&self, path: &Path) -> Option<KeyNumber> {
        let number = KeyNumber(path.file_stem()?.to_str()?.parse().ok()?);
        (number.0 >= 0 && self.file(number) == path).then_some(number)
    }
}

/// Whether others than its owner may open it.
#[cfg(unix)]
fn is_exposed(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_exposed(_path: &Path) -> bool {
    false
}

pub(super) fn failed(path: &Path, source: std::io::Error) -> KeyError {
    KeyError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use protocol::InstanceId;

    use super::*;

    #[test]
    fn keys_are_private_and_numbered() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = KeyFolder::at(temporary.path().join("store-keys"));
        assert!(matches!(folder.rotate(), Err(KeyError::NoKey(_))));
        assert_eq!(folder.newest().unwrap(), None);
        folder.make_first().unwrap();
        let first = folder.read().unwrap();
        folder.make_first().unwrap();
        assert_eq!(folder.read().unwrap(), first, "it is made once");
        assert_eq!(folder.rotate().unwrap(), KeyNumber(2));
        assert_eq!(folder.rotate().unwrap(), KeyNumber(3));
        let keys = folder.read().unwrap();
        assert_eq!((keys.keys.len(), keys.damaged.len()), (3, 0));
        assert_ne!(keys.keys[&KeyNumber(2)].fingerprint(), keys.keys[&KeyNumber(3)].fingerprint());
        for (file, expected) in [("1.key", 0o600), ("3.key", 0o600), ("", 0o700)] {
            let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, expected, "{file}");
        }
        for other in ["4.key.bak", "04.key", "-1.key", "x.key", "5"] {
            std::fs::write(folder.path().join(other), b"x").unwrap();
        }
        assert_eq!(folder.read().unwrap(), keys);
        folder.remove(KeyNumber(2)).unwrap();
        folder.remove(KeyNumber(2)).unwrap();
        assert_eq!(folder.rotate().unwrap(), KeyNumber(4), "no number comes twice");
    }

    #[test]
    fn what_is_no_key_stops_nothing() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = KeyFolder::at(temporary.path());
        std::fs::write(folder.path().join("1.key"), b"short").unwrap();
        std::fs::create_dir(folder.path().join("3.key")).unwrap();
        folder.make_first().unwrap();
        let files = folder.read().unwrap();
        assert_eq!(files.keys.into_keys().collect::<Vec<_>>(), [KeyNumber(4)]);
        assert_eq!(files.damaged, BTreeSet::from([KeyNumber(1), KeyNumber(3)]));
        std::fs::write(folder.path().join("7.key"), b"short").unwrap();
        assert_eq!(folder.rotate().unwrap(), KeyNumber(8), "no file is written over");
        let damaged = folder.look_over().unwrap().damaged;
        assert_eq!(damaged, ["1.key", "3.key", "7.key"].map(|file| folder.path().join(file)));
        let refused = folder.put(KeyNumber(7), &MasterSecret::of([1; 32])).unwrap_err();
        assert!(matches!(&refused, KeyError::NotAKey(path) if path.ends_with("7.key")), "{refused}");
    }

    #[test]
    fn what_others_may_open_is_found() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = KeyFolder::at(temporary.path().join("store-keys"));
        assert!(folder.look_over().unwrap().exposed.is_empty(), "there is none yet");
        folder.make_first().unwrap();
        folder.rotate().unwrap();
        assert!(folder.look_over().unwrap().exposed.is_empty());
        let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        open(&folder.file(KeyNumber(2)), 0o640);
        assert_eq!(folder.look_over().unwrap().exposed, [folder.file(KeyNumber(2))]);
        open(folder.path(), 0o701);
        assert_eq!(folder.look_over().unwrap().exposed, [folder.path().to_owned(), folder.file(KeyNumber(2))]);
    }

    /// Who died between the link and the end of the draft has left the key under another name.
    #[test]
    fn no_draft_outlives_its_key() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = KeyFolder::at(temporary.path());
        folder.make_first().unwrap();
        folder.rotate().unwrap();
        let left = |number: i32| {
            let draft = folder.path().join(format!("{number}.{}", InstanceId::new()));
            std::fs::copy(folder.file(KeyNumber(number)), &draft).unwrap();
            draft
        };
        let (first, second, again) = (left(1), left(2), left(2));
        folder.remove(KeyNumber(2)).unwrap();
        assert!(first.exists() && !second.exists() && !again.exists());
        let secret = folder.read().unwrap().keys.remove(&FIRST).unwrap();
        folder.put(FIRST, &secret).unwrap();
        assert!(!first.exists());
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files, [folder.file(FIRST)]);
    }
}
