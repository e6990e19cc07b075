//! Logs of runs: rows while they are new, blocks afterwards.
//!
//! ```text
//! node --POST /logs--> rows (`run_logs`) --packed--> block in the store, its index row --retention--> gone
//!        once each         |      \                     |
//!        so much a run     |       minutes later        |
//!                          |        they go             |
//! readers: rows, then how far they are cleared, then the blocks up to there
//! ```
//! A line has its account's place in the order in which lines came (`id`). A block is the account's next lines in that order,
//! so three marks of each account say all: how far its lines are packed, read from blocks, and without rows. The lines of an
//! account are complete since a time that lists and streams tell; whoever has the most loses the oldest.

mod block;
mod follow;
mod keep;
mod pack;
mod read;
mod retention;
mod seen;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use protocol::api::LogPage;
use protocol::node::LogLine;
use protocol::route::Scope;
use protocol::{RunId, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::error::Result;
use crate::identity::caller::Caller;

pub(crate) use follow::{LogQuery, of_function};
pub(crate) use keep::keep;
pub(crate) use retention::erase;

const SWEEP_EVERY: Duration = Duration::from_secs(2);
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// What followers wait on, and what readers share.
#[derive(Default)]
pub(crate) struct Logs {
    kept: watch::Sender<u64>,
    blocks: read::Blocks,
}

impl Logs {
    fn has_kept(&self, last: u64) {
        self.kept.send_replace(last);
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.kept.subscribe()
    }
}

/// `GET /invocations/{run}/logs`. The run's row may come later than its lines.
pub(crate) async fn of_run(app: &App, caller: &Caller, run: RunId) -> Result<LogPage> {
    let account = caller.account()?.id.0;
    caller.grants(Scope::Read)?;
    let mut written = read::of_run(app, account, run).await?;
    written.lines.retain(|line| caller.function.is_none_or(|only| only == line.function));
    if written.lines.is_empty() {
        crate::settlement::runs::find(app, caller, run).await?;
    }
    let items = written.lines.into_iter().map(LogLine::from).chain(written.notices).collect();
    page(app, caller, items).await
}

/// What some of the caller's runs wrote, run by run; whether the caller may see them has been checked.
pub(crate) async fn of_runs(app: &App, caller: &Caller, runs: impl IntoIterator<Item = RunId>) -> Result<LogPage> {
    let account = caller.account()?.id.0;
    let mut items = Vec::new();
    for run in runs {
        let written = read::of_run(app, account, run).await?;
        items.extend(written.lines.into_iter().map(LogLine::from).chain(written.notices));
    }
    page(app, caller, items).await
}

async fn page(app: &App, caller: &Caller, items: Vec<LogLine>) -> Result<LogPage> {
    let account = caller.account()?;
    // Asked after the lines: what is deleted in between was deleted before the time that is told.
    let since = read::since(&app.db, account.id.0).await?.max(account.created.0);
    Ok(LogPage { items, next: None, since: Some(since) })
}

/// Packs, clears and prunes until it is stopped.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut pruned = Instant::now();
    while stop.run_until_cancelled(tokio::time::sleep(SWEEP_EVERY)).await.is_some() {
        let now = Timestamp::now();
        // What a stop ends in the middle is rolled back, and done by the next one.
        if let Some(Err(error)) = stop.run_until_cancelled(Box::pin(sweep(&app, now))).await {
            tracing::warn!(%error, "sweep of logs failed");
        }
        if pruned.elapsed() >= PRUNE_EVERY {
            pruned = Instant::now();
            if let Some(Err(error)) = stop.run_until_cancelled(Box::pin(prune(&app, now))).await {
                tracing::warn!(%error, "pruning logs failed");
            }
        }
    }
}

/// Packs lines that have waited long enough, and clears rows.
pub(crate) async fn sweep(app: &App, now: Timestamp) -> Result<()> {
    pack::pack_due(app, now).await?;
    retention::clear_rows(&app.db, &app.config, now).await?;
    retention::bound_rows(&app.db, &app.config).await
}

/// Forgets what is too old or too much.
pub(crate) async fn prune(app: &App, now: Timestamp) -> Result<()> {
    retention::prune(&app.db, &app.config, now).await
}
