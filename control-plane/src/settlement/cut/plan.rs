//! What the next cut commits, made before its transaction: which parts are next, what of them is ripe, and what comes of it.
//!
//! Only the leader moves sources on, so that where they are stays true until its next cut, whatever others settle meanwhile;
//! that it leads, the transaction makes sure of, and that a node's checkpoints follow its last one. Rows of runs are changed
//! by others, too: whether one of them did, [`Plan::turn`] tells.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use protocol::{AccountId, Code, Digest, EpochId, NodeId, RunId, Timestamp, VersionId};
use sea_orm::{ColumnTrait as _, DatabaseConnection, EntityTrait as _, QueryFilter as _};

use super::waiting::{Halves, Key, Place, Source, Waiting};
use super::{Ack, Sent};
use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::nodes;
use crate::error::{Error, Result, refuse, refuse_field};
use crate::settlement::batch::{Batch, Joined, last_turn, seen_ended};
use crate::settlement::blocks::Looked;
use crate::settlement::checkpoints::{self, Link};
use crate::settlement::join::{self, Claim};
use crate::settlement::sources::{self, Mark};

/// Runs that are joined before others have their turn on the thread: requests of the API are answered beside a cut.
const JOINED_AT_ONCE: usize = 256;

/// What is said to a part; it is gone then.
pub(super) type Answer = Box<dyn Fn() -> Result<Ack> + Send>;

/// The numbers of versions.
pub(super) type Numbers = HashMap<VersionId, u32>;

/// See the module.
pub(super) struct Plan {
    /// Settlement's last turn when it was begun: where the cut has the next one, nothing has changed.
    pub(super) turn: i64,
    pub(super) ripe: Vec<(RunId, Halves)>,
    /// Whose these runs are, as their halves say.
    pub(super) owned: Vec<(RunId, AccountId)>,
    pub(super) numbers: Numbers,
    pub(super) joined: Joined,
    /// The parts of each source that are whole with it.
    pub(super) whole: Vec<Vec<Key>>,
    pub(super) answers: Vec<(Key, Answer)>,
}

/// Where all parts stand.
#[derive(Default)]
struct Order {
    /// They follow what is committed, and each other, without a gap.
    next: HashSet<Key>,
    /// The same in the order of each source.
    lines: Vec<Vec<Key>>,
    answers: Vec<(Key, Answer)>,
}

/// Plans a cut of so many runs at most.
pub(super) async fn plan(
    app: &App,
    waiting: &Waiting,
    now: Instant,
    runs_max: usize,
    looked: &mut Looked,
) -> Result<Plan> {
    let connection = app.db.read();
    let turn = last_turn(connection).await?;
    let Order { next, lines, answers } = order(connection, waiting, now).await?;
    let ripe = waiting.ripe(&next, now, runs_max);
    let places: HashSet<Place> =
        ripe.iter().flat_map(|(_, halves)| halves.seen.iter().chain(&halves.claims)).copied().collect();
    let whole = lines.iter().map(|line| whole(waiting, line, &places)).collect();
    let (owned, versions) = named(waiting, &ripe);
    let (mut numbers, mut rows) = (Numbers::new(), Batch::default());
    if !ripe.is_empty() {
        numbers = checkpoints::version_numbers(connection, versions.into_iter()).await?;
        rows = Batch::read_with_blocks(app, &owned, looked).await?;
    }
    let rows = joined(waiting, &ripe, &numbers, rows).await;
    let joined = rows.joined(connection.get_database_backend());
    Ok(Plan { turn, ripe, owned, numbers, joined, whole, answers })
}

/// Those of a line that are whole with these halves, up to the first that is not.
fn whole(waiting: &Waiting, line: &[Key], places: &HashSet<Place>) -> Vec<Key> {
    let is_whole = |key: &&Key| waiting.part(key).is_some_and(|part| part.is_whole_with(**key, places));
    line.iter().take_while(is_whole).copied().collect()
}

/// Looks at each source's parts in the order of their numbers.
async fn order(connection: &DatabaseConnection, waiting: &Waiting, now: Instant) -> Result<Order> {
    let mut order = Order::default();
    let sources = waiting.by_source();
    let ids = sources.keys().filter_map(|source| match source {
        Source::Node(node) => Some(Col(*node)),
        Source::Gateway(_) => None,
    });
    let nodes: HashMap<NodeId, nodes::Model> = nodes::Entity::find()
        .filter(nodes::Column::Id.is_in(ids))
        .all(connection)
        .await?
        .into_iter()
        .map(|row| (row.id.0, row))
        .collect();
    for (source, parts) in sources {
        let mut line = Vec::new();
        match source {
            Source::Gateway(epoch) => {
                let mut mark = sources::find(connection, epoch).await?;
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
                    match checkpoints::link(connection, last, &checked.head).await? {
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

/// The accounts and versions that halves name.
fn named(waiting: &Waiting, ripe: &[(RunId, Halves)]) -> (Vec<(RunId, AccountId)>, HashSet<VersionId>) {
    let mut owned: HashSet<(RunId, AccountId)> = HashSet::new();
    let mut versions: HashSet<VersionId> = HashSet::new();
    for (run, halves) in ripe {
        owned.extend(halves.seen.iter().filter_map(|place| waiting.seen(place)).map(|seen| (*run, seen.account)));
        for (_, (_, ticket)) in halves.claims.iter().filter_map(|place| waiting.claimed(place)) {
            owned.insert((*run, ticket.account));
            versions.insert(ticket.version);
        }
    }
    (owned.into_iter().collect(), versions)
}

/// Joins the halves with the rows that there are.
pub(super) async fn joined(waiting: &Waiting, ripe: &[(RunId, Halves)], numbers: &Numbers, mut rows: Batch) -> Batch {
    let at = Timestamp::now();
    for (place, (run, halves)) in ripe.iter().enumerate() {
        if place % JOINED_AT_ONCE == JOINED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        for seen in halves.seen.iter().filter_map(|place| waiting.seen(place)) {
            if rows.is_over(*run, seen.account, Some(seen_ended(seen))) {
                continue;
            }
            if let Some(row) = join::with_observation(rows.row(*run), seen, at) {
                rows.set(row);
            }
        }
        for (node, (receipt, ticket)) in halves.claims.iter().filter_map(|place| waiting.claimed(place)) {
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
    rows
}
