//! `cargo xtask doc`: the catalogue of errors and the table of headers as pages, and the crates' own documentation.

use crate::build;
use crate::steps::Steps;
use crate::workspace::Workspace;

/// Writes docs/errors.md and docs/headers.md (tests of `protocol` check that they are current), then builds the documentation.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    let mut page = workspace.cargo();
    page.args(["test", "--release", "--package", "protocol", "--lib", "_page::"]);
    page.env("CROWDCLOUD_WRITE_DOCS", "1");
    steps.command("docs/errors.md, docs/headers.md", &mut page)?;
    steps.command("cargo doc", build::together(workspace, &["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}
