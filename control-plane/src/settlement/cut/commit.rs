//! One cut: the transaction of what was planned, and what is said afterwards.

use std::time::{Duration, Instant};

use fabric::metric_names;
use protocol::Timestamp;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction};

use super::plan::{self, Plan};
use super::waiting::{Key, Part, Waiting};
use super::{Ack, Sent};
use crate::App;
use crate::error::Result;
use crate::leader::Lease;
use crate::settlement::batch::{Batch, lock, settling};
use crate::settlement::blocks::{Looked, SettleError};
use crate::settlement::{checkpoints, sources};
use crate::usage::Recent;

/// What was committed at once.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) runs: usize,
    /// How long others who write had to wait for it.
    pub(super) took: Duration,
    /// How long it was made before: others could write meanwhile.
    pub(super) planned: Duration,
}

/// Commits what is ripe of so many runs at most, and answers what is whole or out of its order.
///
/// None: this epoch leads no more, and nothing has changed. `recent` is what the last cut has left of the sums of usage.
///
/// # Errors
/// Where it is not known what is committed: everything that waits is to come again.
pub(super) async fn cut(
    app: &App,
    lease: &Lease,
    waiting: &mut Waiting,
    recent: &mut Recent,
    runs_max: usize,
) -> Result<Option<Done>> {
    let begun = Instant::now();
    if !waiting.is_due(begun) {
        return Ok(Some(Done::default()));
    }
    let mut looked = Looked::default();
    let (tx, writing, planned, turn, plan) = loop {
        let mut plan = Box::pin(plan::plan(app, waiting, begun, runs_max, &mut looked)).await?;
        let planned = begun.elapsed();
        let tx = app.db.begin_bulk().await?;
        let writing = Instant::now();
        if !lease.stands(&tx).await? {
            return Ok(None);
        }
        let turn = lock(&tx).await?;
        if plan.turn.checked_add(1) == Some(turn) || plan.ripe.is_empty() {
            break (tx, writing, planned, turn, plan);
        }
        // Others have settled or packed something meanwhile: of these runs, seldom.
        match Batch::read(&tx, &plan.owned, &looked).await {
            Ok(rows) if plan.joined.holds_with(&rows) => {}
            Ok(rows) => {
                let joined = plan::joined(waiting, &plan.ripe, &plan.numbers, rows).await;
                plan.joined = joined.joined(tx.get_database_backend());
            }
            // They were packed.
            Err(SettleError::Unlooked(unlooked)) => {
                drop(tx);
                looked.look(app, unlooked).await?;
                continue;
            }
            Err(SettleError::Database(error)) => return Err(error.into()),
        }
        break (tx, writing, planned, turn, plan);
    };
    let Plan { ripe, joined, whole, answers, .. } = plan;
    let mut sums = recent.take(turn);
    joined.write(&tx, &mut sums).await?;
    for line in &whole {
        advance(&tx, waiting, line).await?;
    }
    fabric::fault::point("cut.written");
    let Some(sealed) = lease.seal(&tx).await? else { return Ok(None) };
    tx.commit().await?;
    lease.renewed(sealed);
    recent.keep(turn, sums, Timestamp::now());
    let took = writing.elapsed();
    fabric::fault::point("cut.committed");
    settling("cut", begun);
    waiting.committed(&ripe);
    for (key, answer) in answers {
        waiting.answer(key, answer);
    }
    for key in whole.into_iter().flatten() {
        counted(waiting, key);
        let (Some(void), (_, committed)) = (waiting.part(&key).map(void_of), key) else { continue };
        waiting.answer(key, move || Ok(Ack { committed, void }));
    }
    Ok(Some(Done { runs: ripe.len(), took, planned }))
}

fn void_of(part: &Part) -> u64 {
    match &part.sent {
        Sent::Batch { content, .. } => content.void,
        Sent::Checkpoint(checked) => checked.void,
    }
}

/// Notes how far a source is committed.
async fn advance(tx: &DatabaseTransaction, waiting: &Waiting, line: &[Key]) -> Result<()> {
    let parts: Vec<&Part> = line.iter().filter_map(|key| waiting.part(key)).collect();
    let at = Timestamp::now();
    match parts.last().map(|part| &part.sent) {
        None => {}
        Some(Sent::Batch { head, .. }) => sources::advance(tx, head, at).await?,
        Some(Sent::Checkpoint(_)) => {
            let heads: Vec<&checkpoints::Head> = parts
                .iter()
                .filter_map(|part| match &part.sent {
                    Sent::Checkpoint(checked) => Some(&checked.head),
                    Sent::Batch { .. } => None,
                })
                .collect();
            checkpoints::advance(tx, &heads, at).await?;
        }
    }
    Ok(())
}

/// After the commit.
fn counted(waiting: &Waiting, key: Key) {
    let count = |number: usize| u64::try_from(number).unwrap_or(0);
    match waiting.part(&key).map(|part| &part.sent) {
        None => {}
        Some(Sent::Batch { content, .. }) => {
            fabric::fault::point("observations.committed");
            metrics::counter!(metric_names::HALVES_VOID, "halves" => "observations").increment(content.void);
            metrics::counter!(metric_names::OBSERVATIONS).increment(count(content.seen.len()));
        }
        Some(Sent::Checkpoint(checked)) => {
            fabric::fault::point("checkpoint.committed");
            metrics::counter!(metric_names::HALVES_VOID, "halves" => "receipts").increment(checked.void);
            metrics::counter!(metric_names::RECEIPTS).increment(count(checked.head.receipts));
        }
    }
}
