//! A Rust function's folder, built to a core module.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::Toolchain;

/// Why a function could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The compiler could not be started or read.
    #[error("cargo cannot be run: {0}")]
    Start(#[from] std::io::Error),
    /// The compiler refused the source; it has said why on stderr.
    #[error("cargo build failed ({0})")]
    Failed(std::process::ExitStatus),
    /// There is nothing that could be deployed.
    #[error("cargo build made no .wasm file; the crate needs `crate-type = [\"cdylib\"]`")]
    NoWasm,
}

/// Builds the crate in this folder for wasm, in release, and returns the core module's path. The compiler's messages
/// go to stderr.
///
/// # Errors
/// When the compiler cannot be run, refuses the source, or makes no wasm.
pub fn build(toolchain: &Toolchain, dir: &Path) -> Result<PathBuf, BuildError> {
    let dir = dir.canonicalize()?;
    let mut cargo = toolchain.cargo_build(&dir);
    cargo.args(["--release", "--message-format=json-render-diagnostics"]);
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut wasm = None;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            wasm = artifact(&line?, &dir.join("Cargo.toml")).or(wasm);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(BuildError::Failed(status));
    }
    wasm.ok_or(BuildError::NoWasm)
}

/// The `.wasm` file that one of cargo's messages reports for this crate.
fn artifact(message: &str, manifest: &Path) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let same_crate = message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest);
    let files = message["filenames"].as_array()?;
    files.iter().filter_map(|file| file.as_str()).find(|file| same_crate && file.ends_with(".wasm")).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_crates_own_wasm_is_taken() {
        let line =
            r#"{"reason":"compiler-artifact","manifest_path":"/f/Cargo.toml","filenames":["/t/f.rlib","/t/f.wasm"]}"#;
        assert_eq!(artifact(line, Path::new("/f/Cargo.toml")), Some("/t/f.wasm".into()));
        assert_eq!(artifact(line, Path::new("/g/Cargo.toml")), None);
        assert_eq!(artifact("Compiling", Path::new("/f/Cargo.toml")), None);
    }
}
