//! Builds the parts: the `crowdcloud` program, the portal, the guests.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use componentize::Toolchain;

use crate::portal;
use crate::steps::{Steps, succeed};
use crate::workspace::Workspace;

/// Built beside xtask itself, or for wasm: never with the rest, so that dependencies' features stay the same.
pub(crate) const APART: [&str; 2] = ["web", "xtask"];

/// `cargo VERB --release` for all crates that are built together. The gateway embeds the portal's files: build the
/// portal before; an empty folder means none.
pub(crate) fn together(workspace: &Workspace, verb: &[&str]) -> Command {
    let mut cargo = workspace.cargo();
    let dist = portal::folder(workspace);
    if std::fs::create_dir_all(&dist).is_ok() {
        cargo.env("CROWDCLOUD_PORTAL_DIR", dist);
    }
    cargo.args(verb).args(["--release", "--workspace"]);
    for name in APART {
        cargo.args(["--exclude", name]);
    }
    cargo
}

/// The `crowdcloud` program.
pub(crate) fn binary(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<PathBuf> {
    steps.command("building crowdcloud", &mut together(workspace, &["build"]))?;
    Ok(workspace.program("crowdcloud"))
}

/// All programs and tests by one command: tests ask for more features of some dependencies, and asking in two steps
/// would build most dependencies twice.
pub(crate) fn with_tests(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    steps.command("building crowdcloud and the tests", together(workspace, &["build"]).args(["--bins", "--tests"]))
}

/// The portal's files.
pub(crate) fn portal(workspace: &Workspace, steps: &mut Steps, toolchain: &Toolchain) -> anyhow::Result<PathBuf> {
    steps.run("building the portal", || portal::build(workspace, toolchain))
}

/// The example functions, and the guests of the tests, each to its manifest's artifact.
pub(crate) fn guests(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    let examples = workspace.root.join("functions-examples");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&examples)
        .with_context(|| format!("{} cannot be read", examples.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("crowdcloud.toml").is_file())
        .collect();
    folders.sort();
    steps.run("building the example functions", || {
        folders
            .iter()
            .try_for_each(|folder| succeed(Command::new(workspace.program("crowdcloud")).arg("build").arg(folder)))
    })
}

/// What the program and the tests find the parts by.
pub(crate) fn environment(command: &mut Command, nats: &std::path::Path) {
    command.env(crate::tools::NATS_VARIABLE, nats);
}

/// Where tests and benchmarks find programs and sources.
pub(crate) fn locations(command: &mut Command, workspace: &Workspace) {
    command.env("CROWDCLOUD_BIN", workspace.program("crowdcloud"));
    command.env("CROWDCLOUD_EXAMPLES", workspace.root.join("functions-examples"));
}
