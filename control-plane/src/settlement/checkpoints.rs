//! Checkpoints: a node's signed chain of receipts. Taken in order; replays are acknowledged. One whose receipts cannot be
//! read is void, but has its place in the chain: it holds up nothing that comes after it.

use std::collections::HashMap;

use ed25519_dalek::VerifyingKey;
use protocol::receipt::{Checkpoint, CheckpointAck, NodeReceipt};
use protocol::ticket::{Purpose, Ticket, TicketError, TicketRoot};
use protocol::wire::{self, WireError, Written};
use protocol::{Code, Digest, NodeId, Problem, Timestamp, VersionId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait as _,
    QueryFilter as _, QuerySelect as _,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::batch::{ROWS_MAX, unless_paused};
use super::cut;
use crate::App;
use crate::db::columns::{Col, signed};
use crate::db::entities::{checkpoints, nodes, versions};
use crate::error::{Error, Result, invalid, refuse};
use crate::nodes::Calibration;
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
    let checked = check(app.tickets.keys().clone(), key, (node, app.calibration.clone()), sent).await?;
    let ack = cut::take(app, cut::Sent::Checkpoint(checked)).await?;
    Ok(CheckpointAck { sequence: ack.committed })
}

/// Which checkpoint it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) node: NodeId,
    pub(super) sequence: u64,
    previous: Digest,
    pub(super) digest: Digest,
    /// How many it has, with those that are void.
    pub(super) receipts: usize,
}

/// A checkpoint whose signature is right, and those of its claims whose permission is.
pub(super) struct Checked {
    pub(super) head: Head,
    pub(super) claims: Vec<(NodeReceipt, Ticket)>,
    pub(super) void: u64,
}

/// Checked off the async threads, before the transaction. A receipt whose ticket is none, or of a form that is no longer
/// taken, is void: the checkpoint stands, and what comes after it. Checks of nodes are nobody's to pay.
async fn check(
    keys: TicketRoot,
    key: VerifyingKey,
    (node, calibration): (NodeId, Calibration),
    sent: Sent,
) -> Result<Checked> {
    let work = move || -> Result<Checked> {
        let (checkpoint, void) = sent.open()?;
        let authentic = if void > 0 { checkpoint.is_signed(&key) } else { checkpoint.verify(&key) };
        if !authentic {
            return Err(invalid("signature", "The checkpoint's digest or signature is wrong"));
        }
        let claims = checkpoint.receipts.iter().filter_map(|receipt| match permission(&keys, node, receipt) {
            Ok(ticket) if calibration.is_check(&ticket) => None,
            Ok(ticket) => Some((NodeReceipt::clone(receipt), ticket)),
            Err(error) => {
                tracing::warn!(%node, run = %receipt.run, %error, "a receipt without a valid ticket is void");
                None
            }
        });
        let claims = claims.collect();
        let Checkpoint { sequence, previous, digest, .. } = checkpoint;
        let head = Head { node, sequence, previous, digest, receipts: checkpoint.receipts.len() };
        Ok(Checked { head, claims, void })
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))?
}

/// A receipt comes when it can: how long ago its run was does not matter.
fn permission(keys: &TicketRoot, node: NodeId, receipt: &NodeReceipt) -> Result<Ticket, TicketError> {
    let ticket = keys.check(&receipt.ticket)?;
    ticket.permits(node, &[Purpose::Run], ticket.issued)?;
    if ticket.run == receipt.run { Ok(ticket) } else { Err(TicketError::WrongPurpose) }
}

/// Where a checkpoint stands in its node's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// It follows the last one.
    Next,
    /// It is committed already.
    Repeated,
    /// Others come before it.
    Early,
    /// It would be the next, but follows another one than the last.
    Broken,
    /// Another one is committed under its number, with this digest.
    Conflict(Digest),
}

/// Decides it by the last one: its number, and its digest.
pub(super) async fn link(connection: &DatabaseConnection, last: (u64, Digest), head: &Head) -> Result<Link, DbErr> {
    let (sequence, digest) = last;
    if head.sequence <= sequence {
        let row = checkpoints::Entity::find_by_id((Col(head.node), signed(head.sequence))).one(connection).await?;
        let other = row.map(|row| row.digest.0).filter(|other| *other != head.digest);
        return Ok(other.map_or(Link::Repeated, Link::Conflict));
    }
    Ok(match head.sequence == sequence + 1 {
        true if head.previous == digest => Link::Next,
        true => Link::Broken,
        false => Link::Early,
    })
}

pub(super) fn conflict(sequence: u64, digest: Digest) -> Error {
    refuse(Code::BatchConflict, format!("Checkpoint {sequence} is committed, with the digest {digest}."))
}

/// These checkpoints of a node are committed, when the transaction is.
///
/// # Errors
/// Of the database; and where the first one does not follow the last that is committed: it was planned from another.
pub(super) async fn advance(tx: &DatabaseTransaction, heads: &[&Head], now: Timestamp) -> Result<(), DbErr> {
    let (Some(first), Some(last)) = (heads.first(), heads.last()) else { return Ok(()) };
    let row = |head: &&Head| checkpoints::ActiveModel {
        node_id: Set(head.node.into()),
        sequence: Set(signed(head.sequence)),
        digest: Set(head.digest.into()),
        receipts: Set(i32::try_from(head.receipts).unwrap_or(i32::MAX)),
        created: Set(now.into()),
    };
    for heads in heads.chunks(ROWS_MAX) {
        checkpoints::Entity::insert_many(heads.iter().map(row)).exec_without_returning(tx).await?;
    }
    let advanced = nodes::Entity::update_many()
        .set(nodes::ActiveModel {
            checkpoint: Set(signed(last.sequence)),
            checkpoint_digest: Set(last.digest.into()),
            ..Default::default()
        })
        .filter(nodes::Column::Id.eq(Col(last.node)))
        .filter(nodes::Column::Checkpoint.eq(signed(first.sequence.saturating_sub(1))))
        .filter(nodes::Column::CheckpointDigest.eq(Col(first.previous)))
        .exec(tx)
        .await?;
    if advanced.rows_affected == 1 { Ok(()) } else { Err(DbErr::RecordNotUpdated) }
}

/// The numbers of versions.
pub(super) async fn version_numbers(
    connection: &DatabaseConnection,
    ids: impl Iterator<Item = VersionId>,
) -> Result<HashMap<VersionId, u32>, DbErr> {
    let ids: std::collections::BTreeSet<VersionId> = ids.collect();
    let rows: Vec<(Col<VersionId>, i32)> = versions::Entity::find()
        .select_only()
        .columns([versions::Column::Id, versions::Column::Number])
        .filter(versions::Column::Id.is_in(ids.into_iter().map(Col)))
        .into_tuple()
        .all(connection)
        .await?;
    Ok(rows.into_iter().map(|(id, number)| (id.0, u32::try_from(number).unwrap_or(0))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::harness::Ground;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn checkpoints_are_noted_only_after_the_one_that_they_follow() {
        let ground = Ground::sqlite().await;
        let (none, one, two) = (Digest([0; 32]), Digest::of(b"one"), Digest::of(b"two"));
        let head = |sequence, previous, digest| Head { node: ground.node, sequence, previous, digest, receipts: 0 };
        for (what, heads, is_noted) in [
            ("a gap", vec![head(2, one, two)], false),
            ("it follows another", vec![head(1, one, two)], false),
            ("the next ones", vec![head(1, none, one), head(2, one, two)], true),
            ("once more", vec![head(2, one, two)], false),
        ] {
            let tx = ground.app.db.begin().await.unwrap();
            let heads: Vec<&Head> = heads.iter().collect();
            assert_eq!(advance(&tx, &heads, Timestamp::now()).await.is_ok(), is_noted, "{what}");
            if is_noted {
                tx.commit().await.unwrap();
            }
        }
    }
}
