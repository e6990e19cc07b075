//! What kind of file system the folders are on that are measured: where flushing does nothing, figures of it say nothing.

use std::path::Path;

use anyhow::{Context as _, ensure};

/// Its kind, as the figures name it; an error where it is in memory, unless that is wanted.
pub(super) fn require(folder: &Path, in_memory: bool) -> anyhow::Result<String> {
    let about = rustix::fs::statfs(folder).with_context(|| format!("{} has no file system", folder.display()))?;
    let name = match about.f_type {
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        0x794c_7630 => "overlayfs",
        0x6969 => "nfs",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        other => return Ok(format!("{other:#x}")),
    };
    ensure!(
        in_memory || !["tmpfs", "ramfs"].contains(&name),
        "{} is on {name}, where flushing does nothing: point TMPDIR to a folder on a disk, or say --in-memory",
        folder.display()
    );
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_refused_unless_it_is_wanted() {
        let shared_memory = Path::new("/dev/shm");
        let refused = require(shared_memory, false).unwrap_err().to_string();
        assert!(refused.contains("tmpfs") && refused.contains("TMPDIR"), "{refused}");
        assert_eq!(require(shared_memory, true).unwrap(), "tmpfs");
        assert!(!require(Path::new("/proc"), false).unwrap().is_empty(), "what has no name here has its number");
        assert!(require(Path::new("/nowhere/at/all"), true).is_err());
    }
}
