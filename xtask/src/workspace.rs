//! Where the sources are, and where cargo puts what it builds (`CARGO_TARGET_DIR` may move it).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::lint::Linter;

/// The workspace that xtask works on.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// The sources.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// As what the crates are built.
    pub(crate) profile: Profile,
    /// Our crates are linted as they are built, by this.
    pub(crate) linter: Option<Linter>,
    /// Our crates, from `cargo metadata`.
    pub(crate) packages: Vec<Package>,
}

/// A profile of `Cargo.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// What users run and benchmarks measure.
    Release,
    /// The same, optimised less: compiled once and run for minutes.
    Ci,
}

impl Profile {
    /// As cargo calls it, and its folder in the target folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Ci => "ci",
        }
    }
}

/// One of our crates.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) dir: PathBuf,
    /// Which of our crates it needs outside of its tests.
    pub(crate) needs: Vec<String>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn find() -> anyhow::Result<Self> {
        // Not as it was when this was built: clones may share a target folder.
        let own = std::env::var_os("CARGO_MANIFEST_DIR").context("start xtask as `cargo xtask`")?;
        let root = Path::new(&own).parent().context("xtask has no parent folder")?.to_owned();
        let mut cargo = cargo();
        cargo.current_dir(&root).args(["metadata", "--no-deps", "--format-version", "1"]);
        let text = crate::steps::quiet(&mut cargo)?;
        let metadata: Value = serde_json::from_str(&text).context("cargo metadata cannot be read")?;
        let target = metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
        let (profile, packages) = (Profile::Release, packages(&metadata));
        Ok(Self { root, target: target.into(), profile, linter: None, packages })
    }

    /// Cargo in the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(&self.root);
        cargo
    }

    /// A built program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target.join(self.profile.name()).join(name)
    }

    /// Whether there is a crate of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.packages.iter().any(|package| package.name == name)
    }
}

/// The cargo that started us, without what it told only to us.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if text.starts_with("CARGO_PKG_") || matches!(text, "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH") {
            cargo.env_remove(text);
        }
    }
    cargo
}

fn packages(metadata: &Value) -> Vec<Package> {
    let list = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
            let ours = |dependency: &&Value| dependency["path"].is_string() && dependency["kind"] != "dev";
            Package {
                name: text(&package["name"]),
                dir: Path::new(&text(&package["manifest_path"])).parent().map(Path::to_owned).unwrap_or_default(),
                needs: dependencies.iter().filter(ours).map(|dependency| text(&dependency["name"])).collect(),
            }
        })
        .collect()
}
