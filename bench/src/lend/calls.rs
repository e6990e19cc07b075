//! What lending costs calls and lines: a machine as lenders have it, and beside it the same worker that nobody watches and
//! nobody confines, both behind relays on the same way. By turns the one or the other takes all calls.
//!
//! In each round: both idle, their bytes counted; calls of each; then calls of the lender's machine behind 20 ms, beside what
//! the same relay takes for as many bytes there and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fabric::{Authority, subjects};
use futures::StreamExt as _;
use protocol::NodeId;
use protocol::node::NodeState;
use tokio::task::JoinSet;

use super::account::Account;
use super::bare::Bare;
use super::lender::Lender;
use super::relay::{self, Relay};
use super::{Found, STRICT};
use crate::checks::{Bound, Check, Goal};
use crate::figures::{Figure, quantile};
use crate::http::Target;
use crate::invoke::is_a_run;
use crate::load::{self, Sample};
use crate::{Options, nats, say};

/// Calls at once.
pub(super) const CONNECTIONS: [usize; 2] = [1, 16];
/// Half of 20 ms.
const ONE_WAY: Duration = Duration::from_millis(10);
/// A report in so many seconds is whole.
const IDLE_MIN: Duration = Duration::from_secs(10);
/// After other work, before a line is called idle.
const CALM: Duration = Duration::from_secs(5);
const IDLE_REPORTS_MAX: f64 = 1024.0;
const THROUGHPUT_RATIO_MIN: f64 = 0.97;
const ADDED_MAX_MS: f64 = 2.0;

const NAMES: [&str; 2] = ["lend, supervised and confined", "the bare worker"];

/// A machine that takes calls.
struct Side<'a> {
    node: NodeId,
    relay: &'a Relay,
    /// Bytes of its reports so far.
    reports: Arc<AtomicU64>,
}

/// Of one side, by rounds.
#[derive(Default)]
struct Series {
    /// By number of connections.
    samples: [Vec<Sample>; CONNECTIONS.len()],
    idle_reports: Vec<f64>,
    idle_up: Vec<f64>,
    idle_down: Vec<f64>,
    busy_reports: Vec<f64>,
    up_per_call: Vec<f64>,
    down_per_call: Vec<f64>,
}

/// Behind 20 ms, by rounds, in milliseconds.
#[derive(Default)]
struct Far {
    near: Vec<f64>,
    call: Vec<f64>,
    network: Vec<f64>,
}

/// Measures it. `probed` is a function whose calls are not counted.
pub(super) async fn measure(
    account: &Account<'_>,
    target: &Target,
    probed: &Target,
    options: &Options,
) -> anyhow::Result<Found> {
    let mut lender = Lender::new(account, "lent", STRICT)?;
    lender.start()?;
    let bare = Box::pin(Bare::start(account, STRICT)).await?;
    for node in [lender.node, bare.node] {
        account.until(node, NodeState::Online).await?;
    }
    let (reports, _listening) = listen(account, [lender.node, bare.node]).await?;
    let [of_lender, of_bare] = reports;
    let sides = [
        Side { node: lender.node, relay: &lender.relay, reports: of_lender },
        Side { node: bare.node, relay: &bare.relay, reports: of_bare },
    ];
    let echo = Relay::start(relay::echo()?)?;
    echo.delay(ONE_WAY);
    let (mut series, mut far, mut calls) = ([Series::default(), Series::default()], Far::default(), 0);
    let measured = Duration::from_secs_f64(options.seconds);
    for round in 0..options.rounds as usize {
        say(&format!("round {} of {}: both idle", round + 1, options.rounds));
        idle(&sides, &mut series, measured.max(IDLE_MIN)).await;
        for turn in 0..sides.len() {
            let which = (round + turn) % sides.len();
            say(&format!("round {} of {}: calls of {}", round + 1, options.rounds, NAMES[which]));
            choose(account, &sides, which, probed).await?;
            busy(account, target, &sides[which], &mut series[which], measured, &mut calls).await?;
        }
        say(&format!("round {} of {}: behind 20 ms", round + 1, options.rounds));
        choose(account, &sides, 0, probed).await?;
        behind(account, target, &sides[0], &echo, measured, &mut far, &mut calls).await?;
        account.paused(bare.node, false).await?;
    }
    let usage = account.platform.settled(target.key.as_deref().unwrap_or_default(), calls).await?;
    lender.stop().await?;
    let mut found = found(&series, far);
    let failures: u64 = series.iter().flat_map(|of| of.samples.iter().flatten()).map(|sample| sample.failures).sum();
    found.checks.extend([
        Check::new("every call succeeds", failures == 0 && calls > 0, format!("{calls} calls, {failures} failures")),
        Check::new(
            "every success has a receipt, of either machine",
            usage.succeeded == calls && usage.flagged == 0,
            format!("{calls} calls, {} settled, {} flagged", usage.succeeded, usage.flagged),
        ),
    ]);
    Ok(found)
}

/// Counts the bytes of these nodes' reports, as the core hears them.
async fn listen(account: &Account<'_>, nodes: [NodeId; 2]) -> anyhow::Result<([Arc<AtomicU64>; 2], JoinSet<()>)> {
    let user = Authority::open(&account.platform.keys())?.lenders_user("bench")?;
    let client = nats::connect_as(&account.platform.nats_url(), &user).await?;
    let (counts, mut listening) = ([Arc::default(), Arc::default()], JoinSet::new());
    for (node, count) in nodes.into_iter().zip(&counts) {
        let (mut reports, count) = (client.subscribe(subjects::report(node)).await?, Arc::<AtomicU64>::clone(count));
        listening.spawn(async move {
            while let Some(report) = reports.next().await {
                count.fetch_add(report.payload.len() as u64, Ordering::Relaxed);
            }
        });
    }
    client.flush().await?;
    Ok((counts, listening))
}

/// All calls go to this side from now on.
async fn choose(account: &Account<'_>, sides: &[Side<'_>; 2], which: usize, probed: &Target) -> anyhow::Result<()> {
    account.paused(sides[which].node, false).await?;
    account.paused(sides[1 - which].node, true).await?;
    account.come_from(probed, sides[which].node).await
}

#[allow(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
async fn idle(sides: &[Side<'_>; 2], series: &mut [Series; 2], lasts: Duration) {
    tokio::time::sleep(CALM).await;
    let count = |side: &Side<'_>| (side.relay.bytes(), side.reports.load(Ordering::Relaxed));
    let (before, began) = (sides.each_ref().map(count), Instant::now());
    tokio::time::sleep(lasts).await;
    let seconds = began.elapsed().as_secs_f64();
    for ((side, (bytes, reports)), of) in sides.iter().zip(before).zip(series) {
        let (now, told) = count(side);
        of.idle_up.push((now.up - bytes.up) as f64 / seconds);
        of.idle_down.push((now.down - bytes.down) as f64 / seconds);
        of.idle_reports.push((told - reports) as f64 / seconds);
    }
}

#[allow(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
async fn busy(
    account: &Account<'_>,
    target: &Target,
    side: &Side<'_>,
    series: &mut Series,
    measured: Duration,
    calls: &mut u64,
) -> anyhow::Result<()> {
    for (connections, samples) in CONNECTIONS.into_iter().zip(&mut series.samples) {
        let (before, told, began) = (side.relay.bytes(), side.reports.load(Ordering::Relaxed), Instant::now());
        let sample = load::http(target.clone(), connections, measured, is_a_run).await?;
        let (after, seconds) = (side.relay.bytes(), began.elapsed().as_secs_f64());
        if connections == CONNECTIONS[CONNECTIONS.len() - 1] {
            let successes = sample.successes.max(1) as f64;
            series.up_per_call.push((after.up - before.up) as f64 / successes);
            series.down_per_call.push((after.down - before.down) as f64 / successes);
            series.busy_reports.push((side.reports.load(Ordering::Relaxed) - told) as f64 / seconds);
        }
        *calls += sample.successes;
        samples.push(sample);
        // Nobody pays for another's work.
        account.platform.settled(target.key.as_deref().context("a function without a key")?, *calls).await?;
    }
    Ok(())
}

/// One call at a time: near, far, and what the network alone takes.
async fn behind(
    account: &Account<'_>,
    target: &Target,
    side: &Side<'_>,
    echo: &Relay,
    measured: Duration,
    far: &mut Far,
    calls: &mut u64,
) -> anyhow::Result<()> {
    let near = load::http(target.clone(), 1, measured, is_a_run).await?;
    side.relay.delay(ONE_WAY);
    let called = load::http(target.clone(), 1, measured, is_a_run).await;
    side.relay.delay(Duration::ZERO);
    let called = called?;
    let address = echo.address;
    let network = tokio::task::spawn_blocking(move || relay::round_trips(address, measured)).await??;
    for sample in [&near, &called] {
        ensure!(sample.failures == 0, "behind 20 ms: {:?}", sample.first_failure);
        *calls += sample.successes;
    }
    far.near.push(near.p50_us / 1e3);
    far.call.push(called.p50_us / 1e3);
    far.network.push(quantile(&network, 50) / 1e3);
    account.platform.settled(target.key.as_deref().context("a function without a key")?, *calls).await?;
    Ok(())
}

/// A figure's name, and where it is in a series.
type Kind = (&'static str, fn(&Series) -> &Vec<f64>);

fn found(series: &[Series; 2], far: Far) -> Found {
    const KINDS: [Kind; 6] = [
        ("idle_report_bytes_per_second", |of| &of.idle_reports),
        ("idle_bytes_up_per_second", |of| &of.idle_up),
        ("idle_bytes_down_per_second", |of| &of.idle_down),
        ("busy_report_bytes_per_second", |of| &of.busy_reports),
        ("bytes_up_per_call", |of| &of.up_per_call),
        ("bytes_down_per_call", |of| &of.down_per_call),
    ];
    let (mut figures, mut goals) = (Vec::new(), Vec::new());
    for (place, connections) in CONNECTIONS.into_iter().enumerate() {
        let of = |figure, value: fn(&Sample) -> f64| {
            [0, 1].map(|which: usize| {
                let rounds = series[which].samples[place].iter().map(value).collect();
                Figure::new(NAMES[which], figure, Some(connections), rounds)
            })
        };
        let throughput = of("throughput_per_second", |sample| sample.throughput_per_second);
        let latency = of("latency_p50_us", |sample| sample.p50_us);
        let ratio = throughput[0].over(&throughput[1], "throughput_ratio");
        goals.push(Goal::new(
            format!("{}, {connections} connections, throughput_ratio", ratio.of),
            Bound::AtLeast,
            THROUGHPUT_RATIO_MIN,
            ratio.median,
        ));
        let slower = latency[0].over(&latency[1], "latency_p50_ratio");
        figures.extend(throughput.into_iter().chain(latency).chain([ratio, slower]));
    }
    for (figure, value) in KINDS {
        let both = [0, 1].map(|which: usize| Figure::new(NAMES[which], figure, None, value(&series[which]).clone()));
        if figure == KINDS[0].0 {
            let what = "reports of an idle machine, bytes a second";
            goals.push(Goal::new(what, Bound::AtMost, IDLE_REPORTS_MAX, both[0].median));
        }
        figures.extend(both);
    }
    let added = far.call.iter().zip(&far.network).map(|(call, network)| call - network).collect();
    let added = Figure::new("a call behind 20 ms, over the network's own", "added_ms", Some(1), added);
    goals.push(Goal::new(added.of.as_str(), Bound::AtMost, ADDED_MAX_MS, added.median));
    figures.extend([
        Figure::new("a call of the machine nearby", "latency_p50_ms", Some(1), far.near),
        Figure::new("a call behind 20 ms", "latency_p50_ms", Some(1), far.call),
        Figure::new("the network's own: as much there and back", "latency_p50_ms", Some(1), far.network),
        added,
    ]);
    Found { figures, goals, checks: Vec::new() }
}
