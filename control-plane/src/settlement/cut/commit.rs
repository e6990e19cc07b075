//! One cut: which parts are next, what of them is ripe, and the transaction.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use fabric::metric_names;
use protocol::{AccountId, Code, Digest, EpochId, NodeId, RunId, Timestamp, VersionId};
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _};

use super::waiting::{Halves, Key, Part, Place, Source, Waiting};
use super::{Ack, Sent};
use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::nodes;
use crate::error::{Error, Result, refuse, refuse_field};
use crate::leader::Lease;
use crate::settlement::batch::{Batch, lock, seen_ended, settling};
use crate::settlement::checkpoints::{self, Link};
use crate::settlement::join::{self, Claim};
use crate::settlement::sources::{self, Mark};
use crate::usage::{Recent, Table};

/// Runs that are joined before others have their turn on the thread: requests of the API are answered beside a cut.
const JOINED_AT_ONCE: usize = 256;

/// What is said to a part; it is gone then.
type Answer = Box<dyn Fn() -> Result<Ack> + Send>;

/// Where all parts stand.
#[derive(Default)]
struct Order {
    /// They follow what is committed, and each other, without a gap.
    next: HashSet<Key>,
    /// The same in the order of each source.
    lines: Vec<Vec<Key>>,
    answers: Vec<(Key, Answer)>,
}

/// What was committed at once.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) runs: usize,
    /// Without the wait for others who write.
    pub(super) took: Duration,
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
    let tx = app.db.begin().await?;
    let writing = Instant::now();
    if !lease.stands(&tx).await? {
        return Ok(None);
    }
    let turn = lock(&tx).await?;
    let mut sums = recent.take(turn);
    let order = order(&tx, waiting, begun).await?;
    let ripe = waiting.ripe(&order.next, begun, runs_max);
    let places: HashSet<Place> =
        ripe.iter().flat_map(|(_, halves)| halves.seen.iter().chain(&halves.claims)).copied().collect();
    settle(app, &tx, waiting, &ripe, &mut sums).await?;
    let whole: Vec<Vec<Key>> = order.lines.iter().map(|line| whole(waiting, line, &places)).collect();
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
    for (key, answer) in order.answers {
        waiting.answer(key, answer);
    }
    for key in whole.into_iter().flatten() {
        counted(waiting, key);
        let (Some(void), (_, committed)) = (waiting.part(&key).map(void_of), key) else { continue };
        waiting.answer(key, move || Ok(Ack { committed, void }));
    }
    Ok(Some(Done { runs: ripe.len(), took }))
}

fn void_of(part: &Part) -> u64 {
    match &part.sent {
        Sent::Batch { content, .. } => content.void,
        Sent::Checkpoint(checked) => checked.void,
    }
}

/// Those of a line that are whole with these halves, up to the first that is not.
fn whole(waiting: &Waiting, line: &[Key], places: &HashSet<Place>) -> Vec<Key> {
    let is_whole = |key: &&Key| waiting.part(key).is_some_and(|part| part.is_whole_with(**key, places));
    line.iter().take_while(is_whole).copied().collect()
}

/// Looks at each source's parts in the order of their numbers.
async fn order(tx: &DatabaseTransaction, waiting: &Waiting, now: Instant) -> Result<Order> {
    let mut order = Order::default();
    let sources = waiting.by_source();
    let ids = sources.keys().filter_map(|source| match source {
        Source::Node(node) => Some(Col(*node)),
        Source::Gateway(_) => None,
    });
    let nodes: HashMap<NodeId, nodes::Model> = nodes::Entity::find()
        .filter(nodes::Column::Id.is_in(ids))
        .all(tx)
        .await?
        .into_iter()
        .map(|row| (row.id.0, row))
        .collect();
    for (source, parts) in sources {
        let mut line = Vec::new();
        match source {
            Source::Gateway(epoch) => {
                let mut mark = sources::find(tx, epoch).await?;
                // The mark goes on over parts that wait; what is said does not.
                let so_far = mark.map_or(0, |mark| mark.number);
                for (key, part) in parts {
                    let Sent::Batch { head, .. } = &part.sent else { continue };
                    match sources::place(mark, head) {
                        sources::Place::Next => {
                            mark = Some(Mark { number: head.number, digest: head.digest });
                            line.push(key);
                        }
                        sources::Place::Committed(committed) => {
                            order.answers.push((key, Box::new(move || Ok(Ack { committed, void: 0 }))));
                        }
                        // Those before it may be on their way.
                        sources::Place::Early => {
                            if waiting.is_overdue(part, now) {
                                let committed = so_far.max(head.acknowledged);
                                order.answers.push((key, Box::new(move || Ok(Ack { committed, void: 0 }))));
                            }
                        }
                        sources::Place::Conflict => {
                            let (epoch, number) = (head.epoch, head.number);
                            order.answers.push((key, Box::new(move || Err(conflict(epoch, number)))));
                        }
                    }
                }
            }
            Source::Node(node) => {
                let found = nodes.get(&node).map(|row| (unsigned(row.checkpoint), row.checkpoint_digest.0));
                let Some((committed, digest)) = found else {
                    for (key, _) in parts {
                        order.answers.push((key, Box::new(|| Err(unknown_node()))));
                    }
                    continue;
                };
                let mut last = (committed, digest);
                for (key, part) in parts {
                    let Sent::Checkpoint(checked) = &part.sent else { continue };
                    match checkpoints::link(tx, last, &checked.head).await? {
                        Link::Next => {
                            last = (checked.head.sequence, checked.head.digest);
                            line.push(key);
                        }
                        Link::Repeated => {
                            order.answers.push((key, Box::new(move || Ok(Ack { committed, void: 0 }))));
                        }
                        Link::Early if !waiting.is_overdue(part, now) => {}
                        Link::Early | Link::Broken => {
                            order.answers.push((key, Box::new(move || Err(not_next(committed, digest)))));
                        }
                        Link::Conflict(other) => {
                            let number = checked.head.sequence;
                            order.answers.push((key, Box::new(move || Err(checkpoints::conflict(number, other)))));
                        }
                    }
                }
            }
        }
        order.next.extend(&line);
        order.lines.push(line);
    }
    Ok(order)
}

fn conflict(epoch: EpochId, number: u64) -> Error {
    refuse(Code::BatchConflict, format!("Batch {number} of {epoch} is committed, with another digest."))
}

fn unknown_node() -> Error {
    refuse(Code::NotFound, "The platform does not know this node.")
}

fn not_next(sequence: u64, digest: Digest) -> Error {
    let detail = format!("The last committed checkpoint is {sequence} ({digest}); send its successor.");
    refuse_field(Code::PreconditionFailed, "sequence", detail)
}

/// Joins the halves, and writes what comes of it.
async fn settle(
    app: &App,
    tx: &DatabaseTransaction,
    waiting: &Waiting,
    ripe: &[(RunId, Halves)],
    sums: &mut Table,
) -> Result<()> {
    if ripe.is_empty() {
        return Ok(());
    }
    let seen = |(key, place): &Place| match &waiting.part(key)?.sent {
        Sent::Batch { content, .. } => content.seen.get(*place),
        Sent::Checkpoint(_) => None,
    };
    let claimed = |(key, place): &Place| match &waiting.part(key)?.sent {
        Sent::Checkpoint(checked) => checked.claims.get(*place).map(|claim| (checked.head.node, claim)),
        Sent::Batch { .. } => None,
    };
    let mut owned: HashSet<(RunId, AccountId)> = HashSet::new();
    let mut versions: HashSet<VersionId> = HashSet::new();
    for (run, halves) in ripe {
        owned.extend(halves.seen.iter().filter_map(seen).map(|seen| (*run, seen.account)));
        for (_, (_, ticket)) in halves.claims.iter().filter_map(claimed) {
            owned.insert((*run, ticket.account));
            versions.insert(ticket.version);
        }
    }
    let numbers = checkpoints::version_numbers(tx, versions.into_iter()).await?;
    let owned: Vec<(RunId, AccountId)> = owned.into_iter().collect();
    let mut rows = Batch::read(app, tx, &owned).await?;
    let at = Timestamp::now();
    for (place, (run, halves)) in ripe.iter().enumerate() {
        if place % JOINED_AT_ONCE == JOINED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        for seen in halves.seen.iter().filter_map(seen) {
            if rows.is_over(*run, seen.account, Some(seen_ended(seen))) {
                continue;
            }
            if let Some(row) = join::with_observation(rows.row(*run), seen, at) {
                rows.set(row);
            }
        }
        for (node, (receipt, ticket)) in halves.claims.iter().filter_map(claimed) {
            if rows.is_over(*run, ticket.account, None) {
                continue;
            }
            let version_number = numbers.get(&ticket.version).copied().unwrap_or(0);
            let claim = Claim { ticket: ticket.clone(), receipt: receipt.clone(), version_number };
            if let Some(row) = join::with_claim(rows.row(*run), node, &claim, at) {
                rows.set(row);
            }
        }
    }
    rows.write_with(tx, sums).await?;
    Ok(())
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
