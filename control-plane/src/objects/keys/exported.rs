//! What leaves a folder of master keys, and comes back: exports, and the folder's notes of which keys they have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Write as _};

use super::export;
use super::folder::{KeyError, KeyFolder, KeyNumber, MasterSecret, failed};

/// The file that notes which keys have been exported: a number and a fingerprint on each line.
const EXPORTED: &str = "exported";
/// It is written as this first.
const DRAFT: &str = "exported.new";
/// Whoever writes it has the lock of this one.
const LOCK: &str = "exported.lock";

/// What is exported.
pub struct KeyExport {
    /// What is to be written into a file.
    pub text: String,
    /// Which keys are in it.
    pub numbers: Vec<KeyNumber>,
    noted: BTreeMap<String, KeyNumber>,
}

/// What was imported.
#[derive(Debug)]
pub struct KeyImport {
    /// Which keys were in it.
    pub numbers: Vec<KeyNumber>,
    /// Whether a passphrase was needed.
    pub is_encrypted: bool,
}

impl KeyFolder {
    /// All keys, encrypted under a passphrase where there is one.
    ///
    /// # Errors
    /// Where there are none, or the passphrase is empty.
    pub fn export(&self, passphrase: Option<&str>) -> Result<KeyExport, KeyError> {
        let keys = self.read()?.keys;
        if keys.is_empty() {
            return Err(KeyError::NoKey(self.path().to_owned()));
        }
        let text = export::write(&keys, passphrase)?;
        let noted = fingerprints(&keys);
        Ok(KeyExport { text, numbers: keys.into_keys().collect(), noted })
    }

    /// An export is where it is to be kept.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn note(&self, export: &KeyExport) -> Result<(), KeyError> {
        self.note_exported(&export.noted)
    }

    /// Keeps what an export has, beside what is there.
    ///
    /// # Errors
    /// Where it is no export, the passphrase is wrong, or there is another key of the same number.
    pub fn import(&self, text: &str, passphrase: Option<&str>) -> Result<KeyImport, KeyError> {
        let (keys, is_encrypted) = export::read(text, passphrase)?;
        let there = self.read()?;
        if let Some(number) = keys.keys().find(|number| there.damaged.contains(number)) {
            return Err(KeyError::NotAKey(self.file(*number)));
        }
        let differs =
            |(number, secret): (&KeyNumber, &MasterSecret)| there.keys.get(number).is_some_and(|has| has != secret);
        if let Some((number, _)) = keys.iter().find(|key| differs(*key)) {
            return Err(KeyError::Differs { number: *number, folder: self.path().to_owned() });
        }
        for (number, secret) in &keys {
            self.put(*number, secret)?;
        }
        self.note_exported(&fingerprints(&keys))?;
        Ok(KeyImport { numbers: keys.into_keys().collect(), is_encrypted })
    }

    /// Keys that an export has, by their fingerprints.
    pub(super) fn exported(&self) -> Result<BTreeMap<String, KeyNumber>, KeyError> {
        let path = self.path().join(EXPORTED);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().filter_map(noted).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Adds to the notes; durable, and nothing that another process adds at the same time is lost.
    fn note_exported(&self, keys: &BTreeMap<String, KeyNumber>) -> Result<(), KeyError> {
        let (path, draft, lock) = (self.path().join(EXPORTED), self.path().join(DRAFT), self.path().join(LOCK));
        let locked = File::options().write(true).create(true).truncate(false).open(&lock);
        let locked = locked.and_then(|file| file.lock().map(|()| file)).map_err(|error| failed(&lock, error))?;
        let mut all = self.exported()?;
        all.extend(keys.clone());
        let lines: BTreeSet<(KeyNumber, String)> = all.into_iter().map(|(key, number)| (number, key)).collect();
        let lines: String = lines.iter().map(|(number, key)| format!("{number} {key}\n")).collect();
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&draft)?;
            file.write_all(lines.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            File::open(self.path())?.sync_all()
        };
        write().map_err(|error| failed(&path, error))?;
        drop(locked);
        Ok(())
    }
}

fn fingerprints(keys: &BTreeMap<KeyNumber, MasterSecret>) -> BTreeMap<String, KeyNumber> {
    keys.iter().map(|(number, secret)| (secret.fingerprint(), *number)).collect()
}

/// What a line notes.
fn noted(line: &str) -> Option<(String, KeyNumber)> {
    let (number, fingerprint) = line.split_once(' ')?;
    Some((fingerprint.to_owned(), KeyNumber(number.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unexported(folder: &KeyFolder) -> Vec<i32> {
        folder.look_over().unwrap().unexported.into_iter().map(|number| number.0).collect()
    }

    #[test]
    fn what_is_exported_comes_back_elsewhere_and_is_noted() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = KeyFolder::at(temporary.path().join("here"));
        assert!(matches!(folder.export(None), Err(KeyError::NoKey(_))));
        folder.make_first().unwrap();
        folder.rotate().unwrap();
        assert_eq!(unexported(&folder), [1, 2]);
        let export = folder.export(Some("correct horse")).unwrap();
        assert_eq!(export.numbers, [KeyNumber(1), KeyNumber(2)]);
        assert_eq!(unexported(&folder), [1, 2], "it is not written yet");
        folder.note(&export).unwrap();
        assert!(unexported(&folder).is_empty());
        assert_eq!(folder.rotate().unwrap(), KeyNumber(3));
        assert_eq!(unexported(&folder), [3], "the next one is not in it");

        let elsewhere = KeyFolder::at(temporary.path().join("there"));
        assert!(matches!(elsewhere.import(&export.text, None), Err(KeyError::Encrypted)));
        let imported = elsewhere.import(&export.text, Some("correct horse")).unwrap();
        assert!(imported.is_encrypted && imported.numbers == export.numbers, "{imported:?}");
        assert!(unexported(&elsewhere).is_empty());
        folder.remove(KeyNumber(3)).unwrap();
        assert_eq!(elsewhere.read().unwrap(), folder.read().unwrap());
        let again = elsewhere.import(&export.text, Some("correct horse")).unwrap();
        assert_eq!(again.numbers, export.numbers, "again is fine");
        let plain = elsewhere.export(None).unwrap();
        assert!(!elsewhere.import(&plain.text, Some("correct horse")).unwrap().is_encrypted);

        let other = KeyFolder::at(temporary.path().join("other"));
        other.put(KeyNumber(2), &MasterSecret::of([9; 32])).unwrap();
        let refused = other.import(&export.text, Some("correct horse")).unwrap_err();
        assert!(matches!(refused, KeyError::Differs { number: KeyNumber(2), .. }), "{refused}");
        assert_eq!(other.read().unwrap().keys.len(), 1, "nothing was replaced or added");
        std::fs::write(other.file(KeyNumber(2)), b"short").unwrap();
        let refused = other.import(&export.text, Some("correct horse")).unwrap_err();
        assert!(matches!(refused, KeyError::NotAKey(_)), "{refused}");
        assert!(other.read().unwrap().keys.is_empty(), "nothing was added");
    }

    #[test]
    fn an_older_key_that_no_export_has_is_named_too() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = KeyFolder::at(temporary.path());
        folder.make_first().unwrap();
        let newer = KeyFolder::at(temporary.path().join("newer"));
        newer.put(KeyNumber(2), &MasterSecret::of([2; 32])).unwrap();
        folder.import(&newer.export(None).unwrap().text, None).unwrap();
        assert_eq!(unexported(&folder), [1]);
    }

    #[test]
    fn no_number_that_was_exported_comes_twice() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = KeyFolder::at(temporary.path());
        folder.make_first().unwrap();
        folder.rotate().unwrap();
        folder.note(&folder.export(None).unwrap()).unwrap();
        folder.remove(KeyNumber(2)).unwrap();
        assert_eq!(folder.rotate().unwrap(), KeyNumber(3));
    }

    #[test]
    fn notes_of_the_same_moment_are_all_there() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = KeyFolder::at(temporary.path());
        folder.make_first().unwrap();
        std::thread::scope(|scope| {
            for number in 0..20_i32 {
                let folder = &folder;
                let note = BTreeMap::from([(format!("key{number}"), KeyNumber(number))]);
                scope.spawn(move || folder.note_exported(&note).unwrap());
            }
        });
        let noted: Vec<i32> = folder.exported().unwrap().into_values().map(|number| number.0).collect();
        assert_eq!(noted.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from_iter(0..20));
    }
}
