//! Packing: the oldest lines of an account that are in no block become its next one.
//!
//! ```text
//! rows in the order of their ids --> an object in the store --> one transaction: the block's index row, and the account's
//!                                                               mark of how far its lines are packed
//! ```
//! The transaction changes nothing where the mark has moved meanwhile: of two processes that pack the same lines one does.
//! A process that dies between the object and the transaction leaves bytes that nothing refers to, which go, and the lines
//! are packed again. Rows never change, and nothing deletes them before they are packed.

use bytes::Bytes;
use protocol::{AccountId, Blob, Timestamp};
use sea_orm::{ActiveValue::Set, ConnectionTrait as _, EntityTrait as _, Statement, Value};

use super::block::{Draft, LINE_BYTES, Line, Summary, TEXT_BYTES_MAX};
use crate::App;
use crate::config::Config;
use crate::db::columns::{Col, signed, unsigned};
use crate::db::entities::{log_accounts, log_blocks};
use crate::db::{Db, loops};
use crate::error::{Error, Result};
use crate::objects::{self, Writing};

/// Rows that are read at once.
const PAGE: u64 = 256;
/// Blocks of one account in a row: others' lines wait meanwhile.
const IN_A_ROW: usize = 16;

/// A block in the store.
pub(super) struct Stored {
    blob: Blob,
    /// Held until it is indexed: nobody takes what was put for what nobody wants.
    _writing: Writing,
    summary: Summary,
    /// As it was counted when the lines came.
    weight: i64,
}

/// Packs lines of each account that has enough of them, or has some that have waited long enough.
pub(super) async fn pack_due(app: &App, now: Timestamp) -> Result<()> {
    for account in loops::log_accounts_with_rows().all(app.db.read()).await? {
        let id = account.account_id.0;
        // Whatever is wrong with one account's lines, others' are packed.
        if let Err(error) = pack_due_of(app, account, now).await {
            tracing::warn!(account = %id, %error, "logs are not packed");
        }
    }
    Ok(())
}

async fn pack_due_of(app: &App, mut account: log_accounts::Model, now: Timestamp) -> Result<()> {
    for _ in 0..IN_A_ROW {
        if !is_due(&account, &app.config, now) {
            break;
        }
        pack(app, &account, now).await?;
        let Some(next) = log_accounts::Entity::find_by_id(account.account_id).one(app.db.read()).await? else { break };
        account = next;
    }
    Ok(())
}

fn is_due(account: &log_accounts::Model, config: &Config, now: Timestamp) -> bool {
    let full = unsigned(account.waiting) >= config.log_block_lines_max
        || usize::try_from(account.waiting_bytes).unwrap_or(0) >= TEXT_BYTES_MAX;
    let since = now.0.saturating_sub(signed(config.log_block_age_max.0));
    account.waiting > 0 && (full || account.waiting_since.0.0 <= since)
}

/// Packs an account's next block.
async fn pack(app: &App, account: &log_accounts::Model, now: Timestamp) -> Result<()> {
    match put(app, account).await? {
        Some(stored) => {
            fabric::fault::point("logs.stored");
            index(app, account, &stored, now).await?;
            fabric::fault::point("logs.indexed");
            Ok(())
        }
        None => wait_for_none(&app.db, account).await,
    }
}

/// Puts the account's next block into the store; none where no line waits.
pub(super) async fn put(app: &App, account: &log_accounts::Model) -> Result<Option<Stored>> {
    let draft = gather(&app.db, &app.config, account.account_id.0, account.packed).await?;
    let sealed = tokio::task::spawn_blocking(move || {
        let weight = draft.weight;
        draft.draft.seal().map(|sealed| sealed.map(|(bytes, summary)| (bytes, summary, weight)))
    });
    let sealed = sealed.await.map_err(|error| Error::Internal(error.to_string()))?;
    let sealed = sealed.map_err(|error| Error::Internal(format!("packing logs: {error}")))?;
    let Some((bytes, summary, weight)) = sealed else { return Ok(None) };
    let writing = app.epochs.writing().await?;
    let blob = app.store.put_bytes(writing.epoch(), Bytes::from(bytes)).await;
    let blob = blob.map_err(|error| Error::Internal(format!("storing a block of logs: {error}")))?;
    Ok(Some(Stored { blob, _writing: writing, summary, weight }))
}

struct Gathered {
    draft: Draft,
    weight: i64,
}

async fn gather(db: &Db, config: &Config, account: AccountId, packed: i64) -> Result<Gathered> {
    let mut after = packed;
    let lines_max = usize::try_from(config.log_block_lines_max).unwrap_or(usize::MAX);
    let mut gathered = Gathered { draft: Draft::new(lines_max), weight: 0 };
    loop {
        let rows = loops::log_lines_of_account(account, after, PAGE).all(db.read()).await?;
        let more = rows.len() == usize::try_from(PAGE).unwrap_or(usize::MAX);
        for row in rows {
            let line = Line::from(row);
            let (id, weight) = (line.id, line.text.len() + LINE_BYTES);
            let taken = gathered.draft.push(line);
            if !taken.map_err(|error| Error::Internal(format!("packing logs: {error}")))? {
                return Ok(gathered);
            }
            after = id;
            gathered.weight = gathered.weight.saturating_add(i64::try_from(weight).unwrap_or(i64::MAX));
        }
        if !more {
            return Ok(gathered);
        }
    }
}

/// Notes the block, where nobody else has packed lines of the account since its row was read.
pub(super) async fn index(app: &App, account: &log_accounts::Model, stored: &Stored, now: Timestamp) -> Result<bool> {
    let Stored { blob, summary, weight, .. } = stored;
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let (number, lines, bytes) = (account.blocks + 1, count(summary.lines), count(summary.bytes));
    let tx = app.db.begin_bulk().await?;
    let sql = "UPDATE log_accounts SET blocks = $1, packed = $2, \
               waiting = CASE WHEN waiting > $3 THEN waiting - $3 ELSE 0 END, \
               waiting_bytes = CASE WHEN waiting > $3 AND waiting_bytes > $4 THEN waiting_bytes - $4 ELSE 0 END, \
               waiting_since = $5, bytes = bytes + $6 WHERE account_id = $7 AND blocks = $8 AND packed = $9";
    let values: [Value; 9] = [
        number.into(),
        summary.last_line.into(),
        lines.into(),
        (*weight).into(),
        Col(now).into(),
        bytes.into(),
        account.account_id.into(),
        account.blocks.into(),
        account.packed.into(),
    ];
    let moved = tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await?;
    if moved.rows_affected() != 1 {
        return Ok(false);
    }
    let blob = objects::keep(app, &tx, Some(account.account_id.0), blob).await?;
    log_blocks::Entity::insert(log_blocks::ActiveModel {
        account_id: Set(account.account_id),
        number: Set(number),
        first_line: Set(summary.first_line),
        last_line: Set(summary.last_line),
        first_run: Set(summary.first_run.into()),
        last_run: Set(summary.last_run.into()),
        began: Set(summary.began.into()),
        ended: Set(summary.ended.into()),
        lines: Set(lines),
        bytes: Set(bytes),
        blob: Set(Some(blob.into())),
        root: Set(None),
        packed: Set(now.into()),
        functions: Set(summary.functions.clone().map(Col)),
        run_filter: Set(summary.run_filter.clone()),
    })
    .exec_without_returning(&tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}

/// More lines were counted than there are: some came again that had rows before runs were counted.
async fn wait_for_none(db: &Db, account: &log_accounts::Model) -> Result<()> {
    let sql = "UPDATE log_accounts SET waiting = 0, waiting_bytes = 0, \
               row_count = CASE WHEN deleted >= packed THEN 0 ELSE row_count END \
               WHERE account_id = $1 AND packed = $2 AND waiting = $3";
    let values: [Value; 3] = [account.account_id.into(), account.packed.into(), account.waiting.into()];
    let connection = db.write();
    connection.execute_raw(Statement::from_sql_and_values(connection.get_database_backend(), sql, values)).await?;
    Ok(())
}
