//! A warm server in a machine, called through the platform, beside a function of the wasm lane called the same way, and
//! beside the same server run natively.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hyper::Response;
use protocol::headers;

use super::Tools;
use crate::checks::Check;
use crate::figures::Figure;
use crate::http::{self, Target};
use crate::load::{self, Sample};
use crate::platform::{FUNCTION, Parts, Platform};
use crate::process::{Process, free_address};
use crate::{Options, say};

const LISTENS_WITHIN: Duration = Duration::from_secs(10);
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
const SERVER: &str = "server";
/// What the server begins its answers with.
const GREETING: &[u8] = b"hello";

/// What was found.
pub(super) struct Served {
    pub(super) figures: Vec<Figure>,
    /// The middle of what a call of a VM adds over what one of the wasm lane adds.
    pub(super) added_ratio: f64,
    pub(super) checks: Vec<Check>,
}

/// What one turn of a lane found: the middle call, and what the guest itself took of one.
struct Turn {
    sample: Sample,
    own_us: f64,
}

impl Turn {
    /// What is not the guest's own time.
    fn added_us(&self) -> f64 {
        self.sample.p50_us - self.own_us
    }
}

pub(super) async fn run(options: &Options, tools: &Tools, under: &str) -> anyhow::Result<Served> {
    let parts = Parts::from_environment()?;
    let folder = tempfile::tempdir()?;
    say("starting the platform");
    let platform = Platform::start(&parts, folder.path()).await?;
    let wasm = platform.deploy()?;
    platform.lane_is_ready().await?;
    let flags = ["--kind", "server", "--memory", "64MiB", "--timeout", "60s"];
    let vm = platform.deploy_more(&tools.guest, SERVER, &flags)?;
    let (native, _process) = native(tools).await?;

    let measured = Duration::from_secs_f64(options.seconds);
    let (mut in_vm, mut in_wasm, mut natively) = (Vec::new(), Vec::new(), Vec::new());
    // The first call starts the machine.
    is_a_run(&http::get(&vm).await?)?;
    for round in 1..=options.rounds {
        say(&format!("round {round} of {}: a warm server, the wasm lane, natively", options.rounds));
        in_vm.push(turn(&platform, SERVER, &vm, measured).await?);
        in_wasm.push(turn(&platform, FUNCTION, &wasm, measured).await?);
        natively.push(load::http(native.clone(), 1, measured, is_greeting).await?);
    }
    platform.stop().await?;

    let vm_name = format!("warm server in a VM, {under}");
    let of = |name: &str, figure, turns: &[Turn], value: fn(&Turn) -> f64| {
        Figure::new(name, figure, Some(1), turns.iter().map(value).collect())
    };
    let lanes = [(vm_name.as_str(), &in_vm), ("wasm lane", &in_wasm)];
    let mut figures = Vec::new();
    for (name, turns) in lanes {
        figures.push(of(name, "latency_p50_us", turns, |turn| turn.sample.p50_us));
        figures.push(of(name, "own_time_us", turns, |turn| turn.own_us));
    }
    let native =
        Figure::new("the same server natively", "latency_p50_us", Some(1), natively.iter().map(|s| s.p50_us).collect());
    let added = lanes.map(|(name, turns)| of(name, "added_us", turns, Turn::added_us));
    let ratio = added[0].over(&added[1], "added_ratio");
    let added_ratio = ratio.median;
    figures.push(figures[0].over(&native, "latency_p50_ratio"));
    figures.push(native);
    figures.extend(added);
    figures.push(ratio);

    let samples = in_vm.iter().chain(&in_wasm).map(|turn| &turn.sample).chain(&natively);
    let failures: u64 = samples.clone().map(|sample| sample.failures).sum();
    let first = samples.clone().find_map(|sample| sample.first_failure.clone()).unwrap_or_default();
    let calls: u64 = samples.map(|sample| sample.successes).sum();
    let found = format!("{calls} calls, {failures} failures; {first}");
    let checks = vec![Check::new("every call of a warm server succeeds", failures == 0 && calls > 0, found)];
    Ok(Served { figures, added_ratio, checks })
}

/// The same program on this machine itself.
async fn native(tools: &Tools) -> anyhow::Result<(Target, Process)> {
    let address = free_address()?;
    let mut command = Command::new(&tools.guest);
    command.env("PORT", address.port().to_string()).stdout(Stdio::null());
    let process = Process::spawn(&mut command)?;
    let target = Target::new(address, "/");
    let began = Instant::now();
    while http::get(&target).await.is_err() {
        ensure!(began.elapsed() < LISTENS_WITHIN, "the server does not listen natively");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((target, process))
}

/// One lane's turn; its guests' own time is what its receipts say.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
async fn turn(platform: &Platform, function: &str, target: &Target, measured: Duration) -> anyhow::Result<Turn> {
    let key = target.key.as_deref().context("a function without a key")?;
    let before = platform.usage_of(function, key).await?;
    let sample = load::http(target.clone(), 1, measured, is_a_run).await?;
    let began = Instant::now();
    let after = loop {
        let now = platform.usage_of(function, key).await?;
        // A call of before may be settled within the turn.
        if now.succeeded >= before.succeeded + sample.successes || began.elapsed() > SETTLED_WITHIN {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let runs = (after.succeeded - before.succeeded).max(1) as f64;
    Ok(Turn { sample, own_us: (after.cpu_us - before.cpu_us) as f64 / runs })
}

fn is_a_run(answer: &Response<Bytes>) -> anyhow::Result<()> {
    ensure!(answer.status().is_success(), "{}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
    ensure!(answer.headers().contains_key(headers::RUN), "an answer without a run");
    Ok(())
}

fn is_greeting(answer: &Response<Bytes>) -> anyhow::Result<()> {
    ensure!(answer.status().is_success() && answer.body().starts_with(GREETING), "{}", answer.status());
    Ok(())
}
