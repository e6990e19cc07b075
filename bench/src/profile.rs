//! `bench invoke --profile`: the CPU time of a call by part, as the program itself counts it, what its threads took
//! beyond that, and its nats-server's. Only the platform is measured, at 1, 16 and 64 connections.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use fabric::profile::{Part, TOTAL};
use protocol::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::figures::{Figure, Report};
use crate::http::{self, Target};
use crate::invoke::{CONNECTIONS, is_a_run};
use crate::machine::{self, Machine};
use crate::platform::{Parts, Platform};
use crate::{Options, load, say};

/// Threads that carry calls; `main` is one of them when it has nothing else to do.
const RUN_PATH: [&str; 3] = ["run-path", "crowdcloud", "guest"];
/// Threads that keep books.
const BOOKS: [&str; 2] = ["control-plane", "journal"];
const NATS: &str = "nats-server";

/// What has been used so far, in microseconds.
#[derive(Debug, Default)]
struct Used {
    parts: BTreeMap<&'static str, f64>,
    threads: BTreeMap<String, f64>,
    ourselves: f64,
}

/// Measures it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let parts = Parts::from_environment()?;
    let folder = tempfile::tempdir()?;
    let at = Timestamp::now().to_string();
    say("starting the platform");
    let platform = Platform::start_profiled(&parts, folder.path()).await?;
    let target = platform.deploy()?;
    let mut rounds: BTreeMap<(usize, &'static str), Vec<f64>> = BTreeMap::new();
    let mut calls = 0;
    for round in 0..options.rounds {
        for connections in CONNECTIONS {
            say(&format!("round {} of {}, {connections} connections", round + 1, options.rounds));
            let before = used(&platform).await?;
            let sample =
                load::http(Target::clone(&target), connections, Duration::from_secs_f64(options.seconds), is_a_run);
            let sample = sample.await?;
            ensure!(sample.failures == 0, "{:?}", sample.first_failure);
            calls += sample.successes;
            let usage = platform.settled(target.key.as_deref().unwrap_or_default(), calls).await?;
            ensure!(usage.succeeded == calls, "{calls} calls, {} of them settled", usage.succeeded);
            let after = used(&platform).await?;
            for (part, us) in by_part(&before, &after) {
                #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
                rounds.entry((connections, part)).or_default().push(us / sample.successes as f64);
            }
        }
    }
    platform.stop().await?;
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        let of = |part| rounds.get(&(connections, part)).cloned().unwrap_or_default();
        let order = Part::ALL.map(Part::name).into_iter().chain([NATS, OTHER, TOTAL_CPU, GENERATOR]);
        figures.extend(order.map(|part| Figure::new(part, "cpu_us_per_call", Some(connections), of(part))));
    }
    let settings = serde_json::json!({
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": CONNECTIONS,
        "crowdcloud_version": machine::version(&parts.program),
        "parts": "each thread's CPU clock, exclusive; bookkeeping with the control plane's and the journal's threads; \
                  the rest of the run path's threads is what wakes, schedules and polls",
    });
    Ok(Report {
        benchmark: "invoke-profile",
        at,
        machine: Machine::here(),
        settings,
        figures,
        goals: Vec::new(),
        checks: Vec::new(),
    })
}

const OTHER: &str = "wake-ups and the rest";
const TOTAL_CPU: &str = "all of the platform";
const GENERATOR: &str = "load generator";

/// What was used between two looks, by part.
fn by_part(before: &Used, after: &Used) -> Vec<(&'static str, f64)> {
    let threads = |names: &[&str]| -> f64 {
        let of = |used: &Used| names.iter().filter_map(|name| used.threads.get(*name)).sum::<f64>();
        of(after) - of(before)
    };
    let all = after.threads.values().sum::<f64>() - before.threads.values().sum::<f64>();
    let (nats, books) = (threads(&[NATS]), threads(&BOOKS));
    let mut counted: Vec<(&'static str, f64)> = Part::ALL
        .map(|part| {
            let name = part.name();
            (name, after.parts.get(name).unwrap_or(&0.0) - before.parts.get(name).unwrap_or(&0.0))
        })
        .to_vec();
    // Of what the run path's threads did.
    let on_path: f64 = counted.iter().map(|(_, us)| us).sum();
    let rest = threads(&RUN_PATH) - on_path;
    for (name, us) in &mut counted {
        if *name == Part::Bookkeeping.name() {
            *us += books;
        }
    }
    let others = all - nats - books - threads(&RUN_PATH);
    counted.extend([
        (NATS, nats),
        (OTHER, rest + others),
        (TOTAL_CPU, all),
        (GENERATOR, after.ourselves - before.ourselves),
    ]);
    counted
}

async fn used(platform: &Platform) -> anyhow::Result<Used> {
    let text = http::get(&platform.at("/metrics")).await?;
    let text = String::from_utf8_lossy(text.body()).into_owned();
    let parts = Part::ALL.map(|part| (part.name(), counted(&text, part)));
    let micros = |(name, time): (String, Duration)| (name, time.as_secs_f64() * 1e6);
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec)?, u32::try_from(now.tv_nsec)?);
    Ok(Used {
        parts: parts.into_iter().collect(),
        threads: platform.cpu().into_iter().map(micros).collect(),
        ourselves: Duration::new(seconds, nanos).as_secs_f64() * 1e6,
    })
}

/// A part's microseconds in the text of `/metrics`.
fn counted(metrics: &str, part: Part) -> f64 {
    let name = format!("{TOTAL}{{part=\"{}\"}} ", part.name());
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    value.and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_part_counts_is_the_rest() {
        let used = |guest: f64, run_path: f64, books: f64, nats: f64| Used {
            parts: [("guest", guest), ("bookkeeping", guest)].into(),
            threads: [("run-path", run_path), ("control-plane", books), ("nats-server", nats)]
                .map(|(name, us)| (name.to_owned(), us))
                .into(),
            ourselves: 0.0,
        };
        let found: BTreeMap<_, _> =
            by_part(&used(1.0, 10.0, 5.0, 2.0), &used(11.0, 60.0, 25.0, 9.0)).into_iter().collect();
        assert_eq!(found["guest"], 10.0);
        assert_eq!(found["bookkeeping"], 30.0, "the run path's part and the control plane's threads");
        assert_eq!((found[NATS], found[OTHER], found[TOTAL_CPU]), (7.0, 30.0, 77.0));
    }

    #[test]
    fn a_part_is_found_in_the_figures() {
        let text = format!("# TYPE {TOTAL} counter\n{TOTAL}{{part=\"guest\"}} 2500\n");
        assert_eq!(counted(&text, Part::Guest), 2.5);
        assert_eq!(counted(&text, Part::Fabric), 0.0);
    }
}
