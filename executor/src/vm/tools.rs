//! What the lane is made of, and where it is: QEMU, a kernel, the guest agent, bases.

use std::path::{Path, PathBuf};

use images::Architecture;
use images::bases::Shelf;
use protocol::Base;

use super::convert::base_id;
use crate::config::Config;

const RUNNER: &str = "wasm-guest";
const QEMU: &str = "qemu-system-x86_64";
/// What brings a part that is not there.
const FETCHED: &str = "`crowdcloud vm-setup` fetches it";
const BUILT: &str = "`cargo xtask setup` builds it";

/// Why there is no VM lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// It can only be had by other settings, or on another machine.
    ForGood(String),
    /// Parts are not there; they may come.
    Yet(String),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ForGood(why) | Self::Yet(why) => f.write_str(why),
        }
    }
}

/// Why a node with these settings has no VM lane, as far as its files say; none where they are there.
#[must_use]
pub fn missing(config: &Config) -> Option<Missing> {
    Tools::find(config).err()
}

/// The same of a folder of parts.
#[must_use]
pub fn missing_in(folder: &Path) -> Option<String> {
    Tools::find_in(folder, None, None).err().map(|why| why.to_string())
}

/// Whether machines made of these parts run WebAssembly beside images.
#[must_use]
pub fn runs_wasm(folder: &Path) -> bool {
    folder.join(RUNNER).is_file()
}

/// The bases that are not in a folder of parts, or are of another build: what stands on them cannot be deployed.
#[must_use]
pub fn missing_bases(folder: &Path) -> Vec<Base> {
    let shelf = Shelf::new(folder.join("bases"));
    let is_there = |base: &Base| shelf.open(base_id(*base), Architecture::HOST).is_ok();
    [Base::Shell, Base::Python].into_iter().filter(|base| !is_there(base)).collect()
}

/// Fetches QEMU, the guests' kernel and makes bases, where they are not in the folder yet. Takes minutes the first time;
/// `say` hears of each step. What is built from source is not fetched: says what is missing then, unless somebody is
/// about to bring it.
///
/// # Errors
/// What the machine lacks.
pub fn fetch(folder: &Path, bases: &[Base], say: &dyn Fn(&str)) -> Result<Option<String>, String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    provision::fetch(QEMU, say).map_err(|error| error.to_string())?;
    say("the guests' kernel");
    microvm::fetch::kernel(folder).map_err(|error| error.to_string())?;
    let shelf = Shelf::new(folder.join("bases"));
    for base in bases {
        say(&format!("the base {}", base.as_str()));
        images::bases::build(base_id(*base), Architecture::HOST, &shelf).map_err(|error| error.to_string())?;
    }
    Ok(if provision::preparing(folder).is_some() { None } else { missing_in(folder) })
}

/// Everything that is needed, found.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) qemu: PathBuf,
    pub(super) qemu_tree: Option<PathBuf>,
    pub(super) kernel: PathBuf,
    pub(super) agent: PathBuf,
    /// What runs WebAssembly in a machine. Images need none.
    pub(super) runner: Option<PathBuf>,
    pub(super) bases: PathBuf,
}

impl Tools {
    /// Why there is none of it, as far as can be seen without starting anything.
    pub(super) fn first_look(config: &Config) -> Result<(), Missing> {
        files(folder(config)?, config.vm_kernel.as_ref()).map(drop)
    }

    /// Looks for all of it; says what is missing first.
    pub(super) fn find(config: &Config) -> Result<Self, Missing> {
        let found = Self::find_in(folder(config)?, config.vm_qemu.as_ref(), config.vm_kernel.as_ref())?;
        Ok(Self { qemu_tree: config.vm_qemu_tree.clone(), ..found })
    }

    pub(super) fn find_in(folder: &Path, qemu: Option<&PathBuf>, kernel: Option<&PathBuf>) -> Result<Self, Missing> {
        let (kernel, agent) = files(folder, kernel)?;
        // Last, because it is started to see that it works.
        let qemu = qemu_of(qemu);
        let missing = || Missing::Yet(format!("{QEMU} is not there: {FETCHED}"));
        let runner = Some(folder.join(RUNNER)).filter(|path| path.is_file());
        Ok(Self {
            qemu: qemu.ok_or_else(missing)?,
            qemu_tree: None,
            kernel,
            agent,
            runner,
            bases: folder.join("bases"),
        })
    }
}

/// QEMU's program as a node with these settings would start it; none where it is not there, or starts no machines.
#[must_use]
pub fn find_qemu(config: &Config) -> Option<PathBuf> {
    folder(config).ok().and_then(|_| qemu_of(config.vm_qemu.as_ref()))
}

/// The tree of a QEMU that was unpacked and not installed; none where it is the system's.
#[must_use]
pub fn unpacked_in(qemu: &Path) -> Option<PathBuf> {
    provision::Tree::of(qemu).map(|tree| tree.root().to_owned())
}

fn qemu_of(named: Option<&PathBuf>) -> Option<PathBuf> {
    match named {
        Some(named) => Some(named.clone()).filter(|path| path.is_file()),
        None => provision::find(QEMU),
    }
}

/// The folder of the parts, where these settings may have a lane.
fn folder(config: &Config) -> Result<&Path, Missing> {
    let for_good = |why: &str| Missing::ForGood(why.to_owned());
    if config.no_vm {
        return Err(for_good("switched off by --no-vm"));
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(for_good("offered on Linux on x86-64 only"));
    }
    config.vm_tools.as_deref().ok_or_else(|| for_good("--vm-tools names no folder"))
}

/// The kernel and the agent.
fn files(folder: &Path, kernel: Option<&PathBuf>) -> Result<(PathBuf, PathBuf), Missing> {
    // What is there may be of an older build until all is done.
    if let Some(step) = provision::preparing(folder) {
        return Err(Missing::Yet(format!("being prepared: {step}")));
    }
    let kernel = kernel.cloned().unwrap_or_else(|| folder.join("kernel"));
    let agent = folder.join("guest-agent");
    for (path, what, fix) in [(&kernel, "the guests' kernel", FETCHED), (&agent, "the guest agent", BUILT)] {
        if !path.exists() {
            return Err(Missing::Yet(format!("{what} is not at {}: {fix}", path.display())));
        }
    }
    Ok((kernel, agent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_part_names_the_command_that_brings_it() {
        let folder = tempfile::tempdir().unwrap();
        let said = || missing_in(folder.path()).unwrap();
        assert!(said().contains("kernel") && said().ends_with(FETCHED), "{}", said());
        std::fs::create_dir(folder.path().join("kernel")).unwrap();
        assert!(said().contains("guest agent") && said().ends_with(BUILT), "{}", said());
        assert_eq!(missing_bases(folder.path()), [Base::Shell, Base::Python]);
    }
}
