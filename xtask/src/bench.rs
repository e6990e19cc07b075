//! `cargo xtask bench`: builds what is measured, then hands over to the `bench` crate; `bench faults` is the long form
//! of the tests of faults, `bench scheduler` the simulator.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::ensure;
use componentize::Toolchain;

use crate::build::Parts;
use crate::steps::{Steps, status};
use crate::workspace::Workspace;
use crate::{build, tools};

/// Runs the benchmark that the arguments name.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, args: &[String]) -> anyhow::Result<ExitCode> {
    ensure!(workspace.has("bench"), "there is no `bench` crate in this workspace");
    if args.first().is_some_and(|what| what == "scheduler") {
        return scheduler(workspace, steps, args);
    }
    let nats = tools::nats(steps)?;
    let toolchain = tools::wasm(steps)?;
    if args.first().is_some_and(|what| what == "faults") {
        return faults(workspace, steps, &nats, &toolchain);
    }
    build::all(workspace, steps, &toolchain, Parts::Programs)?;
    build::guests(workspace, steps)?;
    let mut bench = Command::new(workspace.program("bench"));
    bench.args(args);
    let what = args.first().map_or("", String::as_str);
    if matches!(what, "portal" | "all") {
        tools::browser(steps)?;
    }
    if matches!(what, "vm" | "images" | "jobs" | "lend" | "all") {
        tools::vm::prepare(workspace, steps)?;
    }
    if matches!(what, "images" | "all") {
        tools::images::prepare(workspace, steps, None)?;
    }
    if matches!(what, "vm" | "jobs" | "lend" | "all") {
        let measured = tools::vm::measured(workspace, steps)?;
        bench.env("CROWDCLOUD_BENCH_GUEST", measured.guest).env("CROWDCLOUD_VM_TOOLS", measured.tools);
    }
    build::environment(&mut bench, &nats);
    build::locations(&mut bench, workspace);
    let done = status(&mut bench)?;
    Ok(if done.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The simulator needs no platform, and so neither the portal nor guests nor a server.
fn scheduler(workspace: &Workspace, steps: &mut Steps, args: &[String]) -> anyhow::Result<ExitCode> {
    build::only(workspace, steps, Parts::Programs)?;
    let done = status(Command::new(workspace.program("bench")).args(args))?;
    Ok(if done.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Five kills and five stops of each kind of process under load, two thousand jobs through 24 faults, two thousand more
/// while lenders with networks of their own come, fail and go, a thousand deploys and changes of routes while NATS is killed,
/// two hundred runs of a canary in VMs, four hundred that use up a VM's memory, the whole set of images, all bases made
/// again, a hundred thousand exchanges of which a third are broken off, and on each database five hundred seeds of
/// settlement's faults and of the store's, and twelve of the history's; an hour.
fn faults(workspace: &Workspace, steps: &mut Steps, nats: &Path, toolchain: &Toolchain) -> anyhow::Result<ExitCode> {
    build::all(workspace, steps, toolchain, Parts::WithTests)?;
    build::guests(workspace, steps)?;
    tools::images::prepare(workspace, steps, None)?;
    let mut nextest = build::together(workspace, &["nextest", "run"]);
    nextest.args(["--no-capture", "faults_of_every_kind", "no_job_is_lost", "nothing_of_a_run_is_seen"]).args([
        "a_memory_hog_ends_soon",
        "what_one_gateway_deploys",
        "routes_survive",
        "settlement::faults",
        "objects::tests::faults",
        "objects::tests::disk_faults",
        "settlement::history",
        "churn::nothing_is_left_behind",
        "what_runs_under_docker",
        "the_same_lock_gives",
    ]);
    nextest.env("CROWDCLOUD_JOB_COUNT", "2000").env("CROWDCLOUD_JOB_FAULTS", "24");
    nextest.env("CROWDCLOUD_LENT_JOBS", "2000").env("CROWDCLOUD_LENT_CALLS", "100");
    nextest.env("CROWDCLOUD_FAULT_ROUNDS", "5").env("CROWDCLOUD_CANARY_RUNS", "200");
    nextest.env("CROWDCLOUD_HOG_ROUNDS", "400").env("CROWDCLOUD_SEEDS", "500");
    nextest.env("CROWDCLOUD_DEPLOYS", "1000").env("CROWDCLOUD_ROUTE_CHANGES", "1000");
    nextest.env("CROWDCLOUD_ALL_IMAGES", "1").env("CROWDCLOUD_HISTORY_SEEDS", "12");
    nextest.env("CROWDCLOUD_EXCHANGES", "100000").env("CROWDCLOUD_ALL_BASES", "1");
    build::environment(&mut nextest, nats);
    build::locations(&mut nextest, workspace);
    let done = status(&mut nextest)?;
    Ok(if done.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
