//! `cargo xtask lint`: what can be said about the sources without running them.

mod invariants;

use anyhow::bail;

use crate::build;
use crate::steps::{Steps, say};
use crate::workspace::Workspace;

/// Format, clippy with warnings as errors, and the house's own rules.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("invariants", || {
        let broken = invariants::broken(workspace)?;
        broken.iter().for_each(|line| say(line));
        if broken.is_empty() { Ok(()) } else { bail!("{} invariants are broken", broken.len()) }
    })?;
    steps.command("cargo fmt --check", workspace.cargo().args(["fmt", "--all", "--check"]))?;
    let mut commands = vec![("clippy".to_owned(), build::together(workspace, &["clippy"]))];
    for package in build::APART {
        let mut cargo = workspace.cargo();
        cargo.args(["clippy", "--package", package]);
        commands.push((format!("clippy of {package}"), cargo));
    }
    for (name, mut clippy) in commands {
        steps.command(&name, clippy.args(["--all-targets", "--", "--deny", "warnings"]))?;
    }
    Ok(())
}
