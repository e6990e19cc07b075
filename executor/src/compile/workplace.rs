//! The folder of one child: all that it may write. What is taken out of it is looked at first: a child whose input has
//! taken it over can leave anything there, under any name.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{getegid, geteuid};

/// What such folders end with; they go when their cache is opened.
pub(crate) const EXTENSION: &str = "work";
/// Names of what a child leaves.
pub(super) const REPORT: &str = "report";
pub(super) const CODE: &str = "code";
/// A report is a description of an image at most.
const REPORT_BYTES_MAX: u64 = 8 << 20;
/// Identities of children, beyond those of machines; the next child has another one.
const FIRST_UID: u32 = microvm::Config::FIRST_UID + microvm::Config::UIDS;
const UIDS: u32 = 4096;
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder that goes with this.
pub(super) struct Workplace {
    path: PathBuf,
    uid: Option<u32>,
}

impl Workplace {
    /// Makes one beside the artifact, on whose disk the results stay. Where this is root, it belongs to a user of its
    /// own.
    pub(super) fn beside(artifact: &Path) -> io::Result<Self> {
        let path = artifact.with_extension(EXTENSION);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&path)?;
        let is_root = cfg!(target_os = "linux") && geteuid().is_root();
        let uid = is_root.then(|| FIRST_UID + NEXT.fetch_add(1, Ordering::Relaxed) % UIDS);
        // A root of containers may have no other users: then the child stays who it is.
        let uid = uid.filter(|uid| match chown(&path, Some(*uid), Some(*uid)) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a child has no user of its own");
                false
            }
        });
        Ok(Self { path, uid })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Who the child becomes.
    pub(super) fn uid(&self) -> Option<u32> {
        self.uid
    }

    /// What the child says, if it says anything.
    pub(super) fn report(&self) -> Option<Vec<u8>> {
        let mut options = OpenOptions::new();
        // Neither another's file, nor something that has no end.
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = options.open(self.path.join(REPORT)).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut text = Vec::new();
        file.take(REPORT_BYTES_MAX).read_to_end(&mut text).ok()?;
        Some(text)
    }

    /// Moves a result out, where the child cannot reach it, and makes it this node's.
    pub(super) fn take(&self, name: &str, to: &Path) -> io::Result<()> {
        fs::rename(self.path.join(name), to)?;
        let found = fs::symlink_metadata(to)?;
        if !found.is_file() || found.nlink() != 1 {
            drop(if found.is_dir() { fs::remove_dir_all(to) } else { fs::remove_file(to) });
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a child left something that is no file"));
        }
        if self.uid.is_some() {
            chown(to, Some(geteuid().as_raw()), Some(getegid().as_raw()))?;
        }
        Ok(())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, "a child's folder stays until the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_plain_files_are_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, to) = (folder.path().join("secret"), folder.path().join("taken"));
        fs::write(&secret, "{}").unwrap();
        let workplace = Workplace::beside(&folder.path().join("a.partial")).unwrap();
        let inside = |name: &str| workplace.path().join(name);
        assert_eq!(workplace.path().metadata().unwrap().mode() & 0o777, 0o700);

        fs::write(inside(CODE), "code").unwrap();
        workplace.take(CODE, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"code");
        assert_eq!(to.metadata().unwrap().uid(), geteuid().as_raw());

        symlink(&secret, inside(CODE)).unwrap();
        assert!(workplace.take(CODE, &to).is_err(), "a link");
        fs::hard_link(&secret, inside(CODE)).unwrap();
        assert!(workplace.take(CODE, &to).is_err(), "another's file");
        fs::create_dir(inside(CODE)).unwrap();
        assert!(workplace.take(CODE, &folder.path().join("new")).is_err(), "a folder");
        assert!(!folder.path().join("new").exists() && secret.exists());

        symlink(&secret, inside(REPORT)).unwrap();
        assert_eq!(workplace.report(), None);
        fs::remove_file(inside(REPORT)).unwrap();
        fs::write(inside(REPORT), "{}").unwrap();
        assert_eq!(workplace.report().unwrap(), b"{}");
        let path = workplace.path().to_owned();
        drop(workplace);
        assert!(!path.exists());
    }
}
