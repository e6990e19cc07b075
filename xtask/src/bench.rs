//! `cargo xtask bench`: builds what is measured, then hands over to the `bench` crate.

use std::process::{Command, ExitCode};

use anyhow::ensure;

use crate::steps::{Steps, status};
use crate::workspace::Workspace;
use crate::{build, tools};

/// Runs the benchmark that the arguments name.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, args: &[String]) -> anyhow::Result<ExitCode> {
    ensure!(workspace.has("bench"), "there is no `bench` crate in this workspace");
    let nats = tools::nats(steps)?;
    let toolchain = tools::wasm(steps)?;
    build::portal(workspace, steps, &toolchain)?;
    build::binary(workspace, steps)?;
    build::guests(workspace, steps)?;
    let mut bench = Command::new(workspace.program("bench"));
    bench.args(args);
    build::environment(&mut bench, &nats);
    build::locations(&mut bench, workspace);
    let done = status(&mut bench)?;
    Ok(if done.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
