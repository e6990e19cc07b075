//! `cargo xtask demo`: builds the platform and the examples, then becomes the tests' program that fills a platform with
//! work. The VM lane is prepared beside both, as for `up`.

use std::process::Command;

use crate::build::Parts;
use crate::steps::{Steps, say};
use crate::up::become_it;
use crate::workspace::Workspace;
use crate::{build, tools};

/// Builds it and becomes it; returns only when it cannot be started.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, args: &[String]) -> anyhow::Result<()> {
    let nats = tools::nats(steps)?;
    let toolchain = tools::wasm(steps)?;
    if args.iter().any(|arg| arg.starts_with("--screenshots")) {
        tools::browser(steps)?;
    }
    let mut lane = tools::vm::beside(workspace);
    build::all(workspace, steps, &toolchain, Parts::Demo)?;
    match &mut lane {
        Ok(lane) => tools::vm::is_built(lane),
        Err(error) => say(&format!("functions run in the wasm lane alone; no VM lane: {error:#}")),
    }
    build::guests(workspace, steps)?;
    let mut demo = Command::new(workspace.program("demo"));
    demo.args(args);
    build::environment(&mut demo, &nats);
    build::locations(&mut demo, workspace);
    become_it(demo)
}
