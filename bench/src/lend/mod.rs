//! `bench lend`: what lending a machine takes, and what it costs.
//!
//! Machines join with `crowdcloud lend`, by HTTPS, each behind a relay of ours that counts bytes and can make the way longer.
//! The platform's own node is paused, so that all calls go to them. Peers in the same rounds: a machine that has joined
//! before, the same worker without supervisor and confinement, and a bare exchange of as many bytes through the same relay.

mod account;
mod bare;
mod calls;
mod joins;
mod lender;
mod pauses;
mod relay;

use anyhow::Context as _;
use protocol::Timestamp;

use self::account::Account;
use self::pauses::Lane;
use crate::checks::{Check, Goal};
use crate::figures::{Figure, Report};
use crate::http::Target;
use crate::machine::{self, Machine};
use crate::platform::{Parts, Platform};
use crate::{Options, say};

/// What a lender says: the strictest confinement. It connects to nobody but the platform, and has no machines.
const STRICT: &[&str] = &["--no-vm"];
/// The same with machines.
const WITH_VM: &[&str] = &[];
/// Longer than any of this.
const LONG: &str = "120s";
const PROBED: &str = "probed";
const BURN: &str = "burn";
const PRIMES: &str = "primes";

/// What a part of it found.
struct Found {
    figures: Vec<Figure>,
    goals: Vec<Goal>,
    checks: Vec<Check>,
}

/// Measures everything.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let parts = Parts::from_environment()?;
    let folder = tempfile::tempdir()?;
    let machines = tempfile::tempdir()?;
    let at = Timestamp::now().to_string();
    say("starting the platform");
    let platform = Platform::start_with(&parts, folder.path(), &["--tls-self-signed"]).await?;
    let target = platform.deploy()?;
    let probed = platform.deploy_more(&parts.component, PROBED, &[])?;
    let lanes = lanes(&parts, &platform).await?;
    let data = folder.path().join("data");
    platform.command(&["lend", "pause", "--data", data.to_str().context("the folder's path is not UTF-8")?], "")?;

    let account = Account::of(&platform, &parts, machines.path())?;
    let all = [
        Box::pin(joins::measure(&account, &probed, options)).await?,
        Box::pin(calls::measure(&account, &target, &probed, options)).await?,
        Box::pin(pauses::measure(&account, &lanes, options)).await?,
    ];
    let settings = serde_json::json!({
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": calls::CONNECTIONS,
        "lanes": lanes.iter().map(|lane| lane.name).collect::<Vec<_>>(),
        "lend": STRICT,
        "way": "HTTPS with a self-signed certificate, through a relay on this machine; for 20 ms each direction takes 10 ms",
        "load_generator": "one thread on the same machine, HTTP/1.1 kept alive, closed loop",
        "crowdcloud_version": machine::version(&parts.program),
        "nats_server": machine::version(&parts.nats_server),
    });
    platform.stop().await?;
    let mut report = Report {
        benchmark: "lend",
        at,
        machine: Machine::here(),
        settings,
        figures: Vec::new(),
        goals: Vec::new(),
        checks: Vec::new(),
    };
    for found in all {
        report.figures.extend(found.figures);
        report.goals.extend(found.goals);
        report.checks.extend(found.checks);
    }
    Ok(report)
}

/// A function of each lane that computes for long; of the VM lane only where this machine has it.
async fn lanes(parts: &Parts, platform: &Platform) -> anyhow::Result<Vec<Lane>> {
    let examples = parts.component.ancestors().nth(3).context("the examples' folder")?;
    let burn = platform.deploy_more(&examples.join("probe/dist/probe.wasm"), BURN, &["--timeout", LONG])?;
    let burn = burn.below("/burn?ms=110000&mib=1&n=1", "");
    let mut lanes = vec![Lane { name: "wasm lane", target: burn, calls: 4, is_vm: false }];
    match primes(&examples.join("primes/dist/primes"), platform).await {
        Ok(target) => lanes.push(Lane { name: "VM lane", target, calls: 2, is_vm: true }),
        Err(error) => say(&format!("no figures of the VM lane: {error:#}")),
    }
    Ok(lanes)
}

async fn primes(program: &std::path::Path, platform: &Platform) -> anyhow::Result<Target> {
    platform.lane_is_ready().await?;
    let flags = ["--timeout", LONG, "--memory", "64MiB", "--cpus", "1"];
    Ok(platform.deploy_more(program, PRIMES, &flags)?.below("/?below=4000000000", ""))
}
