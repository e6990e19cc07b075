//! Samples of runs for training: a ring of rows, because the runs' own rows go.

use protocol::receipt::{Outcome, Usage};
use protocol::{Lane, NodeId, RunId, Timestamp, VersionId};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, DatabaseTransaction, DbErr, EntityTrait as _};
use serde::{Deserialize, Serialize};

use crate::db::columns::signed;
use crate::db::count;
use crate::db::entities::{runs, samples};

/// Samples of one block, so that who runs much does not drive others out.
const OF_BLOCK_MAX: u64 = 200;

/// What can be learned of a run that a node did and a gateway saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) run: RunId,
    pub(crate) version: VersionId,
    pub(crate) node: NodeId,
    pub(crate) lane: Lane,
    pub(crate) outcome: Outcome,
    pub(crate) warm: bool,
    pub(crate) cached: bool,
    pub(crate) observed: Usage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claimed: Option<Usage>,
    pub(crate) received: Timestamp,
}

impl Sample {
    /// Of a row; none where no node did the run, or nobody saw it.
    pub(crate) fn of(row: &runs::Model) -> Option<Self> {
        Some(Self {
            run: row.run_id.0,
            version: row.version_id.0,
            node: row.node_id?.0,
            lane: row.lane.0,
            outcome: row.outcome.0,
            warm: row.warm?,
            cached: row.cached.unwrap_or(false),
            observed: row.observed?.0,
            claimed: row.claimed.map(|usage| usage.0),
            received: row.received.0,
        })
    }

    /// As a row of the ring has it; none where a later release has written it.
    pub(crate) fn read(row: &samples::Model) -> Option<Self> {
        serde_json::from_str(&row.sample).ok()
    }
}

/// Puts some of a block's runs into the ring, at the place of the oldest there.
pub(super) async fn keep(tx: &DatabaseTransaction, rows: &[runs::Model], kept_max: u64) -> Result<(), DbErr> {
    let all: Vec<(&runs::Model, Sample)> = rows.iter().filter_map(|row| Some((row, Sample::of(row)?))).collect();
    let many = usize::try_from(OF_BLOCK_MAX.min(kept_max)).unwrap_or(usize::MAX).min(all.len());
    if many == 0 {
        return Ok(());
    }
    let (many_signed, kept_max) = (i64::try_from(many).unwrap_or(i64::MAX), signed(kept_max));
    let last = count(tx, "samples", many_signed).await?;
    let slot = |nth: usize| (last - 1 - i64::try_from(nth).unwrap_or(0)).rem_euclid(kept_max);
    let chosen = (0..many).map(|nth| (slot(nth), &all[nth * all.len() / many]));
    let models = chosen.map(|(slot, (row, sample))| samples::ActiveModel {
        slot: Set(slot),
        account_id: Set(row.account_id),
        run_id: Set(row.run_id),
        sample: Set(serde_json::to_string(sample).unwrap_or_default()),
    });
    let columns = [samples::Column::AccountId, samples::Column::RunId, samples::Column::Sample];
    let replace = OnConflict::column(samples::Column::Slot).update_columns(columns).to_owned();
    samples::Entity::insert_many(models).on_conflict(replace).exec_without_returning(tx).await.map(drop)
}
