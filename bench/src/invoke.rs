//! `bench invoke`: what a call costs, from the client's request to the answer's last byte.
//!
//! In each round, one after the other: the platform, `wasmtime serve` with the same component at its defaults and at
//! its best flags, and a bare NATS request; each with 1, 16 and 64 connections. The order turns from round to round.
//! After the platform's turn its receipts are settled before the next begins, so that nobody pays for another's work.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hyper::Response;
use protocol::{Timestamp, headers};

use crate::checks::{Bound, Check, Goal};
use crate::figures::{Figure, Report};
use crate::http::{self, Target};
use crate::load::{self, Sample};
use crate::machine::{self, Machine};
use crate::nats::{Counter, Echo};
use crate::platform::{Parts, Platform};
use crate::wasmtime::{self, Serve};
use crate::{Options, say};

pub(crate) const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// After the start, before the first look at memory.
const CALM: Duration = Duration::from_secs(5);
/// What the function says when its instance is fresh.
const FRESH: &str = "request 1 of this instance";

const MEMORY_MAX_MIB: f64 = 250.0;
const START_AGAIN_MAX: Duration = Duration::from_secs(3);
const STOP_MAX: Duration = Duration::from_secs(5);

/// Who is measured.
enum Contender {
    Platform {
        platform: Box<Platform>,
        target: Box<Target>,
        nats: Counter,
    },
    /// A platform that settles nothing: the path's own share is seen.
    Unsettled {
        _platform: Box<Platform>,
        target: Box<Target>,
    },
    Wasmtime {
        name: &'static str,
        serve: Serve,
    },
    Nats(Echo),
}

impl Contender {
    fn name(&self) -> &'static str {
        match self {
            Self::Platform { .. } => "crowdcloud",
            Self::Unsettled { .. } => "crowdcloud, settlement paused",
            Self::Wasmtime { name, .. } => name,
            Self::Nats(_) => "nats request",
        }
    }
}

/// What the platform's turns add up to.
#[derive(Default)]
struct Totals {
    calls: u64,
    nats_messages: f64,
    settled: u64,
    flagged: u64,
    settling_seconds: Vec<f64>,
}

/// Measures everything.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let parts = Parts::from_environment()?;
    let wasmtime = if options.without_wasmtime { None } else { Some(wasmtime::find()?) };
    let folder = tempfile::tempdir()?;
    let at = Timestamp::now().to_string();

    say("starting the platform");
    let platform = Platform::start(&parts, folder.path()).await?;
    let mut figures = vec![seconds("ready_first_time_seconds", platform.ready_after)];
    tokio::time::sleep(CALM).await;
    let mut checks = vec![memory(&platform, "resident_idle_at_start_mib", &mut figures)];
    let target = platform.deploy()?;
    let nats = platform.nats_counter().await?;
    let noise_per_second = background(&nats).await?;

    let mut contenders =
        vec![Contender::Platform { platform: Box::new(platform), target: Box::new(target.clone()), nats }];
    let unsettled_folder = tempfile::tempdir()?;
    let unsettled = Platform::start_unsettled(&parts, unsettled_folder.path()).await?;
    let unsettled_target = unsettled.deploy()?;
    contenders.push(Contender::Unsettled { _platform: Box::new(unsettled), target: Box::new(unsettled_target) });
    if let Some(binary) = &wasmtime {
        for (name, flags) in [("wasmtime serve", wasmtime::DEFAULTS), ("wasmtime serve, best flags", wasmtime::BEST)] {
            let serve = Serve::start(binary, flags, &parts.component).await?;
            contenders.push(Contender::Wasmtime { name, serve });
        }
    }
    contenders.push(Contender::Nats(Echo::start(&parts.nats_server).await?));

    let mut samples = vec![Vec::new(); contenders.len() * CONNECTIONS.len()];
    let mut totals = Totals::default();
    for round in 0..options.rounds as usize {
        for turn in 0..contenders.len() {
            let which = (round + turn) % contenders.len();
            say(&format!("round {} of {}: {}", round + 1, options.rounds, contenders[which].name()));
            for (place, connections) in CONNECTIONS.into_iter().enumerate() {
                let measured = Duration::from_secs_f64(options.seconds);
                let sample = measure(&contenders[which], connections, measured, noise_per_second, &mut totals).await?;
                samples[which * CONNECTIONS.len() + place].push(sample);
            }
        }
    }

    let names: Vec<&str> = contenders.iter().map(Contender::name).collect();
    figures.extend(measured_figures(&names, &samples));
    figures.push(Figure::new("crowdcloud", "settled_after_seconds", None, totals.settling_seconds.clone()));
    checks.extend(call_checks(&samples, &totals));

    let platform = contenders.into_iter().find_map(|contender| match contender {
        Contender::Platform { platform, .. } => Some(*platform),
        _ => None,
    });
    let platform = platform.context("the platform is gone")?;
    say(&format!("resting {} s", options.rest_seconds));
    tokio::time::sleep(Duration::from_secs(options.rest_seconds)).await;
    checks.push(memory(&platform, "resident_idle_after_mib", &mut figures));
    checks.extend(start_again(&parts, platform, folder.path(), &target, &mut figures).await?);

    let goals = goals(&figures);
    let settings = serde_json::json!({
        "rounds": options.rounds,
        "seconds": options.seconds,
        "warm_up_seconds": load::WARM_UP.as_secs_f64(),
        "rest_seconds": options.rest_seconds,
        "connections": CONNECTIONS,
        "component": { "name": "functions-examples/hello", "bytes": std::fs::metadata(&parts.component)?.len() },
        "load_generator": "one thread on the same machine, HTTP/1.1 kept alive, closed loop",
        "crowdcloud": "up, default configuration; one process and its nats-server; private function, called with a key",
        "settlement_paused": "a second platform, whose halves of bills stay on disk",
        "crowdcloud_version": machine::version(&parts.program),
        "nats_server": machine::version(&parts.nats_server),
        "wasmtime": wasmtime.map(|binary| serde_json::json!({
            "version": machine::version(binary), "defaults": wasmtime::DEFAULTS, "best_flags": wasmtime::BEST,
        })),
    });
    Ok(Report { benchmark: "invoke", at, machine: Machine::here(), settings, figures, goals, checks })
}

/// Messages a second that the idle platform sends by itself.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
async fn background(nats: &Counter) -> anyhow::Result<f64> {
    let (before, began) = (nats.messages_in().await?, Instant::now());
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok((nats.messages_in().await? - before) as f64 / began.elapsed().as_secs_f64())
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
async fn measure(
    contender: &Contender,
    connections: usize,
    measured: Duration,
    noise_per_second: f64,
    totals: &mut Totals,
) -> anyhow::Result<Sample> {
    match contender {
        Contender::Nats(echo) => echo.load(connections, measured).await,
        Contender::Unsettled { target, .. } => load::http(Target::clone(target), connections, measured, is_a_run).await,
        Contender::Wasmtime { serve, .. } => {
            load::http(Target::new(serve.address, "/"), connections, measured, is_fresh).await
        }
        Contender::Platform { platform, target, nats } => {
            let (before, began) = (nats.messages_in().await?, Instant::now());
            let sample = load::http(Target::clone(target), connections, measured, is_a_run).await?;
            let seen = (nats.messages_in().await? - before) as f64;
            totals.nats_messages += seen - noise_per_second * began.elapsed().as_secs_f64();
            totals.calls += sample.successes;
            let began = Instant::now();
            let usage = platform.settled(target.key.as_deref().unwrap_or_default(), totals.calls).await?;
            (totals.settled, totals.flagged) = (usage.succeeded, usage.flagged);
            totals.settling_seconds.push(began.elapsed().as_secs_f64());
            Ok(sample)
        }
    }
}

/// The function's own answer, from a fresh instance.
fn is_fresh(answer: &Response<Bytes>) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(answer.body());
    ensure!(answer.status().is_success(), "{}: {text}", answer.status());
    ensure!(text.contains(FRESH), "not a fresh instance: {text}");
    Ok(())
}

/// The same, through the platform.
pub(crate) fn is_a_run(answer: &Response<Bytes>) -> anyhow::Result<()> {
    is_fresh(answer)?;
    ensure!(answer.headers().contains_key(headers::RUN), "an answer without a run");
    Ok(())
}

/// The first contenders are platforms of ours.
const PLATFORMS: usize = 2;

/// A figure's name, and where it is in a sample.
type Kind = (&'static str, fn(&Sample) -> f64);

/// Each contender's figures, and the platform's over each of the others'.
fn measured_figures(names: &[&str], samples: &[Vec<Sample>]) -> Vec<Figure> {
    const KINDS: [Kind; 3] = [
        ("throughput_per_second", |sample| sample.throughput_per_second),
        ("latency_p50_us", |sample| sample.p50_us),
        ("latency_p99_us", |sample| sample.p99_us),
    ];
    const RATIOS: [&str; 3] = ["throughput_ratio", "latency_p50_ratio", "latency_p99_ratio"];
    let mut figures = Vec::new();
    let mut ratios = Vec::new();
    for ((figure, value), ratio) in KINDS.into_iter().zip(RATIOS) {
        for (place, connections) in CONNECTIONS.into_iter().enumerate() {
            let of = |which: usize| {
                let rounds = samples[which * CONNECTIONS.len() + place].iter().map(value).collect();
                Figure::new(names[which], figure, Some(connections), rounds)
            };
            for ours in 0..PLATFORMS {
                ratios.extend((PLATFORMS..names.len()).map(|which| of(ours).over(&of(which), ratio)));
            }
            figures.extend((0..names.len()).map(of));
        }
    }
    figures.extend(ratios);
    figures
}

/// What is wanted beside `wasmtime serve` at its defaults.
fn goals(figures: &[Figure]) -> Vec<Goal> {
    const WANTED: [(&str, &str, usize, Bound, f64); 5] = [
        ("crowdcloud / wasmtime serve", "throughput_ratio", 1, Bound::AtLeast, 0.35),
        ("crowdcloud / wasmtime serve", "throughput_ratio", 16, Bound::AtLeast, 0.45),
        ("crowdcloud / wasmtime serve", "throughput_ratio", 64, Bound::AtLeast, 0.45),
        ("crowdcloud, settlement paused / wasmtime serve", "throughput_ratio", 16, Bound::AtLeast, 0.6),
        ("crowdcloud / wasmtime serve", "latency_p99_ratio", 1, Bound::AtMost, 6.0),
    ];
    let goal = |(of, figure, connections, bound, limit)| {
        let found = figures
            .iter()
            .find(|one| (one.of.as_str(), one.figure, one.connections) == (of, figure, Some(connections)))?;
        Some(Goal::new(format!("{of}, {connections} connections, {figure}"), bound, limit, found.median))
    };
    WANTED.into_iter().filter_map(goal).collect()
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn call_checks(samples: &[Vec<Sample>], totals: &Totals) -> Vec<Check> {
    let failures: u64 = samples.iter().flatten().map(|sample| sample.failures).sum();
    let first = samples.iter().flatten().find_map(|sample| sample.first_failure.clone());
    let per_call = totals.nats_messages / (totals.calls.max(1) as f64);
    vec![
        Check::new(
            "every call succeeds, on a fresh instance: the guest's counter is always 1",
            failures == 0 && totals.calls > 0,
            format!("{} calls of the platform; {failures} failures; {}", totals.calls, first.unwrap_or_default()),
        ),
        Check::new(
            "every success has a receipt",
            totals.settled == totals.calls && totals.flagged == 0,
            format!("{} calls, {} settled, {} flagged", totals.calls, totals.settled, totals.flagged),
        ),
        Check::new(
            "NATS saw at least two messages for each call",
            per_call >= 2.0,
            format!("{per_call:.3} a call, the idle platform's own taken off"),
        ),
    ]
}

#[allow(clippy::cast_precision_loss, reason = "kilobytes are far below 2^52")]
fn memory(platform: &Platform, name: &'static str, figures: &mut Vec<Figure>) -> Check {
    let resident = platform.resident();
    let mib = resident.iter().map(|(_, kib)| *kib).sum::<u64>() as f64 / 1024.0;
    figures.push(Figure::new("crowdcloud", name, None, vec![mib]));
    let parts: Vec<String> = resident.iter().map(|(name, kib)| format!("{name} {} MiB", kib / 1024)).collect();
    Check::new(
        "the idle platform is under 250 MiB resident, nats-server included",
        mib < MEMORY_MAX_MIB,
        parts.join(", "),
    )
}

/// Stops, starts on the same data, and calls.
async fn start_again(
    parts: &Parts,
    platform: Platform,
    folder: &std::path::Path,
    target: &Target,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<Vec<Check>> {
    say("stopping and starting again");
    let stopped = platform.stop().await?;
    let again = Platform::start(parts, folder).await?;
    let answer = http::get(&again.moved(target)).await.and_then(|answer| is_a_run(&answer));
    let ready = again.ready_after;
    figures.extend([seconds("stopped_after_seconds", stopped), seconds("ready_again_seconds", ready)]);
    again.stop().await?;
    Ok(vec![
        Check::new("stopped by Ctrl-C within 5 s", stopped < STOP_MAX, format!("{stopped:.2?}")),
        Check::new("started again: ready within 3 s", ready < START_AGAIN_MAX, format!("{ready:.2?}")),
        Check::new(
            "the function is still there",
            answer.is_ok(),
            answer.map_or_else(|error| format!("{error:#}"), |()| "it answers".to_owned()),
        ),
    ])
}

fn seconds(name: &'static str, took: Duration) -> Figure {
    Figure::new("crowdcloud", name, None, vec![took.as_secs_f64()])
}
