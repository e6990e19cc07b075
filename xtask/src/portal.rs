//! Builds the portal: the Sycamore app for wasm, its JavaScript glue, its styles.

use std::path::PathBuf;

use anyhow::bail;
use componentize::Toolchain;

use crate::workspace::Workspace;

/// Builds it; the folder that holds its files.
pub(crate) fn build(workspace: &Workspace, toolchain: &Toolchain) -> anyhow::Result<PathBuf> {
    let dir = workspace.root.join("web");
    let mut cargo = toolchain.cargo_build(&dir);
    cargo.args(["--profile", "portal"]);
    crate::steps::succeed(&mut cargo)?;
    bail!("the portal is not assembled yet")
}
