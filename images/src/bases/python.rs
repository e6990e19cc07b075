//! Compiles a base's Python sources, as the packages' scripts would have done: on a read-only root every start would
//! compile them anew. The base's own interpreter does it, through its own loader, from an unpacked copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::BuildError;
use super::recipe;
use crate::image::Architecture;

/// Bytecode that is never checked against its source has no time in it. What the compiler itself imports is not
/// written on the way (`-B`): it would have this machine's paths in it.
const COMPILE: [&str; 9] = ["-B", "-S", "-s", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"];

/// Paths and contents of all compiled files, in order. None for another machine's base: its interpreter cannot run.
pub(super) fn compile(
    packages: &[PathBuf],
    architecture: Architecture,
    scratch: &Path,
) -> Result<Vec<(String, Vec<u8>)>, BuildError> {
    if architecture != Architecture::HOST {
        tracing::warn!(%architecture, "Python sources of another machine's base are not compiled");
        return Ok(Vec::new());
    }
    for package in packages {
        provision::apt::unpack(package, scratch)?;
    }
    let libraries = ["lib", "usr/lib"].map(|folder| scratch.join(folder).join(architecture.multiarch()));
    let mut path = libraries[0].clone().into_os_string();
    path.push(":");
    path.push(&libraries[1]);
    let loader = match architecture {
        Architecture::Amd64 => "ld-linux-x86-64.so.2",
        Architecture::Arm64 => "ld-linux-aarch64.so.1",
    };
    let mut python = Command::new(libraries[0].join(loader));
    python.arg("--library-path").arg(path).arg(scratch.join("usr/bin/python3")).args(COMPILE);
    python.arg("-s").arg(scratch).args(["-p", "/"]);
    let folders = source_folders(scratch)?;
    python.args(&folders);
    // The order of hashes shows in bytecode.
    python.env_clear().env("PYTHONHOME", scratch.join("usr")).env("PYTHONHASHSEED", "0").env("LANG", "C.UTF-8");
    // What is no valid Python (templates, sources of version 2) is told and passed over.
    python.output().map_err(|error| BuildError::tool("python3", error))?;
    let mut compiled = Vec::new();
    for folder in &folders {
        collect(scratch, folder, &mut compiled)?;
    }
    if compiled.is_empty() {
        return Err(BuildError::tool("python3", "it compiled nothing"));
    }
    compiled.sort();
    Ok(compiled)
}

/// `python3` and `python3.x`, in order.
fn source_folders(scratch: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(scratch.join("usr/lib"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("python3") {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

fn collect(root: &Path, folder: &Path, into: &mut Vec<(String, Vec<u8>)>) -> Result<(), BuildError> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(root, &path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "pyc") {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if recipe::keeps(name.as_bytes()) {
                into.push((name, fs::read(&path)?));
            }
        }
    }
    Ok(())
}
