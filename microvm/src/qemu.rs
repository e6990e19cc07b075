//! How QEMU is started: one of the system by its path; one that was unpacked into the cache by an inherited handle of its
//! tree, because the machine's own identity may not enter the folder of whoever fetched it.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use provision::Tree;
use tokio::process::Command;

use crate::command_line::fds;
use crate::error::Error;

/// Where QEMU's packages have its firmware.
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

/// A command with an empty environment but for what QEMU needs, and its tree's handle with its number.
pub(crate) struct Qemu {
    pub(crate) command: Command,
    pub(crate) tree: Option<(OwnedFd, i32)>,
}

impl Qemu {
    pub(crate) fn find(program: &Path, tree: Option<&Path>) -> Result<Self, Error> {
        let Some(tree) = tree.map(Tree::at).or_else(|| Tree::of(program)) else {
            let mut command = Command::new(program);
            command.env_clear();
            return Ok(Self { command, tree: None });
        };
        let handle = std::fs::File::open(tree.root()).map_err(Error::io("QEMU's files"))?;
        let seen_at = PathBuf::from(format!("/proc/self/fd/{}", fds::TREE));
        let mut command = Command::new(seen_at.join(program.strip_prefix(tree.root()).unwrap_or(program)));
        command.env_clear().env("LD_LIBRARY_PATH", Tree::libraries(&seen_at));
        command.env("QEMU_MODULE_DIR", modules(&seen_at));
        for folder in FIRMWARE {
            command.arg("-L").arg(seen_at.join(folder));
        }
        Ok(Self { command, tree: Some((handle.into(), fds::TREE)) })
    }
}

/// Its accelerators are among them.
fn modules(seen_at: &Path) -> OsString {
    seen_at.join(format!("usr/lib/{}-linux-gnu/qemu", std::env::consts::ARCH)).into()
}
