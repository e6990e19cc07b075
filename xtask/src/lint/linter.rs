//! Clippy and rustdoc as parts of a build. `cargo clippy` and `cargo doc` look at all dependencies once more, which on
//! two cores takes five minutes of a cold run; a build has looked at them already. What is linted so is built from less
//! optimised intermediate code (clippy wants it plain), and apart from what others build: it is for CI, where nothing
//! else uses the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::steps::quiet;

/// As `cargo clippy -- --deny warnings` hands it over.
const DENY_WARNINGS: &str = "--deny__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__";

/// Reads documentation instead of testing it: cargo names the libraries that a build has made for tests alone.
const RUSTDOC: &str = r#"#!/bin/sh
for argument; do
    shift
    [ "$argument" = --test ] || set -- "$@" "$argument"
done
exec rustdoc "$@" --deny warnings --out-dir "$CROWDCLOUD_DOC_DIR"
"#;

/// The compiler that also lints.
#[derive(Debug, Clone)]
pub(crate) struct Linter {
    clippy: PathBuf,
    rustdoc: PathBuf,
    docs: PathBuf,
}

impl Linter {
    /// That of the toolchain; its helper goes to the target folder.
    pub(crate) fn find(target: &Path) -> anyhow::Result<Self> {
        let sysroot = quiet(Command::new("rustc").args(["--print", "sysroot"]))?;
        let clippy = Path::new(sysroot.trim()).join("bin/clippy-driver");
        anyhow::ensure!(clippy.is_file(), "the toolchain has no clippy: `rustup component add clippy`");
        let rustdoc = target.join("read-documentation");
        fs::create_dir_all(target)?;
        if fs::read_to_string(&rustdoc).ok().as_deref() != Some(RUSTDOC) {
            fs::write(&rustdoc, RUSTDOC).with_context(|| format!("{} cannot be written", rustdoc.display()))?;
            let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(&rustdoc, executable)?;
        }
        Ok(Self { clippy, rustdoc, docs: target.join("doc") })
    }

    /// What this cargo compiles of ours is linted; warnings are errors.
    pub(crate) fn lint(&self, cargo: &mut Command) {
        cargo.env("RUSTC_WORKSPACE_WRAPPER", &self.clippy).env("CLIPPY_ARGS", DENY_WARNINGS);
    }

    /// `cargo test --doc` of this cargo reads the documentation; warnings are errors.
    pub(crate) fn read_documentation(&self, cargo: &mut Command) {
        cargo.env("RUSTDOC", &self.rustdoc).env("CROWDCLOUD_DOC_DIR", &self.docs);
    }
}
