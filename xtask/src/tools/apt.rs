//! Debian's packages that the tests need and that only root can bring.

use std::process::Command;

use anyhow::{Context, bail};
use provision::{Program, Source};

use crate::steps::{quiet, say};

/// Installs those that are not there.
pub(crate) fn need<'a>(programs: impl Iterator<Item = &'a Program>) -> anyhow::Result<()> {
    let (mut names, mut packages) = (Vec::new(), Vec::new());
    for program in programs {
        if let Source::Installed { package } = program.source
            && provision::find(program.name).is_none()
        {
            names.push(program.name);
            packages.push(package);
        }
    }
    if packages.is_empty() {
        return Ok(());
    }
    let what = names.join(", ");
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

pub(crate) fn is_root() -> bool {
    quiet(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
