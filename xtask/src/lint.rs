//! `cargo xtask lint`: what can be said about the sources without running them.

mod floors;
mod invariants;
mod linter;

use std::path::Path;
use std::process::Command;

use anyhow::bail;

pub(crate) use linter::{Linter, compile, is_compiler};

use crate::build;
use crate::steps::{Steps, quiet, say};
use crate::workspace::Workspace;

const ARM: &str = "aarch64-unknown-linux-gnu";
const ARM_GCC: &str = "aarch64-linux-gnu-gcc";

/// Format and the house's own rules: what needs no compiler.
pub(crate) fn quick(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("invariants", || {
        let broken = invariants::broken(workspace)?;
        broken.iter().for_each(|line| say(line));
        if broken.is_empty() { Ok(()) } else { bail!("{} invariants are broken", broken.len()) }
    })?;
    steps.command("cargo fmt --check", workspace.cargo().args(["fmt", "--all", "--check"]))
}

/// That, clippy with warnings as errors, and the documentation's links.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    quick(workspace, steps)?;
    let mut commands = vec![("clippy".to_owned(), build::together(workspace, &["clippy"]))];
    for package in build::APART {
        let mut cargo = workspace.cargo();
        cargo.args(["clippy", "--package", package]);
        commands.push((format!("clippy of {package}"), cargo));
    }
    for (name, mut clippy) in commands {
        steps.command(&name, clippy.args(["--all-targets", "--", "--deny", "warnings"]))?;
    }
    steps.command("cargo doc", build::together(workspace, &["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    arm(workspace, steps)
}

/// Lenders have other machines than ours: the node must compile for them. Said where that cannot be checked.
pub(crate) fn arm(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    let sysroot = quiet(Command::new("rustc").args(["--print", "sysroot"]))?;
    let target = Path::new(sysroot.trim()).join("lib/rustlib").join(ARM);
    if !target.is_dir() || quiet(Command::new(ARM_GCC).arg("--version")).is_err() {
        say(&format!("not checked: the executor for {ARM} (it takes `rustup target add {ARM}` and {ARM_GCC})"));
        return Ok(());
    }
    let mut check = workspace.cargo();
    check.args(["check", "--package", "executor", "--target", ARM]);
    steps.command(&format!("the executor for {ARM}"), &mut check)
}
