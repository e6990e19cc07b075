//! `cargo xtask up`: builds the platform, then becomes `crowdcloud up`, so that Ctrl-C and signals go straight to it. The
//! VM lane is prepared beside both, of what they leave idle: nodes take it when it is there.

use std::process::Command;

use anyhow::ensure;
use provision::Purpose;

use crate::build::Parts;
use crate::steps::{Steps, say, status};
use crate::workspace::Workspace;
use crate::{build, tools};

/// Builds and starts the platform; returns only when it cannot be started, or was only checked.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, args: &[String]) -> anyhow::Result<()> {
    tools::say_missing(&[Purpose::Setup, Purpose::VmLane]);
    let nats = tools::nats(steps)?;
    let toolchain = tools::wasm(steps)?;
    let mut lane = tools::vm::beside(workspace);
    if let Err(error) = &lane {
        say(&format!("functions run in the wasm lane alone; no VM lane: {error:#}"));
    }
    build::all(workspace, steps, &toolchain, Parts::Platform)?;
    say(steps.summary().trim_end());
    let mut up = Command::new(workspace.program("crowdcloud"));
    up.arg("up").args(args);
    build::environment(&mut up, &nats);
    if !args.iter().any(|arg| arg == "--check") {
        return become_it(up);
    }
    if let Ok(lane) = &mut lane {
        tools::vm::is_built(lane);
    }
    let checked = status(&mut up)?;
    ensure!(checked.success(), "the platform does not work ({checked})");
    // That it has no VM lane has been said.
    tools::vm::wait(lane?)
}

/// This process goes on as that program; returns only when it cannot.
#[cfg(unix)]
pub(crate) fn become_it(mut command: Command) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    anyhow::bail!("{} cannot be run: {error}", command.get_program().display())
}

#[cfg(not(unix))]
pub(crate) fn become_it(mut command: Command) -> anyhow::Result<()> {
    crate::steps::succeed(&mut command)
}
