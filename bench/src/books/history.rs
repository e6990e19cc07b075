//! A long history: how much room a run takes in the database and in the store, and how soon questions about it are answered.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use protocol::api::InvocationPage;

use super::api::Ask;
use super::sqlite;
use super::world::{World, count};
use crate::checks::{Bound, Goal};
use crate::figures::{Figure, quantile};

/// Questions of each kind, each time of another account.
const ASKS: usize = 100;
/// A page of runs is to be there so soon, in milliseconds.
const PAGE_MS: f64 = 20.0;
/// What is settled is packed, and packed rows are gone, when the database has not changed for so long; no sooner and no
/// later than this.
const UNCHANGED: Duration = Duration::from_secs(5);
const PACKED_AFTER: Duration = Duration::from_secs(20);
const PACKED_WITHIN: Duration = Duration::from_secs(60);

/// Waits until rows have become blocks, as far as they do.
pub(super) async fn packed(database: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (mut last, mut since) = (sqlite::size(database).await?.used, begun);
    while begun.elapsed() < PACKED_WITHIN && (begun.elapsed() < PACKED_AFTER || since.elapsed() < UNCHANGED) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = sqlite::size(database).await?.used;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(())
}

/// Bytes for each run.
pub(super) async fn sizes(world: &World, database: &Path) -> anyhow::Result<Vec<Figure>> {
    let size = sqlite::size(database).await?;
    let store = count(bytes_in(&world.plane.store())?);
    let runs = count(world.runs);
    let figure = |name, value: f64| Figure::new("history", name, None, vec![value]);
    Ok(vec![
        figure("runs", runs),
        figure("database_bytes_per_run", size.used / runs),
        figure("database_file_bytes_per_run", size.file / runs),
        figure("store_bytes_per_run", store / runs),
    ])
}

/// Bytes of all files in a folder. Those that go meanwhile count for nothing.
fn bytes_in(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { bytes_in(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

/// Asks for all that is asked of a history.
pub(super) async fn asked(world: &World) -> anyhow::Result<(Vec<Figure>, Vec<Goal>)> {
    let known = world.known();
    let middle = known.get(known.len() / 2).context("there is no run")?.received;
    let (mut figures, mut goals) = (Vec::new(), Vec::new());
    for (what, goal, ask) in [
        ("history: 50 newest runs", true, Ask::Newest),
        ("history: 50 runs in the middle", true, Ask::Before(middle)),
        ("history: the failed runs", false, Ask::Rare),
        ("history: usage by day", false, Ask::ByDay),
    ] {
        let mut took = Vec::with_capacity(ASKS);
        for tenant in world.tenants.iter().cycle().take(ASKS) {
            let (answer, ms) = world.api.ask(tenant, ask).await?;
            if goal {
                let page: InvocationPage = serde_json::from_slice(&answer)?;
                ensure!(page.items.len() == 50, "{what}: {} runs on a page", page.items.len());
            }
            took.push(ms);
        }
        let p99 = told(&mut figures, what, took);
        if goal {
            goals.push(Goal::new(format!("{what}, p99 in milliseconds"), Bound::AtMost, PAGE_MS, p99));
        }
    }
    let mut took = Vec::with_capacity(ASKS);
    for number in 0..ASKS {
        let one = known[number * known.len() / ASKS];
        took.push(world.api.ask(&world.tenants[one.tenant], Ask::One(one.run)).await?.1);
    }
    told(&mut figures, "history: one run", took);
    Ok((figures, goals))
}

/// The figures of these milliseconds; their p99.
fn told(figures: &mut Vec<Figure>, what: &str, mut took: Vec<f64>) -> f64 {
    took.sort_by(f64::total_cmp);
    let p99 = quantile(&took, 99);
    figures.push(Figure::new(what, "p50_ms", None, vec![quantile(&took, 50)]));
    figures.push(Figure::new(what, "p99_ms", None, vec![p99]));
    p99
}
