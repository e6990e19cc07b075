//! `cargo xtask test`: format, clippy and invariants, then every test on real parts, and where the time went.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::build::Parts;
use crate::lint::{self, Linter};
use crate::parts::{self, Missing, Part};
use crate::report::Report;
use crate::steps::{Steps, quiet, say, status, succeed};
use crate::workspace::Workspace;
use crate::{build, portal, sources, tools};

/// What is tested.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Which<'a> {
    /// Only tests whose name contains this.
    pub(crate) filter: Option<&'a str>,
    /// Without format, clippy and invariants.
    pub(crate) no_lint: bool,
    /// The sources are a fresh clone's, and nothing else builds into its target folder.
    pub(crate) fresh_clone: bool,
    /// The tests of the platform alone, each on three executors that keep two copies of each blob.
    pub(crate) replicas: bool,
}

/// What such a run adds to the platforms of tests that say nothing of processes, and the variable that says so.
const REPLICAS: (&str, &str) = ("CROWDCLOUD_UP_FLAGS", "--replicas 2 --executors 3");
/// Those tests.
const OF_PLATFORMS: &str = "package(tests)";

/// Runs the tests; where the time went is told however they end.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, which: Which<'_>) -> anyhow::Result<ExitCode> {
    let mut workspace = workspace.clone();
    if which.fresh_clone && !which.no_lint {
        workspace.linter = Some(Linter::prepare(&workspace)?);
    }
    let workspace = &workspace;
    let report = workspace.target.join("nextest/default/junit.xml");
    let _ = std::fs::remove_file(&report);
    let mut skipped = 0;
    let done = all(workspace, steps, which, &mut skipped);
    summarise(steps, &report, skipped);
    done
}

fn all(workspace: &Workspace, steps: &mut Steps, which: Which<'_>, skipped: &mut usize) -> anyhow::Result<ExitCode> {
    let Which { filter, no_lint, fresh_clone, replicas } = which;
    if fresh_clone {
        sources::keep_times(workspace)?;
    }
    let nats = tools::nats(steps)?;
    let toolchain = tools::wasm(steps)?;
    tools::for_tests(steps)?;
    let mut missing = parts::missing();
    if let Err(error) = tools::axe(steps) {
        missing.push(Missing { part: Part::Axe, why: format!("{error:#}") });
    }
    parts::tell(&missing)?;
    let lane = tools::vm::beside(workspace);
    match &workspace.linter {
        Some(_) => {
            lint::quick(workspace, steps)?;
            lint::arm(workspace, steps)?;
        }
        None if !no_lint && filter.is_none() => lint::run(workspace, steps)?,
        None => {}
    }
    build::all(workspace, steps, &toolchain, Parts::WithTests)?;
    if !portal::has_charts(workspace) {
        let charts = Missing { part: Part::Charts, why: "see above".to_owned() };
        parts::tell(std::slice::from_ref(&charts))?;
        missing.push(charts);
    }
    build::guests(workspace, steps)?;
    if let Err(error) = steps.run("the rest of the VM lane", || tools::vm::wait(lane?)) {
        let lane = Missing { part: Part::Vm, why: format!("{error:#}") };
        parts::tell(std::slice::from_ref(&lane))?;
        missing.push(lane);
    }
    if let Err(error) = tools::images::prepare(workspace, steps, None) {
        let images = Missing { part: Part::Images, why: format!("{error:#}") };
        parts::tell(std::slice::from_ref(&images))?;
        missing.push(images);
    }

    let left_out = parts::left_out(&missing);
    let prepare = |command: &mut Command| {
        build::environment(command, &nats);
        build::locations(command, workspace);
        if replicas {
            command.env(REPLICAS.0, REPLICAS.1);
        }
    };
    let mut passed = true;
    if filter.is_none() && !replicas {
        passed &= examples(workspace, steps)?;
        passed &= own(workspace, steps)?;
    }
    passed &= if has_nextest(workspace) {
        let mut nextest = build::together(workspace, &["nextest", "run"]);
        nextest.args(["--no-fail-fast", "--no-tests=pass"]).args(filter);
        let wanted = replicas.then(|| OF_PLATFORMS.to_owned());
        let there = left_out.as_ref().map(|left_out| format!("not ({left_out})"));
        let tests: Vec<String> = wanted.iter().cloned().chain(there).collect();
        if !tests.is_empty() {
            nextest.args(["--filterset", &tests.join(" & ")]);
        }
        prepare(&mut nextest);
        let left_out =
            left_out.map(|left_out| wanted.into_iter().fold(left_out, |all, some| format!("{some} & ({all})")));
        *skipped = left_out.map_or(Ok(0), |tests| count(workspace, &tests, filter))?;
        steps.run("tests (nextest)", || Ok(status(&mut nextest)?.success()))?
    } else {
        say("cargo-nextest is not installed: running `cargo test`, one test after another");
        let mut test = build::together(workspace, &["test", "--no-fail-fast"]);
        if replicas {
            test.args(["--test", "platform", "--test", "portal"]);
        }
        test.args(["--", "--test-threads", "1"]).args(filter);
        prepare(&mut test);
        steps.run("tests (cargo test)", || Ok(status(&mut test)?.success()))?
    };
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
        let cargo = |verb: &[&str]| {
            let mut cargo = workspace.cargo();
            cargo.args(verb).args(["--quiet", "--package", package]);
            if let Some(linter) = &workspace.linter {
                linter.lint(&mut cargo);
            }
            cargo
        };
        if workspace.linter.is_some() {
            // Without its tests it may use less of itself.
            let mut linted = cargo(&["build", "--all-targets"]);
            passed &= steps.run(&format!("clippy of {package}"), || Ok(succeed(&mut linted).is_ok()))?;
        }
        let mut tested = cargo(&["test"]);
        passed &= steps.run(&format!("tests of {package}"), || Ok(succeed(&mut tested).is_ok()))?;
    }
    Ok(passed)
}

/// How many tests the filter means.
fn count(workspace: &Workspace, tests: &str, filter: Option<&str>) -> anyhow::Result<usize> {
    let mut list = build::together(workspace, &["nextest", "list"]);
    list.args(["--message-format", "json", "--filterset", tests]).args(filter);
    let listed: serde_json::Value = serde_json::from_str(&quiet(&mut list)?)?;
    let suites = listed["rust-suites"].as_object().into_iter().flatten();
    let cases = suites.flat_map(|(_, suite)| suite["testcases"].as_object().into_iter().flatten());
    Ok(cases.filter(|(_, case)| case["filter-match"]["status"] == "matches").count())
}

fn has_nextest(workspace: &Workspace) -> bool {
    quiet(workspace.cargo().args(["nextest", "--version"])).is_ok()
}

fn summarise(steps: &Steps, report: &Path, skipped: usize) {
    if let Ok(xml) = std::fs::read_to_string(report) {
        let report = Report::parse(&xml);
        say(report.slowest().trim_end());
        say(steps.summary().trim_end());
        say(&format!("{} passed, {} failed, {} skipped", report.passed(), report.failed(), report.skipped() + skipped));
    } else {
        say(steps.summary().trim_end());
    }
}
