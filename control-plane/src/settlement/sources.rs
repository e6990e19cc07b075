//! Sources: starts of gateways that send their observations in numbered batches, and how far each one's are committed.
//!
//! ```text
//! number <= committed, same digest ----> acknowledged again
//! number  = committed, other digest ---> conflict: nothing changes
//! number  = committed + 1 -------------> taken, or void where it cannot be read; then committed = number
//! number  > committed + 1 -------------> not taken; the acknowledgement says what is expected
//! ```
//! What cannot be read is void and has its number all the same: it never holds up what comes after it. The row of a source
//! that was silent for long is deleted; should it speak again, it goes on from what it says that was acknowledged.

use protocol::batch::BatchHead;
use protocol::receipt::Observation;
use protocol::{Code, Digest, EpochId, Problem, Timestamp, body, wire};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _,
};
use serde_json::value::RawValue;

use super::batch::OBSERVATIONS_MAX;
use crate::db::columns::{Col, signed, unsigned};
use crate::db::entities::sources;
use crate::db::{Db, loops};

/// Sources that were silent for so long are forgotten, in milliseconds.
const KEPT_MS: i64 = 30 * 86_400_000;
/// Sources that are remembered; of more, those that were silent for longest are forgotten.
const SOURCES_MAX: u64 = 10_000;
/// Deleted at once: others write in between.
const AT_ONCE: u64 = 1_000;

/// The last batch of a source that is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) number: u64,
    pub(super) digest: Digest,
}

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the next one.
    Next,
    /// All up to this number are committed, and it is among them.
    Committed(u64),
    /// Others come before it.
    Early,
    /// Something else was committed under its number.
    Conflict,
}

/// Decides it by what is committed of its source.
pub(super) fn place(mark: Option<Mark>, head: &BatchHead) -> Place {
    if mark.is_some_and(|mark| mark.number == head.number && mark.digest != head.digest) {
        return Place::Conflict;
    }
    let committed = mark.map_or(0, |mark| mark.number).max(head.acknowledged);
    match head.number {
        number if number <= committed => Place::Committed(committed),
        number if number == committed + 1 => Place::Next,
        _ => Place::Early,
    }
}

/// What a batch says.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) seen: Vec<Observation>,
    /// So many could not be read.
    pub(super) void: u64,
}

impl Content {
    /// Nothing of it can be read.
    pub(super) fn void() -> Self {
        Self { seen: Vec::new(), void: 1 }
    }

    /// Reads a body, one observation after the other.
    ///
    /// # Errors
    /// Where it holds something that must be understood: it waits for a control plane that does.
    pub(super) fn read(head: &BatchHead, body: &[u8]) -> Result<Self, Problem> {
        let all = match serde_json::from_slice::<Vec<&RawValue>>(body) {
            Ok(all) if all.len() <= OBSERVATIONS_MAX => all,
            Ok(all) => {
                tracing::error!(epoch = %head.epoch, number = head.number, count = all.len(), "batch void: too long");
                return Ok(Self::void());
            }
            Err(error) => {
                tracing::error!(epoch = %head.epoch, number = head.number, %error, "batch void: unreadable");
                return Ok(Self::void());
            }
        };
        let mut content = Self::default();
        for one in all {
            match read(one.get()) {
                Ok(seen) => content.seen.push(seen),
                Err(problem) if problem.code == Code::NotUnderstood => return Err(problem),
                Err(problem) => {
                    tracing::error!(epoch = %head.epoch, number = head.number, %problem, "observation void: unreadable");
                    content.void += 1;
                }
            }
        }
        Ok(content)
    }
}

/// Reads an observation. What says where a mistake stands reads it twice, and notes each field: that is for the few that
/// have one.
fn read(text: &str) -> Result<Observation, Problem> {
    wire::read(text.as_bytes()).or_else(|_| body::read(text.as_bytes()))
}

/// How far a source's batches are committed.
pub(super) async fn find<C: ConnectionTrait>(connection: &C, epoch: EpochId) -> Result<Option<Mark>, DbErr> {
    let row = sources::Entity::find_by_id(Col(epoch)).one(connection).await?;
    Ok(row.map(|row| Mark { number: unsigned(row.committed), digest: row.digest.0 }))
}

/// A batch is committed, when the transaction is.
pub(super) async fn advance(tx: &DatabaseTransaction, head: &BatchHead, now: Timestamp) -> Result<(), DbErr> {
    let columns = [sources::Column::Committed, sources::Column::Digest, sources::Column::Seen];
    let replace = OnConflict::column(sources::Column::Epoch).update_columns(columns).to_owned();
    sources::Entity::insert(sources::ActiveModel {
        epoch: Set(head.epoch.into()),
        committed: Set(signed(head.number)),
        digest: Set(head.digest.into()),
        seen: Set(now.into()),
    })
    .on_conflict(replace)
    .exec_without_returning(tx)
    .await
    .map(drop)
}

/// Forgets some of the sources that were silent for long.
pub(crate) async fn prune(db: &Db, now: Timestamp) -> Result<(), DbErr> {
    let by_age = Timestamp(now.0 - KEPT_MS);
    let by_count: Option<Col<Timestamp>> = loops::sources_nth(SOURCES_MAX).into_tuple().one(db.read()).await?;
    let before = by_count.map_or(by_age, |seen| seen.0.max(by_age));
    let silent: Vec<Col<EpochId>> = loops::sources_to_forget(before, AT_ONCE).into_tuple().all(db.read()).await?;
    if silent.is_empty() {
        return Ok(());
    }
    // One that has spoken meanwhile stays.
    sources::Entity::delete_many()
        .filter(sources::Column::Epoch.is_in(silent))
        .filter(sources::Column::Seen.lt(Col(before)))
        .exec(db.write())
        .await
        .map(drop)
}

#[cfg(test)]
mod tests;
