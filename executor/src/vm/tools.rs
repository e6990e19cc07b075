//! What the lane is made of, and where it is: QEMU, a kernel, the guest agent, bases.

use std::path::{Path, PathBuf};

use images::Architecture;
use images::bases::Shelf;
use protocol::Base;

use super::convert::base_id;
use crate::config::Config;

const RUNNER: &str = "wasm-guest";
const QEMU: &str = "qemu-system-x86_64";

/// Why a node with these settings has no VM lane, as far as its files say; none where they are there.
#[must_use]
pub fn missing(config: &Config) -> Option<String> {
    Tools::find(config).err()
}

/// The same of a folder of parts.
#[must_use]
pub fn missing_in(folder: &Path) -> Option<String> {
    Tools::find_in(folder, None, None).err()
}

/// Whether machines made of these parts run WebAssembly beside images.
#[must_use]
pub fn runs_wasm(folder: &Path) -> bool {
    folder.join(RUNNER).is_file()
}

/// Fetches the guests' kernel and makes bases, where they are not in the folder yet. Takes minutes the first time;
/// `say` hears of each step.
///
/// # Errors
/// What the machine lacks.
pub fn fetch(folder: &Path, bases: &[Base], say: &dyn Fn(&str)) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    say("the guests' kernel");
    microvm::fetch::kernel(folder).map_err(|error| error.to_string())?;
    let shelf = Shelf::new(folder.join("bases"));
    for base in bases {
        say(&format!("the base {}", base.as_str()));
        images::bases::build(base_id(*base), Architecture::HOST, &shelf).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Everything that is needed, found.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) qemu: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) agent: PathBuf,
    /// What runs WebAssembly in a machine. Images need none.
    pub(super) runner: Option<PathBuf>,
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
        Self::find_in(folder, config.vm_qemu.as_ref(), config.vm_kernel.as_ref())
    }

    pub(super) fn find_in(folder: &Path, qemu: Option<&PathBuf>, kernel: Option<&PathBuf>) -> Result<Self, String> {
        let qemu = match qemu {
            Some(named) => Some(named.clone()).filter(|path| path.is_file()),
            None => in_path(QEMU),
        };
        let qemu = qemu.ok_or_else(|| format!("{QEMU} is not there: apt-get install qemu-system-x86"))?;
        let kernel = kernel.cloned().unwrap_or_else(|| folder.join("kernel"));
        let agent = folder.join("guest-agent");
        needed(&kernel, "the guests' kernel")?;
        needed(&agent, "the guest agent")?;
        let runner = Some(folder.join(RUNNER)).filter(|path| path.is_file());
        Ok(Self { qemu, kernel, agent, runner, bases: folder.join("bases") })
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
