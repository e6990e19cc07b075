//! The folder of this machine's node: locked while it is used, and what is kept of having joined.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use executor::NodeKeys;
use protocol::node::{Admission, PublicKey};
use protocol::signed::Signed;
use protocol::{Timestamp, TokenId};
use serde::{Deserialize, Serialize};

use super::agreed::Agreed;
use super::reach::Reach;
use crate::authorities::Authorities;
use crate::failure::{Exit, Failure};
use crate::platform::data::write_private;
use crate::platform::folder_lock::{FolderLock, LOCK, Unlocked};

const KEYS: &str = "keys";
/// The keys of a node, without their extensions.
const KEY_NAMES: [&str; 4] = ["nats", "signing", "ticket", "code"];
const LOCK_BYTES_MAX: u64 = 32;
const NODE: &str = "node.json";

/// What is kept of having joined.
#[derive(Serialize, Deserialize)]
pub(super) struct Lent {
    pub(super) origin: String,
    /// The platform's key, which the token pinned.
    pub(super) root: PublicKey,
    /// The user has agreed that a proxy reads along.
    #[serde(default)]
    pub(super) behind_proxy: bool,
    /// What its user believes beside public authorities (`--ca-file`).
    #[serde(default, skip_serializing_if = "Authorities::is_empty")]
    pub(super) authorities: Authorities,
    pub(super) registrar: PublicKey,
    /// What is lent; none where this machine joined before that was kept.
    #[serde(default)]
    pub(super) agreed: Option<Agreed>,
    /// Why the platform has shut it out; none where it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shut_out: Option<String>,
    /// When it asks whether it is still suspended; none where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asks_again: Option<Timestamp>,
    pub(super) admission: Signed,
    /// The token that it joined with.
    #[serde(default)]
    pub(super) token: Option<TokenId>,
    /// What it is called on the platform.
    #[serde(default)]
    pub(super) name: Option<String>,
}

impl Lent {
    /// The same with these authorities, where its user says something of them: that may be that there are none.
    pub(super) fn believing(self, said: Option<Authorities>) -> Self {
        match said {
            Some(authorities) => Self { authorities, ..self },
            None => self,
        }
    }

    /// The platform, as this machine reaches it.
    pub(super) fn reach(&self) -> Result<Reach, Failure> {
        Reach::new(&self.origin, self.root, self.behind_proxy, self.authorities.clone())
    }

    /// What the platform has told this machine.
    pub(super) fn told(&self, keys: &NodeKeys) -> Result<Admission, Failure> {
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::new(Exit::Authentication, "admission", "What the platform says cannot be believed").why(why)
        };
        let told: Admission = self.admission.open(&self.registrar).map_err(|why| wrong(&why))?;
        if told.nats != keys.nats().public() {
            return Err(wrong(&"it is for another machine's key"));
        }
        Ok(told)
    }
}

/// The machine's folder; locked as long as this lives.
pub(super) struct Folder {
    path: PathBuf,
    _lock: FolderLock,
}

/// Where a machine that lends keeps its things, if nothing else is said.
pub(crate) fn own_node_folder() -> Result<PathBuf, Failure> {
    let data = std::env::var_os("XDG_DATA_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = data.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    let data = data.ok_or_else(|| {
        Failure::new(Exit::Usage, "data", "There is no home folder").help("name a folder with --data DIR")
    })?;
    Ok(data.join("crowdcloud/node"))
}

/// A node that has joined, for its owner.
pub(crate) struct Joined {
    /// Its name, or its id.
    pub(crate) name: String,
    pub(crate) origin: String,
    /// Why the platform has shut it out.
    pub(crate) shut_out: Option<String>,
    /// When it asks whether it is still suspended, where a process does.
    pub(crate) asks_again: Option<Timestamp>,
    /// A process lends with it.
    pub(crate) is_held: bool,
}

/// The node of this folder; none where none has joined.
pub(crate) fn joined(path: &Path) -> Option<Joined> {
    let lent: Lent = serde_json::from_slice(&fs::read(path.join(NODE)).ok()?).ok()?;
    let id = || lent.admission.open::<Admission>(&lent.registrar).map(|told| told.node.to_string()).ok();
    let name = lent.name.clone().or_else(id)?;
    let is_held = Folder::holder(path).is_some();
    let asks_again = lent.asks_again.filter(|_| is_held);
    Some(Joined { name, origin: lent.origin, shut_out: lent.shut_out, asks_again, is_held })
}

impl Folder {
    /// Opens or makes it; refuses one in use, and one that is not a node's, in which nothing is written.
    pub(super) fn open(path: PathBuf) -> Result<Self, Failure> {
        if !Self::has_node(&path) {
            check_new(&path)?;
        }
        let unusable = |why: std::io::Error| failed(&path, why);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(unusable)?;
        let lock = FolderLock::take(&path).map_err(|why| match why {
            Unlocked::Held(holder) => {
                Failure::new(Exit::Conflict, "data_in_use", format!("{} is in use", path.display()))
                    .why(format!("process {holder} lends with it"))
                    .help("stop it first, or name another folder with --data DIR")
            }
            Unlocked::Unusable(why) => unusable(why),
        })?;
        Ok(Self { path, _lock: lock })
    }

    /// Whether a node that has joined is there.
    pub(super) fn has_node(path: &Path) -> bool {
        path.join(NODE).exists()
    }

    /// The process that holds it, if one does.
    pub(super) fn holder(path: &Path) -> Option<u32> {
        FolderLock::holder(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self) -> PathBuf {
        self.path.join(NODE)
    }

    /// What is kept of having joined; none before.
    pub(super) fn lent(&self) -> Result<Option<Lent>, Failure> {
        let file = self.file();
        match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|why| damaged(&file).why(why)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(damaged(&file).why(error)),
        }
    }

    pub(super) fn keep(&self, lent: &Lent) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(lent).map_err(|why| damaged(&self.file()).why(why))?;
        write_private(&self.file(), &text)
    }

    /// Deletes what a node that has left put there: its keys, its cache and at last that it had joined.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        let clear = || -> std::io::Result<()> {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                let (name, path) = (entry.file_name(), entry.path());
                if name == LOCK || name == NODE {
                    continue;
                }
                if entry.file_type()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
            }
            fs::remove_file(self.file())
        };
        clear().map_err(|why| failed(&self.path, why))
    }

    /// Deletes it, with all that the node put there.
    pub(super) fn delete(self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.path).map_err(|why| failed(&self.path, why))
    }
}

/// Refuses a folder with something in it that is no node's: leaving deletes all of it. A try to join that was refused has
/// left its lock and its keys.
fn check_new(path: &Path) -> Result<(), Failure> {
    match foreign(path) {
        Ok(None) => Ok(()),
        Ok(Some(name)) => Err(Failure::new(Exit::Conflict, "data", format!("{} is not empty", path.display()))
            .why(format!("{} is there, and a node has a folder of its own", name.display()))
            .help("name a new folder with --data DIR")),
        Err(why) => Err(failed(path, why)),
    }
}

/// Something in the folder that no try to join has left there.
fn foreign(path: &Path) -> std::io::Result<Option<PathBuf>> {
    for name in names(path)? {
        let known = match name.to_str() {
            Some(LOCK) => is_lock(&path.join(LOCK))?,
            Some(KEYS) => {
                let other = names(&path.join(KEYS))?.into_iter().find(|key| !is_key(key));
                if let Some(other) = other {
                    return Ok(Some(Path::new(KEYS).join(other)));
                }
                true
            }
            _ => false,
        };
        if !known {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// What is in a folder; nothing where there is none.
fn names(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    match fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| PathBuf::from(entry.file_name()))).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A node's lock has the id of a process in it, or nothing yet.
fn is_lock(path: &Path) -> std::io::Result<bool> {
    let about = fs::symlink_metadata(path)?;
    if !about.is_file() || about.len() > LOCK_BYTES_MAX {
        return Ok(false);
    }
    Ok(fs::read(path)?.iter().all(|byte| byte.is_ascii_digit() || *byte == b'\n'))
}

fn is_key(name: &Path) -> bool {
    name.file_stem().is_some_and(|stem| KEY_NAMES.iter().any(|known| stem == *known))
}

fn failed(path: &Path, why: std::io::Error) -> Failure {
    Failure::new(Exit::Platform, "data", format!("The folder {} cannot be used", path.display())).why(why)
}

fn damaged(path: &Path) -> Failure {
    Failure::new(Exit::Platform, "data", format!("{} cannot be used", path.display()))
        .help("restore it from a backup, or join anew in another folder")
}

#[cfg(test)]
pub(super) mod tests {
    use protocol::node::Signature;

    use super::*;
    use crate::authorities::tests::PEM;

    /// What is kept of a node that has joined; nobody has signed it.
    pub(in crate::platform::lend) fn unsigned() -> Lent {
        Lent {
            origin: "https://cloud.example.org".to_owned(),
            root: PublicKey([1; 32]),
            behind_proxy: false,
            authorities: Authorities::default(),
            registrar: PublicKey([2; 32]),
            agreed: None,
            shut_out: None,
            asks_again: None,
            admission: Signed { text: "{}".to_owned(), signature: Signature([0; 64]) },
            token: None,
            name: Some("attic".to_owned()),
        }
    }

    #[test]
    fn certificates_are_kept_until_others_or_none_are_said() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("ca.pem");
        fs::write(&file, PEM).unwrap();
        let folder = Folder::open(temporary.path().join("node")).unwrap();
        let mut lent = unsigned();
        for (said, kept) in [(None, 0), (Some(&*file), 1), (None, 1), (Some(Path::new("none")), 0), (None, 0)] {
            lent = lent.believing(said.map(Authorities::named).transpose().unwrap());
            folder.keep(&lent).unwrap();
            lent = folder.lent().unwrap().unwrap();
            assert_eq!(lent.authorities.certificates().len(), kept, "{said:?}");
        }
    }

    #[test]
    fn a_nodes_folder_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node");
        assert_eq!(Folder::holder(&path), None);
        let first = Folder::open(path.clone()).unwrap();
        assert!(first.lent().unwrap().is_none());
        assert_eq!(Folder::open(path.clone()).err().unwrap().exit(), Exit::Conflict);
        assert_eq!(Folder::holder(&path), Some(std::process::id()));
        drop(first);
        assert_eq!(Folder::holder(&path), None);
        fs::create_dir(path.join(KEYS)).unwrap();
        fs::write(path.join("keys/signing.key"), [1_u8; 32]).unwrap();
        assert!(Folder::open(path).is_ok(), "a try to join was refused");
    }

    #[test]
    fn a_folder_is_cleared_for_another_node_and_stays_locked() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("node");
        let folder = Folder::open(path.clone()).unwrap();
        fs::create_dir_all(path.join("cache/wasm")).unwrap();
        for file in ["keys.bin", "cache/wasm/a", NODE] {
            fs::write(path.join(file), "{}").unwrap();
        }
        folder.clear().unwrap();
        assert_eq!(names(&path).unwrap(), [Path::new(LOCK)]);
        assert_eq!(Folder::holder(&path), Some(std::process::id()));
    }

    #[test]
    fn nothing_is_written_in_a_folder_that_is_not_a_nodes() {
        for (name, text) in [("thesis.tex", "years of work"), (LOCK, "of a shed"), ("keys/id_ed25519", "a secret")] {
            let folder = tempfile::tempdir().unwrap();
            let (path, file) = (folder.path().to_owned(), folder.path().join(name));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            let refused = Folder::open(path.clone()).err().unwrap();
            assert!(refused.exit() == Exit::Conflict && refused.what().contains(name), "{}", refused.what());
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
            assert_eq!(names(&path).unwrap().len(), 1, "{name}");
        }
    }
}
