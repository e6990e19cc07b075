//! What the lane is made of, and where it is: QEMU, a kernel, the guest agent, bases.

use std::path::{Path, PathBuf};

use crate::config::Config;

const QEMU: &str = "qemu-system-x86_64";

/// Why a node with these settings has no VM lane, as far as its files say; none where they are there.
#[must_use]
pub fn missing(config: &Config) -> Option<String> {
    Tools::find(config).err()
}

/// Everything that is needed, found.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) qemu: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) agent: PathBuf,
    pub(super) bases: PathBuf,
}

impl Tools {
    /// Looks for all of it; says what is missing first.
    pub(super) fn find(config: &Config) -> Result<Self, String> {
        if config.no_vm {
            return Err("switched off by --no-vm".to_owned());
        }
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err("offered on Linux on x86-64 only".to_owned());
        }
        let folder = config.vm_tools.as_deref().ok_or("--vm-tools names no folder")?;
        let qemu = match &config.vm_qemu {
            Some(named) => Some(named.clone()).filter(|path| path.is_file()),
            None => in_path(QEMU),
        };
        let qemu = qemu.ok_or_else(|| format!("{QEMU} is not there: apt-get install qemu-system-x86"))?;
        let kernel = config.vm_kernel.clone().unwrap_or_else(|| folder.join("kernel"));
        let agent = folder.join("guest-agent");
        needed(&kernel, "the guests' kernel")?;
        needed(&agent, "the guest agent")?;
        Ok(Self { qemu, kernel, agent, bases: folder.join("bases") })
    }
}

fn needed(path: &Path, what: &str) -> Result<(), String> {
    let missing = || format!("{what} is not at {}: `cargo xtask setup` fetches it", path.display());
    if path.exists() { Ok(()) } else { Err(missing()) }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}
