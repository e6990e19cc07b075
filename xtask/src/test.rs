//! `cargo xtask test`: format, clippy and invariants, then every test on real parts, and where the time went.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::build::Parts;
use crate::report::Report;
use crate::steps::{Steps, quiet, say, status, succeed};
use crate::workspace::Workspace;
use crate::{build, lint, tools};

/// Runs all tests, or those whose name contains the filter.
pub(crate) fn run(
    workspace: &Workspace,
    steps: &mut Steps,
    filter: Option<&str>,
    no_lint: bool,
) -> anyhow::Result<ExitCode> {
    let nats = tools::nats(steps)?;
    let toolchain = tools::wasm(steps)?;
    tools::for_tests(steps)?;
    if !no_lint && filter.is_none() {
        lint::run(workspace, steps)?;
    }
    build::all(workspace, steps, &toolchain, Parts::WithTests)?;
    build::guests(workspace, steps)?;
    tools::vm::prepare(workspace, steps);

    let prepare = |command: &mut Command| {
        build::environment(command, &nats);
        build::locations(command, workspace);
    };
    let mut passed = true;
    if filter.is_none() {
        passed &= examples(workspace, steps)?;
        passed &= own(workspace, steps)?;
    }
    let report = workspace.target.join("nextest/default/junit.xml");
    passed &= if has_nextest(workspace) {
        let _ = std::fs::remove_file(&report);
        let mut nextest = build::together(workspace, &["nextest", "run"]);
        nextest.args(["--no-fail-fast", "--no-tests=pass"]).args(filter);
        prepare(&mut nextest);
        steps.run("tests (nextest)", || Ok(status(&mut nextest)?.success()))?
    } else {
        say("cargo-nextest is not installed: running `cargo test`, one test after another");
        let mut test = build::together(workspace, &["test", "--no-fail-fast"]);
        test.args(["--", "--test-threads", "1"]).args(filter);
        prepare(&mut test);
        steps.run("tests (cargo test)", || Ok(status(&mut test)?.success()))?
    };
    summarise(steps, &report);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The examples' own tests, on this machine's target: they are a workspace of their own.
fn examples(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<bool> {
    let mut cargo = workspace.cargo();
    cargo.current_dir(workspace.root.join("functions-examples"));
    cargo.args(["test", "--release", "--quiet"]).env("CARGO_TARGET_DIR", workspace.target.join("examples"));
    steps.run("tests of the example functions", || Ok(succeed(&mut cargo).is_ok()))
}

/// The tests of xtask and of the portal's pure parts, apart because their dependencies are built apart.
fn own(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<bool> {
    let mut passed = true;
    for package in build::APART {
        let mut cargo = workspace.cargo();
        cargo.args(["test", "--quiet", "--package", package]);
        passed &= steps.run(&format!("tests of {package}"), || Ok(succeed(&mut cargo).is_ok()))?;
    }
    Ok(passed)
}

fn has_nextest(workspace: &Workspace) -> bool {
    quiet(workspace.cargo().args(["nextest", "--version"])).is_ok()
}

fn summarise(steps: &Steps, report: &Path) {
    if let Ok(xml) = std::fs::read_to_string(report) {
        let report = Report::parse(&xml);
        say(report.slowest().trim_end());
        say(steps.summary().trim_end());
        say(&format!("{} passed, {} failed, {} skipped", report.passed(), report.failed(), report.skipped()));
    } else {
        say(steps.summary().trim_end());
    }
}
