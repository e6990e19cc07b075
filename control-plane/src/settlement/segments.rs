//! Segments: settled receipts, as compressed JSON lines in the store; their place and digest in the database.

use protocol::receipt::{Outcome, Usage};
use protocol::{AccountId, Code, Digest, FunctionId, NodeId, RunId, Timestamp, VersionId};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _};
use serde::{Deserialize, Serialize};

use super::ledger::{ROWS_MAX, lock};
use crate::App;
use crate::db::columns::signed;
use crate::db::entities::{runs, segments};
use crate::db::loops;
use crate::error::{Error, Result};

const ZSTD_LEVEL: i32 = 3;

/// One line of a segment. A run that was corrected later stands in a later segment again, as it is then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub run: RunId,
    pub account: AccountId,
    pub function: FunctionId,
    pub version: VersionId,
    pub node: Option<NodeId>,
    pub received: Timestamp,
    pub outcome: Outcome,
    pub code: Option<Code>,
    pub claimed: Option<Usage>,
    pub observed: Option<Usage>,
    pub billed: Usage,
    pub flag: Option<String>,
}

impl From<&runs::Model> for Line {
    fn from(row: &runs::Model) -> Self {
        Self {
            run: row.run_id.0,
            account: row.account_id.0,
            function: row.function_id.0,
            version: row.version_id.0,
            node: row.node_id.map(|node| node.0),
            received: row.received.0,
            outcome: row.outcome.0,
            code: row.code.map(|code| code.0),
            claimed: row.claimed.map(|usage| usage.0),
            observed: row.observed.map(|usage| usage.0),
            billed: row.billed.0,
            flag: row.flag.clone(),
        }
    }
}

/// Packs lines.
pub(crate) fn pack(lines: &[Line]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    zstd::stream::encode_all(text.as_slice(), ZSTD_LEVEL)
}

/// Writes the next segment, where there are enough receipts, or `all` of them are wanted. Returns how many.
pub(crate) async fn write(app: &App, all: bool) -> Result<usize> {
    let most = app.config.segment_receipts_max;
    let rows = loops::runs_unlogged(most).all(app.db.read()).await?;
    if rows.is_empty() || (!all && u64::try_from(rows.len()).unwrap_or(u64::MAX) < most) {
        return Ok(0);
    }
    let lines: Vec<Line> = rows.iter().map(Line::from).collect();
    let packed = tokio::task::spawn_blocking(move || pack(&lines)).await;
    let packed = packed.map_err(|error| Error::Internal(error.to_string()))?;
    let packed = packed.map_err(|error| Error::Internal(format!("packing a segment: {error}")))?;
    let stored = app.store.put_bytes(packed.into()).await;
    let stored = stored.map_err(|error| Error::Internal(format!("storing a segment: {error}")))?;
    index(app, &rows, stored.digest, stored.root, stored.size.0).await?;
    Ok(rows.len())
}

/// Notes the segment, where its rows have not changed in between; else its bytes are orphans.
async fn index(app: &App, rows: &[runs::Model], digest: Digest, root: Digest, size: u64) -> Result<()> {
    let tx = app.db.begin().await?;
    lock(&tx).await?;
    let last = loops::segments_last().one(&tx).await?;
    let number = last.map_or(0, |row| row.number) + 1;
    for chunk in rows.chunks(ROWS_MAX) {
        let now = runs::Entity::find()
            .filter(runs::Column::RunId.is_in(chunk.iter().map(|row| row.run_id)))
            .order_by_asc(runs::Column::RunId)
            .all(&tx)
            .await?;
        if now != chunk {
            return Err(Error::Internal("a run changed while its segment was written; again".to_owned()));
        }
        runs::Entity::update_many()
            .col_expr(runs::Column::Segment, number.into())
            .filter(runs::Column::RunId.is_in(chunk.iter().map(|row| row.run_id)))
            .exec(&tx)
            .await?;
    }
    segments::Entity::insert(segments::ActiveModel {
        number: Set(number),
        digest: Set(digest.into()),
        root: Set(root.into()),
        size: Set(signed(size)),
        receipts: Set(i64::try_from(rows.len()).unwrap_or(i64::MAX)),
        created: Set(Timestamp::now().into()),
    })
    .exec_without_returning(&tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
pub(crate) fn unpack(bytes: &[u8]) -> Vec<Line> {
    let text = zstd::stream::decode_all(bytes).unwrap();
    text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
}
