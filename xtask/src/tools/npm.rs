//! Packages from npm, of the versions that a lock file fixes: fetched into the cache once, and from then on no network is
//! needed. The lock names versions and digests and no registry, so that everybody's own registry serves.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::steps::{quiet, say};

/// What npm reads.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// The `node_modules` of the packages that the lock file in this folder names.
pub(crate) fn packages(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    for name in FILES {
        let path = folder.join(name);
        std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?.hash(&mut hasher);
    }
    let place = componentize::cache_dir().join("npm").join(format!("{:016x}", hasher.finish()));
    let modules = place.join("node_modules");
    if !modules.is_dir() {
        say(&format!("fetching the packages of {} by npm", folder.display()));
        fetch(folder, &place).context("npm's packages were not fetched; fix: install Node.js with npm")?;
    }
    Ok(modules)
}

/// There as a whole or not at all, whoever else fetches the same.
fn fetch(folder: &Path, place: &Path) -> anyhow::Result<()> {
    let fresh = place.with_extension(format!("new-{}", std::process::id()));
    std::fs::create_dir_all(&fresh)?;
    for name in FILES {
        std::fs::copy(folder.join(name), fresh.join(name))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&fresh);
    let fetched = quiet(&mut npm);
    let moved = fetched.and_then(|_| match std::fs::rename(&fresh, place) {
        // Somebody else was faster.
        Err(_) if place.is_dir() => Ok(()),
        moved => moved.with_context(|| format!("{} cannot be made", place.display())),
    });
    if fresh.is_dir() {
        std::fs::remove_dir_all(&fresh)?;
    }
    moved
}
