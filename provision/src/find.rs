//! Where a program is: in `PATH` if it works, then in the cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fetch::place;
use crate::programs::program;
use crate::tree::Tree;

/// Folders that hold programs and are in few users' `PATH`.
const ALSO: [&str; 2] = ["/usr/sbin", "/sbin"];
/// Debian keeps PostgreSQL's programs out of `PATH`, by version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// The program of this name that is to be run: the machine's own first, then what was fetched into the cache. Where the
/// table of programs knows a question that tells whether it works, it must answer it.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let probe = program(name).map_or(&[][..], |program| program.probe);
    let cached = program(name).and_then(place);
    in_path(name).chain(cached).find(|path| path.is_file() && works(path, probe).is_ok())
}

/// A command for a program that [`find`] found, or for any other path. What is in the cache needs to be told where its
/// libraries are; only this child hears of it.
#[must_use]
pub fn command(program: &Path) -> Command {
    match Tree::of(program) {
        Some(tree) => tree.command(program),
        None => Command::new(program),
    }
}

/// All files of this name where the system has its programs.
pub fn in_path(name: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    let versions = std::fs::read_dir(POSTGRESQL).into_iter().flatten().flatten();
    let versions = versions.map(|version| version.path().join("bin"));
    let name = name.to_owned();
    let folders = own.into_iter().chain(ALSO.map(PathBuf::from)).chain(versions);
    folders.map(move |folder| folder.join(&name)).filter(|path| path.is_file())
}

/// Whether it runs at all; else what it said.
pub(crate) fn works(path: &Path, probe: &[&str]) -> Result<(), String> {
    if probe.is_empty() {
        return Ok(());
    }
    let done = command(path).args(probe).stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(said.lines().next().map_or_else(|| done.status.to_string(), str::to_owned))
}
