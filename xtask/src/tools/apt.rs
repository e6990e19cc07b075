//! Debian's packages that the tests need.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::steps::{quiet, say};

/// A package, and how to see that it is there.
pub(crate) struct Need {
    pub(crate) what: &'static str,
    pub(crate) package: &'static str,
    pub(crate) found: fn() -> bool,
}

/// Installs those that are not there.
pub(crate) fn need(needs: &[Need]) -> anyhow::Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.found)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what = missing.iter().map(|need| need.what).collect::<Vec<_>>().join(", ");
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let fix = format!("as root `apt-get install {}`", packages.join(" "));
    if !is_root() {
        bail!("{what}: not installed, and only root can install it; fix: {fix}");
    }
    install(&packages).with_context(|| format!("{what}: not installed; fix: {fix}"))
}

/// Installs packages, without removing any.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    say(&format!("installing {} by apt-get", packages.join(" ")));
    let mut apt = Command::new("apt-get");
    apt.args(["install", "--yes", "--no-install-recommends", "--no-remove"]).args(packages);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    if quiet(&mut apt).is_err() {
        quiet(Command::new("apt-get").arg("update"))?;
        quiet(&mut apt)?;
    }
    Ok(())
}

/// The first program of this name in `PATH`.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Debian keeps the server's programs out of `PATH`, by version.
pub(crate) fn has_postgresql() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.into_iter().any(|version| version.path().join("bin/initdb").is_file()) || which("initdb").is_some()
}

pub(crate) fn is_root() -> bool {
    quiet(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
