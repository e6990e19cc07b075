//! `cargo xtask up`: builds everything, then becomes `crowdcloud up`, so that Ctrl-C and signals go straight to it.

use std::process::Command;

use crate::build::Parts;
use crate::steps::{Steps, say};
use crate::workspace::Workspace;
use crate::{build, tools};

/// Builds and starts the platform; returns only when it cannot be started.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, args: &[String]) -> anyhow::Result<()> {
    let nats = tools::nats(steps)?;
    let toolchain = tools::wasm(steps)?;
    build::all(workspace, steps, &toolchain, Parts::Programs)?;
    if let Err(error) = tools::vm::prepare(workspace, steps) {
        say(&format!("functions run in the wasm lane alone; no VM lane: {error:#}"));
    }
    say(steps.summary().trim_end());
    let mut up = Command::new(workspace.program("crowdcloud"));
    up.arg("up").args(args);
    build::environment(&mut up, &nats);
    become_it(up)
}

#[cfg(unix)]
fn become_it(mut command: Command) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    anyhow::bail!("{} cannot be run: {error}", command.get_program().display())
}

#[cfg(not(unix))]
fn become_it(mut command: Command) -> anyhow::Result<()> {
    crate::steps::succeed(&mut command)
}
