//! axe-core, with which the portal's tests look for what keeps people out of its pages: one script, from npm.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::steps::{quiet, say};

/// Names the script; the portal's tests read it.
pub(crate) const VARIABLE: &str = "CROWDCLOUD_AXE";

/// Rules change with versions: a new one is a change of its own.
const VERSION: &str = "4.14.1";

/// Where the script is once it was fetched; the portal's tests know this place, too.
pub(crate) fn place() -> PathBuf {
    componentize::cache_dir().join("axe/node_modules/axe-core/axe.min.js")
}

/// Finds or fetches it.
pub(crate) fn find() -> anyhow::Result<PathBuf> {
    if let Some(own) = std::env::var_os(VARIABLE) {
        return Ok(own.into());
    }
    let script = place();
    if !is_current(&script) {
        say(&format!("fetching axe-core {VERSION} by npm"));
        fetch(&componentize::cache_dir().join("axe"))
            .with_context(|| format!("axe-core: not fetched; fix: install npm, or name axe.min.js in {VARIABLE}"))?;
        ensure!(is_current(&script), "npm has put no axe-core {VERSION} at {}", script.display());
    }
    Ok(script)
}

fn is_current(script: &Path) -> bool {
    let package = std::fs::read_to_string(script.with_file_name("package.json")).unwrap_or_default();
    script.is_file() && package.contains(&format!("\"version\": \"{VERSION}\""))
}

fn fetch(into: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(into)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]);
    quiet(npm.arg(into).arg(format!("axe-core@{VERSION}"))).map(drop)
}
