//! Which compiler makes wasm: rustup's, when it has the target or can add it, otherwise Debian's packages, which
//! carry the standard library as source.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian::{self, Root};
use crate::{TARGET, cache_dir};

/// Forces one kind of toolchain: `rustup`, `debian`, or `unpacked` (Debian's packages without installing them).
pub const CHOICE_VARIABLE: &str = "CROWDCLOUD_WASM_TOOLCHAIN";

/// Why there is no compiler for wasm: what, why, fix, in one line.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// Nothing worked.
    #[error(
        "no wasm toolchain: {why}; fix: `rustup target add {TARGET}`, or as root `apt-get install {}`",
        debian::PACKAGES.join(" ")
    )]
    Missing {
        /// What was tried, and how it ended.
        why: String,
    },
    /// The variable has another value than those that it may have.
    #[error("{CHOICE_VARIABLE} is `{0}`; it may be `rustup`, `debian` or `unpacked`")]
    UnknownChoice(String),
    /// The cache cannot be written.
    #[error("the cache {path} cannot be used: {source}")]
    Cache {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A compiler that can build for wasm.
#[derive(Debug, Clone)]
pub struct Toolchain {
    version: String,
    debian: Option<Root>,
}

impl Toolchain {
    /// Finds one, or fetches it, saying each step that takes long to `progress`.
    ///
    /// # Errors
    /// One line that says what is missing, why, and how to get it.
    pub fn find(progress: &dyn Fn(&str)) -> Result<Self, ToolchainError> {
        match std::env::var(CHOICE_VARIABLE).as_deref() {
            Err(_) | Ok("") => Self::any(progress),
            Ok("rustup") => Self::rustup()
                .map_or_else(|| Self::add_target(progress), Ok)
                .map_err(|why| ToolchainError::Missing { why }),
            Ok("debian") => match Self::installed() {
                Some(found) => Ok(found),
                None => Self::fetch(progress, true),
            },
            Ok("unpacked") => match Self::unpacked() {
                Some(found) => Ok(found),
                None => Self::fetch(progress, false),
            },
            Ok(other) => Err(ToolchainError::UnknownChoice(other.to_owned())),
        }
    }

    /// First what is here already: a failing attempt to fetch would cost time at every start.
    fn any(progress: &dyn Fn(&str)) -> Result<Self, ToolchainError> {
        if let Some(found) = Self::rustup().or_else(Self::installed).or_else(Self::unpacked) {
            return Ok(found);
        }
        match Self::add_target(progress) {
            Ok(added) => Ok(added),
            Err(why) => Self::fetch(progress, true).map_err(|error| match error {
                ToolchainError::Missing { why: other } => ToolchainError::Missing { why: format!("{why}; {other}") },
                other => other,
            }),
        }
    }

    fn rustup() -> Option<Self> {
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let sysroot = output(rustc.args(["--print", "sysroot"]))?;
        let has_target = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib").is_dir();
        let version = output(Command::new(rustc.get_program()).arg("--version"))?;
        has_target.then(|| Self { version: version_word(&version), debian: None })
    }

    fn add_target(progress: &dyn Fn(&str)) -> Result<Self, String> {
        progress(&format!("adding the target {TARGET} with rustup"));
        let added = Command::new("rustup").args(["target", "add", TARGET]).output();
        match added {
            Ok(done) if done.status.success() => Self::rustup()
                .ok_or_else(|| "rustup added the target to another toolchain than the active one".to_owned()),
            Ok(done) => Err(format!("rustup could not add the target ({})", last_line(&done.stderr))),
            Err(error) => Err(format!("rustup cannot be run ({error})")),
        }
    }

    fn installed() -> Option<Self> {
        Self::debian(Root::system())
    }

    fn unpacked() -> Option<Self> {
        Self::debian(Root::unpacked())
    }

    fn debian(root: Root) -> Option<Self> {
        let version = root.version()?;
        Some(Self { version: format!("debian-{version}"), debian: Some(root) })
    }

    fn fetch(progress: &dyn Fn(&str), may_install: bool) -> Result<Self, ToolchainError> {
        let cache = cache_dir();
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| ToolchainError::Cache { path, source }
        };
        std::fs::create_dir_all(&cache).map_err(at(&cache))?;
        let lock_path = cache.join("toolchain.lock");
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        lock.lock().map_err(at(&lock_path))?;
        // Another process may have fetched it while this one waited.
        let here = || if may_install { Self::installed().or_else(Self::unpacked) } else { Self::unpacked() };
        if let Some(found) = here() {
            return Ok(found);
        }
        debian::fetch(progress, may_install).map_err(|why| ToolchainError::Missing { why })?;
        here()
            .ok_or_else(|| ToolchainError::Missing { why: "Debian's packages were fetched but do not run".to_owned() })
    }

    /// What tells this toolchain's builds apart.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where everything for wasm is built, shared by all functions: the standard library is built once.
    #[must_use]
    pub fn target_dir(&self) -> PathBuf {
        cache_dir().join("wasm-target").join(&self.version)
    }

    /// `cargo build` for wasm in this folder, into [`Self::target_dir`]; the caller adds profile and packages.
    #[must_use]
    pub fn cargo_build(&self, dir: &Path) -> Command {
        let mut cargo = match &self.debian {
            Some(root) => root.cargo(),
            None => Command::new("cargo"),
        };
        cargo.current_dir(dir).args(["build", "--target", TARGET]);
        if self.debian.is_some() {
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
        // Flags for the host's builds are not for wasm.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS"] {
            cargo.env_remove(name);
        }
        cargo.env("CARGO_TARGET_DIR", self.target_dir());
        cargo
    }
}

/// The last line that says anything.
pub(crate) fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no output").to_owned()
}

/// What a command prints, if it runs and succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let done = command.output().ok().filter(|done| done.status.success())?;
    String::from_utf8(done.stdout).ok()
}

/// `1.95.0` of `rustc 1.95.0 (...)`.
pub(crate) fn version_word(text: &str) -> String {
    text.split_whitespace().nth(1).unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_and_the_last_line_are_found() {
        assert_eq!(version_word("rustc 1.96.0 (ac68 2026)"), "1.96.0");
        assert_eq!(last_line(b"first\nerror: no network\n\n"), "error: no network");
        assert_eq!(last_line(b""), "no output");
    }

    #[test]
    fn the_missing_toolchain_is_one_line_with_its_fix() {
        let line = ToolchainError::Missing { why: "no rustup".to_owned() }.to_string();
        assert!(line.contains("fix: `rustup target add wasm32-unknown-unknown`"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }
}
