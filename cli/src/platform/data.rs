//! The data folder: locked while in use, marked with its form's version, one place for each part's files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use protocol::NodeId;

use super::folder_lock::{FolderLock, Unlocked};
use crate::failure::{Exit, Failure};

/// The form that this program writes.
const FORMAT: u32 = 1;

/// An open data folder; the lock is held as long as this lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: FolderLock,
}

impl DataFolder {
    /// Opens or makes it; refuses one in use or of a newer version.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |why: std::io::Error| {
            Failure::new(Exit::Platform, "data", format!("The data folder {} cannot be used", path.display()))
                .why(why)
                .help("choose another one: crowdcloud up --data DIR")
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let lock = FolderLock::take(&path).map_err(|why| match why {
            Unlocked::Held(holder) => {
                Failure::new(Exit::Conflict, "data_in_use", format!("{} is in use", path.display()))
                    .why(format!("another `crowdcloud up` (process {holder}) runs on this folder"))
                    .help("stop it with Ctrl-C, or choose another folder: crowdcloud up --data DIR")
            }
            Unlocked::Unusable(why) => failed(why),
        })?;
        let folder = Self { path, _lock: lock };
        folder.check_format()?;
        for part in ["run", "store", "nats", "gateway", "nodes"] {
            let part = folder.path.join(part);
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(part).map_err(failed)?;
        }
        Ok(folder)
    }

    fn check_format(&self) -> Result<(), Failure> {
        let file = self.path.join("format");
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return write_private(&file, format!("{FORMAT}\n").as_bytes());
            }
            Err(error) => return Err(error.into()),
        };
        let what = |what: &str| Failure::new(Exit::Conflict, "data_version", format!("{} {what}", self.path.display()));
        match text.trim().parse::<u32>() {
            Ok(FORMAT) => Ok(()),
            Ok(newer) if newer > FORMAT => Err(what("is of a newer version")
                .why(format!("its form is {newer}; this program, {}, knows up to {FORMAT}", env!("CARGO_PKG_VERSION")))
                .help("use the newer crowdcloud that wrote it, or choose another folder: crowdcloud up --data DIR")),
            _ => Err(what("has an unreadable version")
                .why(format!("{} says {:?}", file.display(), text.trim()))
                .help("restore the file from a backup, or choose another folder: crowdcloud up --data DIR")),
        }
    }

    /// A file or folder in it.
    pub(crate) fn join(&self, part: impl AsRef<Path>) -> PathBuf {
        self.path.join(part)
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the local node of this number, made at its first start.
    pub(crate) fn node(&self, number: u16) -> Result<NodeId, Failure> {
        let folder = self.node_folder(number);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let file = folder.join("id");
        if let Some(id) = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()) {
            return Ok(id);
        }
        let id = NodeId::new();
        write_private(&file, id.to_string().as_bytes())?;
        Ok(id)
    }

    /// What the node keeps.
    pub(crate) fn node_folder(&self, number: u16) -> PathBuf {
        self.path.join("nodes").join(format!("local-{number}"))
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        drop(std::fs::remove_file(self.path.join("run/pids.json")));
    }
}

/// Which process is which, for people and tests.
pub(crate) fn write_pids(file: &Path, pids: &BTreeMap<String, u32>) {
    if let Err(error) = write_private(file, &serde_json::to_vec(pids).unwrap_or_default()) {
        tracing::warn!(error = error.what(), "cannot write pids.json");
    }
}

/// Which processes ran last on this folder.
pub(crate) fn pids(data: &Path) -> BTreeMap<String, u32> {
    let text = std::fs::read(data.join("run/pids.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Writes a file whole or not at all, readable by its owner alone.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        let temporary = path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write()
        .map_err(|why| Failure::new(Exit::Platform, "data", format!("{} cannot be written", path.display())).why(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_refused_and_free_again_later() {
        let temporary = tempfile::tempdir().unwrap();
        let first = DataFolder::open(temporary.path()).unwrap();
        let id = first.node(1).unwrap();
        let refused = DataFolder::open(temporary.path()).unwrap_err();
        assert_eq!(refused.exit(), Exit::Conflict);
        assert!(refused.what().contains(&std::process::id().to_string()), "{}", refused.what());
        drop(first);
        assert_eq!(DataFolder::open(temporary.path()).unwrap().node(1).unwrap(), id);
    }

    #[test]
    fn a_newer_folder_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("format"), "2\n").unwrap();
        let refused = DataFolder::open(temporary.path()).unwrap_err();
        assert!(refused.what().contains("newer"), "{}", refused.what());
    }
}
