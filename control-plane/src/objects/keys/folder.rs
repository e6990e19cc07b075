//! The folder of master keys: one file for each, beside the root secret, which nobody but its owner may read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use protocol::{BlobKey, Digest};
use rand::TryRngCore as _;
use serde::{Deserialize, Serialize};

use super::export;
use crate::tickets::make_private;

/// What each key's file is called after its number.
const EXTENSION: &str = "key";
/// The file that notes which keys have been exported, by their fingerprints.
const EXPORTED: &str = "exported";
/// The first key that is made.
pub(super) const FIRST: KeyNumber = KeyNumber(1);

/// Which master key: of two, the later one has the higher number. 0 is derived from the root secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyNumber(pub(crate) i32);

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
    pub(super) fn fingerprint(&self) -> String {
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

/// What is exported.
pub struct KeyExport {
    /// What is to be written into a file.
    pub text: String,
    /// Which keys are in it.
    pub numbers: Vec<KeyNumber>,
    fingerprints: BTreeSet<String>,
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

    /// All keys, by number.
    pub(crate) fn read(&self) -> Result<BTreeMap<KeyNumber, MasterSecret>, KeyError> {
        let mut keys = BTreeMap::new();
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(keys),
            Err(error) => return Err(failed(&self.0, error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| failed(&self.0, error))?.path();
            let Some(number) = self.number_of(&path) else { continue };
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                // Another process has deleted it since.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&path, error)),
            };
            let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::NotAKey(path))?;
            keys.insert(number, MasterSecret::of(bytes));
        }
        Ok(keys)
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
        if self.read()?.is_empty() {
            let secret = MasterSecret::random().map_err(|error| failed(&self.0, error))?;
            // Of several who make it at once one does, and all take that.
            self.make(FIRST, &secret)?;
        }
        Ok(())
    }

    /// Makes a new key, which the platform goes over to.
    ///
    /// # Errors
    /// Where there is no key yet, or the folder cannot be used.
    pub fn rotate(&self) -> Result<KeyNumber, KeyError> {
        let newest = self.newest()?.ok_or_else(|| KeyError::NoKey(self.0.clone()))?;
        let next = KeyNumber(newest.0.saturating_add(1));
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
            std::fs::File::open(&self.0)?.sync_all()?;
            Ok(made)
        };
        let made = make().map_err(|error| failed(&path, error))?;
        <[u8; 32]>::try_from(made).map(MasterSecret::of).map_err(|_| KeyError::NotAKey(path))
    }

    /// Deletes a key that nothing is sealed under.
    pub(super) fn remove(&self, number: KeyNumber) -> Result<(), KeyError> {
        let path = self.file(number);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path, error)),
            _ => Ok(()),
        }
    }

    /// The newest key's number.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn newest(&self) -> Result<Option<KeyNumber>, KeyError> {
        Ok(self.read()?.into_keys().next_back())
    }

    /// The newest key's number, where no export has it.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn unexported(&self) -> Result<Option<KeyNumber>, KeyError> {
        let Some((number, secret)) = self.read()?.pop_last() else { return Ok(None) };
        let is_exported = self.exported()?.contains(&secret.fingerprint());
        Ok((!is_exported).then_some(number))
    }

    /// All keys, encrypted under a passphrase where there is one.
    ///
    /// # Errors
    /// Where there are none, or the passphrase is empty.
    pub fn export(&self, passphrase: Option<&str>) -> Result<KeyExport, KeyError> {
        let keys = self.read()?;
        if keys.is_empty() {
            return Err(KeyError::NoKey(self.0.clone()));
        }
        let text = export::write(&keys, passphrase)?;
        let fingerprints = keys.values().map(MasterSecret::fingerprint).collect();
        Ok(KeyExport { text, numbers: keys.into_keys().collect(), fingerprints })
    }

    /// An export is where it is to be kept.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn note(&self, export: &KeyExport) -> Result<(), KeyError> {
        self.note_fingerprints(export.fingerprints.clone())
    }

    /// Keeps what an export has, beside what is there.
    ///
    /// # Errors
    /// Where it is no export, the passphrase is wrong, or there is another key of the same number.
    pub fn import(&self, text: &str, passphrase: Option<&str>) -> Result<Vec<KeyNumber>, KeyError> {
        let keys = export::read(text, passphrase)?;
        let there = self.read()?;
        let differs =
            |(number, secret): (&KeyNumber, &MasterSecret)| there.get(number).is_some_and(|has| has != secret);
        if let Some((number, _)) = keys.iter().find(|key| differs(*key)) {
            return Err(KeyError::Differs { number: *number, folder: self.0.clone() });
        }
        for (number, secret) in &keys {
            self.put(*number, secret)?;
        }
        self.note_fingerprints(keys.values().map(MasterSecret::fingerprint).collect())?;
        Ok(keys.into_keys().collect())
    }

    fn exported(&self) -> Result<BTreeSet<String>, KeyError> {
        let path = self.0.join(EXPORTED);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(failed(&path, error)),
        }
    }

    fn note_fingerprints(&self, mut fingerprints: BTreeSet<String>) -> Result<(), KeyError> {
        fingerprints.extend(self.exported()?);
        let lines: String = fingerprints.iter().map(|fingerprint| format!("{fingerprint}\n")).collect();
        let (path, draft) = (self.0.join(EXPORTED), self.0.join("exported.new"));
        let written = std::fs::write(&draft, lines).and_then(|()| std::fs::rename(&draft, &path));
        written.map_err(|error| failed(&path, error))
    }

    fn file(&self, number: KeyNumber) -> PathBuf {
        self.0.join(format!("{number}.{EXTENSION}"))
    }

    /// None: it is no key's file.
    fn number_of(&self, path: &Path) -> Option<KeyNumber> {
        let number = KeyNumber(path.file_stem()?.to_str()?.parse().ok()?);
        (number.0 >= 0 && self.file(number) == path).then_some(number)
    }
}

fn failed(path: &Path, source: std::io::Error) -> KeyError {
    KeyError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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
        assert_eq!(keys.len(), 3);
        assert_ne!(keys[&KeyNumber(2)].fingerprint(), keys[&KeyNumber(3)].fingerprint());
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
        std::fs::write(folder.path().join("9.key"), b"short").unwrap();
        assert!(matches!(folder.read(), Err(KeyError::NotAKey(path)) if path.ends_with("9.key")));
    }

    #[test]
    fn what_is_exported_comes_back_elsewhere_and_is_noted() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = KeyFolder::at(temporary.path().join("here"));
        assert!(matches!(folder.export(None), Err(KeyError::NoKey(_))));
        folder.make_first().unwrap();
        folder.rotate().unwrap();
        assert_eq!(folder.unexported().unwrap(), Some(KeyNumber(2)));
        let export = folder.export(Some("correct horse")).unwrap();
        assert_eq!(export.numbers, [KeyNumber(1), KeyNumber(2)]);
        assert_eq!(folder.unexported().unwrap(), Some(KeyNumber(2)), "it is not written yet");
        folder.note(&export).unwrap();
        assert_eq!(folder.unexported().unwrap(), None);
        assert_eq!(folder.rotate().unwrap(), KeyNumber(3));
        assert_eq!(folder.unexported().unwrap(), Some(KeyNumber(3)), "the next one is not in it");

        let elsewhere = KeyFolder::at(temporary.path().join("there"));
        assert!(matches!(elsewhere.import(&export.text, None), Err(KeyError::Encrypted)));
        assert_eq!(elsewhere.import(&export.text, Some("correct horse")).unwrap(), export.numbers);
        assert_eq!(elsewhere.unexported().unwrap(), None);
        folder.remove(KeyNumber(3)).unwrap();
        assert_eq!(elsewhere.read().unwrap(), folder.read().unwrap());
        assert_eq!(elsewhere.import(&export.text, Some("correct horse")).unwrap(), export.numbers, "again is fine");

        let other = KeyFolder::at(temporary.path().join("other"));
        other.put(KeyNumber(2), &MasterSecret::of([9; 32])).unwrap();
        let refused = other.import(&export.text, Some("correct horse")).unwrap_err();
        assert!(matches!(refused, KeyError::Differs { number: KeyNumber(2), .. }), "{refused}");
        assert_eq!(other.read().unwrap().len(), 1, "nothing was replaced or added");
    }
}
