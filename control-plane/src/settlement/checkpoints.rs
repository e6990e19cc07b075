//! Checkpoints: a node's signed chain of receipts. Taken in order; replays are acknowledged. One whose receipts cannot be
//! read is void, but has its place in the chain: it holds up nothing that comes after it.

use std::collections::HashMap;
use std::time::Instant;

use ed25519_dalek::VerifyingKey;
use fabric::metric_names;
use protocol::receipt::{Checkpoint, CheckpointAck, NodeReceipt};
use protocol::ticket::{Purpose, Ticket, TicketError, TicketRoot};
use protocol::wire::{self, WireError, Written};
use protocol::{AccountId, Code, Digest, NodeId, Problem, RunId, Timestamp, VersionId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _,
    QuerySelect as _,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::join::{self, Claim};
use super::ledger::{Batch, lock, settling, unless_paused};
use crate::App;
use crate::db::Db;
use crate::db::columns::{Col, signed, unsigned};
use crate::db::entities::{checkpoints, nodes, versions};
use crate::error::{Error, Result, invalid, refuse, refuse_field};
use crate::nodes::hello::parse_key;

/// A checkpoint as it comes: its receipts are not read yet, so that what is wrong with them does not hide which it is.
#[derive(Debug, Deserialize)]
pub(crate) struct Sent {
    v: u8,
    node: NodeId,
    sequence: u64,
    previous: Digest,
    digest: Digest,
    signature: String,
    receipts: Vec<Box<RawValue>>,
}

impl Sent {
    /// Reads the receipts. Where that cannot be done there are none, and it says how many are void.
    fn open(self) -> Result<(Checkpoint, u64)> {
        let Self { v, node, sequence, previous, digest, signature, receipts: all } = self;
        let checkpoint = Checkpoint { v, node, sequence, previous, digest, signature, receipts: Vec::new() };
        let void = u64::try_from(all.len()).unwrap_or(u64::MAX);
        if all.len() > Checkpoint::RECEIPTS_MAX {
            tracing::error!(%node, sequence, void, "checkpoint void: too many receipts");
            return Ok((checkpoint, void));
        }
        let mut receipts = Vec::with_capacity(all.len());
        for (index, one) in all.iter().enumerate() {
            match wire::read::<Written<NodeReceipt>>(one.get().as_bytes()) {
                Ok(receipt) => receipts.push(receipt),
                // It waits for a control plane that understands it.
                Err(error @ WireError::NotUnderstood(_)) => {
                    return Err(Problem::from(error).at(format!("receipts[{index}]")).into());
                }
                Err(error) => {
                    tracing::error!(%node, sequence, index, void, %error, "checkpoint void: unreadable receipt");
                    return Ok((checkpoint, void));
                }
            }
        }
        Ok((Checkpoint { receipts, ..checkpoint }, 0))
    }
}

/// `POST /checkpoints`
pub(crate) async fn checkpoint(app: &App, node: NodeId, sent: Sent) -> Result<CheckpointAck> {
    unless_paused(app)?;
    let row = nodes::Entity::find_by_id(Col(node)).one(app.db.read()).await?;
    let row = row.ok_or_else(|| refuse(Code::NotFound, "The platform does not know this node."))?;
    let key = row.public_key.as_deref().and_then(parse_key);
    let key = key.ok_or_else(|| refuse(Code::Forbidden, "The node has not said hello."))?;
    if sent.node != node {
        return Err(invalid("node", "The checkpoint is another node's"));
    }
    if sent.v != Checkpoint::VERSION {
        return Err(invalid("v", "The checkpoint is of an unknown form"));
    }
    let checked = check(app.tickets.keys().clone(), key, node, sent).await?;
    commit(app, node, checked).await
}

/// A checkpoint whose signature is right, and those of its claims whose permission is.
struct Checked {
    checkpoint: Checkpoint,
    claims: Vec<(NodeReceipt, Ticket)>,
    void: u64,
}

/// Checked off the async threads, before the transaction. A receipt whose ticket is none, or of a form that is no longer
/// taken, is void: the checkpoint stands, and what comes after it.
async fn check(keys: TicketRoot, key: VerifyingKey, node: NodeId, sent: Sent) -> Result<Checked> {
    let work = move || -> Result<Checked> {
        let (checkpoint, void) = sent.open()?;
        let authentic = if void > 0 { checkpoint.is_signed(&key) } else { checkpoint.verify(&key) };
        if !authentic {
            return Err(invalid("signature", "The checkpoint's digest or signature is wrong"));
        }
        let claims = checkpoint.receipts.iter().filter_map(|receipt| match permission(&keys, node, receipt) {
            Ok(ticket) => Some((NodeReceipt::clone(receipt), ticket)),
            Err(error) => {
                tracing::warn!(%node, run = %receipt.run, %error, "a receipt without a valid ticket is void");
                None
            }
        });
        let claims = claims.collect();
        Ok(Checked { checkpoint, claims, void })
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))?
}

/// A receipt comes when it can: how long ago its run was does not matter.
fn permission(keys: &TicketRoot, node: NodeId, receipt: &NodeReceipt) -> Result<Ticket, TicketError> {
    let ticket = keys.check(&receipt.ticket)?;
    ticket.permits(node, &[Purpose::Run], ticket.issued)?;
    if ticket.run == receipt.run { Ok(ticket) } else { Err(TicketError::WrongPurpose) }
}

async fn commit(app: &App, node: NodeId, checked: Checked) -> Result<CheckpointAck> {
    let Checked { checkpoint, claims, void } = checked;
    let begun = Instant::now();
    let tx = app.db.begin().await?;
    lock(&tx).await?;
    let row = nodes::Entity::find_by_id(Col(node)).one(&tx).await?;
    let row = row.ok_or_else(|| refuse(Code::NotFound, "The platform does not know this node."))?;
    let committed = unsigned(row.checkpoint);
    if checkpoint.sequence <= committed {
        return repeated(&tx, node, &checkpoint, committed).await;
    }
    if checkpoint.sequence != committed + 1 || checkpoint.previous != row.checkpoint_digest.0 {
        return Err(refuse_field(
            Code::PreconditionFailed,
            "sequence",
            format!("The last committed checkpoint is {committed} ({}); send its successor.", row.checkpoint_digest.0),
        ));
    }
    let numbers = version_numbers(&tx, claims.iter().map(|(_, ticket)| ticket.version)).await?;
    let halves: Vec<(RunId, AccountId)> =
        claims.iter().map(|(receipt, ticket)| (receipt.run, ticket.account)).collect();
    let now = Timestamp::now();
    let mut rows = Batch::read(&app.history, &tx, &halves).await?;
    let receipts = checkpoint.receipts.len();
    for (receipt, ticket) in claims {
        let version_number = numbers.get(&ticket.version).copied().unwrap_or(0);
        let claim = Claim { ticket, receipt, version_number };
        if rows.is_over(claim.receipt.run, claim.ticket.account, None) {
            continue;
        }
        if let Some(row) = join::with_claim(rows.row(claim.receipt.run), node, &claim, now) {
            rows.set(row);
        }
    }
    rows.write(&tx).await?;
    checkpoints::Entity::insert(checkpoints::ActiveModel {
        node_id: Set(node.into()),
        sequence: Set(signed(checkpoint.sequence)),
        digest: Set(checkpoint.digest.into()),
        receipts: Set(i32::try_from(receipts).unwrap_or(i32::MAX)),
        created: Set(now.into()),
    })
    .exec_without_returning(&tx)
    .await?;
    nodes::Entity::update_many()
        .set(nodes::ActiveModel {
            checkpoint: Set(signed(checkpoint.sequence)),
            checkpoint_digest: Set(checkpoint.digest.into()),
            ..Default::default()
        })
        .filter(nodes::Column::Id.eq(row.id))
        .exec(&tx)
        .await?;
    if let Err(error) = tx.commit().await
        && !holds(&app.db, node, &checkpoint).await?
    {
        return Err(error.into());
    }
    settling("receipts", begun);
    fabric::fault::point("checkpoint.committed");
    metrics::counter!(metric_names::HALVES_VOID, "halves" => "receipts").increment(void);
    metrics::counter!(metric_names::RECEIPTS).increment(u64::try_from(receipts).unwrap_or(0));
    Ok(CheckpointAck { sequence: checkpoint.sequence })
}

/// It has been committed before: acknowledged again, where it is the same.
async fn repeated(
    tx: &DatabaseTransaction,
    node: NodeId,
    checkpoint: &Checkpoint,
    committed: u64,
) -> Result<CheckpointAck> {
    let row = checkpoints::Entity::find_by_id((Col(node), signed(checkpoint.sequence))).one(tx).await?;
    match row.filter(|row| row.digest.0 != checkpoint.digest) {
        None => Ok(CheckpointAck { sequence: committed }),
        Some(row) => Err(refuse(
            Code::BatchConflict,
            format!("Checkpoint {} is committed, with the digest {}.", checkpoint.sequence, row.digest.0),
        )),
    }
}

/// Whether this very checkpoint is the last one that is committed: what a commit did that failed, only the database knows.
async fn holds(db: &Db, node: NodeId, checkpoint: &Checkpoint) -> Result<bool, DbErr> {
    let row = nodes::Entity::find_by_id(Col(node)).one(db.write()).await?;
    let last = row.map(|row| (unsigned(row.checkpoint), row.checkpoint_digest.0));
    Ok(last == Some((checkpoint.sequence, checkpoint.digest)))
}

async fn version_numbers(
    tx: &DatabaseTransaction,
    ids: impl Iterator<Item = VersionId>,
) -> Result<HashMap<VersionId, u32>, DbErr> {
    let ids: std::collections::BTreeSet<VersionId> = ids.collect();
    let rows: Vec<(Col<VersionId>, i32)> = versions::Entity::find()
        .select_only()
        .columns([versions::Column::Id, versions::Column::Number])
        .filter(versions::Column::Id.is_in(ids.into_iter().map(Col)))
        .into_tuple()
        .all(tx)
        .await?;
    Ok(rows.into_iter().map(|(id, number)| (id.0, u32::try_from(number).unwrap_or(0))).collect())
}
