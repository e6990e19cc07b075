//! From the owner's word to nothing running, in both lanes: said on the machine, and from afar. Beside it what a question
//! at the same socket takes, and what the machine still computes half a second later.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use super::account::Account;
use super::lender::{Lender, Owner};
use super::{Found, STRICT, WITH_VM};
use crate::checks::{Bound, Check, Goal};
use crate::figures::Figure;
use crate::http::{self, Target};
use crate::{Options, say, threads};

const NOTHING_MAX_S: f64 = 1.0;
/// All runs are there by then: the first one of the VM lane converts its image.
const RUNNING_WITHIN: Duration = Duration::from_secs(180);
const NOTHING_WITHIN: Duration = Duration::from_secs(30);
const VM_WITHIN: Duration = Duration::from_secs(240);
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long it is looked whether the machine computes.
const CALM: Duration = Duration::from_millis(500);
/// Of one core: reports, and heartbeats of connections.
const COMPUTES_MAX: f64 = 0.5;

/// A lane's function, which computes for longer than anybody waits here.
pub(super) struct Lane {
    pub(super) name: &'static str,
    pub(super) target: Target,
    /// Calls at once.
    pub(super) calls: u64,
    pub(super) is_vm: bool,
}

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Socket,
    Afar,
}

#[derive(Default)]
struct Series {
    socket: Vec<f64>,
    afar: Vec<f64>,
    question: Vec<f64>,
    computes: Vec<f64>,
}

pub(super) async fn measure(account: &Account<'_>, lanes: &[Lane], options: &Options) -> anyhow::Result<Found> {
    let has_vm = lanes.iter().any(|lane| lane.is_vm);
    let mut lender = Lender::new(account, "paused", if has_vm { WITH_VM } else { STRICT })?;
    lender.start()?;
    account.until(lender.node, protocol::node::NodeState::Online).await?;
    if has_vm {
        say("the VM lane on a lender's machine");
        account.has_vm_lane(lender.node, VM_WITHIN).await?;
    }
    let mut series: Vec<Series> = lanes.iter().map(|_| Series::default()).collect();
    for round in 1..=options.rounds {
        for (lane, series) in lanes.iter().zip(&mut series) {
            say(&format!("round {round} of {}: pauses, {}", options.rounds, lane.name));
            for by in [By::Socket, By::Afar] {
                one(account, &lender, lane, by, series).await.with_context(|| format!("{}, {by:?}", lane.name))?;
            }
        }
    }
    lender.stop().await?;
    let (mut figures, mut goals, mut most) = (Vec::new(), Vec::new(), 0.0_f64);
    for (lane, of) in lanes.iter().zip(series) {
        let figure = |of: &str, figure, values| Figure::new(&format!("{}, {of}", lane.name), figure, None, values);
        for (by, values) in [("paused on the machine", of.socket), ("paused from afar", of.afar)] {
            let paused = figure(by, "pause_to_nothing_running_seconds", values);
            goals.push(Goal::new(
                format!("{}: pause to nothing running, seconds, the slowest", paused.of),
                Bound::AtMost,
                NOTHING_MAX_S,
                paused.max,
            ));
            figures.push(paused);
        }
        figures.push(figure("a question to the node", "reply_seconds", of.question));
        most = of.computes.iter().copied().fold(most, f64::max);
        figures.push(figure("paused", "cores_busy", of.computes));
    }
    let checks = vec![Check::new(
        "a paused machine computes nothing for others, seen from outside",
        most < COMPUTES_MAX,
        format!("at most {most:.2} cores"),
    )];
    Ok(Found { figures, goals, checks })
}

/// Calls run; the machine is paused; nothing runs.
async fn one(account: &Account<'_>, lender: &Lender, lane: &Lane, by: By, series: &mut Series) -> anyhow::Result<()> {
    let mut owner = lender.owner().await?;
    let mut calls = JoinSet::new();
    for _ in 0..lane.calls {
        let target = lane.target.clone();
        // It is broken off.
        calls.spawn(async move { drop(http::get(&target).await) });
    }
    until(&mut owner, RUNNING_WITHIN, |running| running >= lane.calls).await?;
    let began = Instant::now();
    owner.running().await?;
    series.question.push(began.elapsed().as_secs_f64());

    let began = Instant::now();
    match by {
        By::Socket => owner.pause().await?,
        By::Afar => account.paused(lender.node, true).await?,
    }
    until(&mut owner, NOTHING_WITHIN, |running| running == 0).await?;
    let took = began.elapsed().as_secs_f64();
    let (pid, before, began) = (lender.pid()?, threads::whole(lender.pid()?), Instant::now());
    tokio::time::sleep(CALM).await;
    let used = threads::whole(pid).saturating_sub(before);
    series.computes.push(used.as_secs_f64() / began.elapsed().as_secs_f64());
    // Before it is lent again, or what was given back would come again.
    calls.shutdown().await;
    match by {
        By::Socket => {
            series.socket.push(took);
            owner.resume().await
        }
        By::Afar => {
            series.afar.push(took);
            account.paused(lender.node, false).await
        }
    }
}

async fn until(owner: &mut Owner, within: Duration, good: impl Fn(u64) -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let running = owner.running().await?;
        if good(running) {
            return Ok(());
        }
        ensure!(began.elapsed() < within, "it has {running} runs after {within:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
