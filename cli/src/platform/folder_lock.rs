//! The lock of a data folder: a file in it that one process holds, with that process's id in it, for whoever finds it taken.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// The file's name.
pub(super) const LOCK: &str = "lock";

/// A folder that is locked; as long as this lives.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

/// Why a folder is not locked.
pub(super) enum Unlocked {
    /// This process has it, as far as it says who it is.
    Held(String),
    /// The file cannot be used.
    Unusable(io::Error),
}

impl From<io::Error> for Unlocked {
    fn from(why: io::Error) -> Self {
        Self::Unusable(why)
    }
}

impl FolderLock {
    /// Locks this folder, which is there.
    pub(super) fn take(folder: &Path) -> Result<Self, Unlocked> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(folder.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Without it the folder is taken all the same.
                drop(file.read_to_string(&mut holder));
                return Err(Unlocked::Held(holder.trim().to_owned()));
            }
            Err(TryLockError::Error(why)) => return Err(why.into()),
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }

    /// The process that has locked this folder, if one has.
    pub(super) fn holder(folder: &Path) -> Option<u32> {
        let mut file = File::options().read(true).open(folder.join(LOCK)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {}
            Ok(()) | Err(TryLockError::Error(_)) => return None,
        }
        let mut holder = String::new();
        file.read_to_string(&mut holder).ok()?;
        holder.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_a_folder_and_says_who_it_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(FolderLock::holder(folder.path()), None);
        let first = FolderLock::take(folder.path()).ok().unwrap();
        let Err(Unlocked::Held(holder)) = FolderLock::take(folder.path()) else { panic!("two have it") };
        assert_eq!(holder, std::process::id().to_string());
        assert_eq!(FolderLock::holder(folder.path()), Some(std::process::id()));
        drop(first);
        assert_eq!(FolderLock::holder(folder.path()), None);
        assert!(FolderLock::take(folder.path()).is_ok());
        let gone = folder.path().join("gone");
        assert!(matches!(FolderLock::take(&gone), Err(Unlocked::Unusable(_))));
    }
}
