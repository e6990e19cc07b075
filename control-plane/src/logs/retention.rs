//! What is kept of logs. Rows that are packed go some minutes later, or at once where there are too many rows. Blocks go
//! after `runs_days`, and the oldest where an account has too much, or all have and it has the most. Each account has the
//! time from which its lines are complete: it moves in the transaction that deletes some of them.

use std::collections::BTreeMap;

use protocol::{AccountId, RunId, Timestamp};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _,
    QuerySelect as _, Statement, Value,
};

use crate::config::Config;
use crate::db::columns::{Col, signed, unsigned};
use crate::db::entities::{log_accounts, log_blocks, log_runs, run_logs};
use crate::db::{Db, count, loops};
use crate::error::Result;
use crate::keep::over;

/// Rows that one transaction deletes.
const ROWS_AT_ONCE: u64 = 1_000;
/// Blocks that one transaction deletes.
const BLOCKS_AT_ONCE: u64 = 200;
/// What a run has written is known for so much longer, in milliseconds, than its lines are taken: clocks differ.
const RUNS_KEPT_MS: i64 = 600_000;

async fn change<const N: usize>(tx: &DatabaseTransaction, sql: &str, values: [Value; N]) -> Result<(), DbErr> {
    tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await.map(drop)
}

/// Deletes rows of lines that are in blocks, once they are there long enough.
pub(super) async fn clear_rows(db: &Db, config: &Config, now: Timestamp) -> Result<()> {
    let before = Timestamp(now.0.saturating_sub(signed(config.log_rows_age.0)));
    for account in loops::log_accounts_with_rows().all(db.read()).await? {
        let mut cleared = account.cleared;
        if account.packed > account.cleared
            && let Some(block) = loops::log_block_packed(account.account_id.0, before).one(db.read()).await?
        {
            cleared = cleared.max(block.last_line);
        }
        clear(db, &account, cleared).await?;
    }
    Ok(())
}

/// From now on readers find lines up to this one in blocks; then their rows go.
async fn clear(db: &Db, account: &log_accounts::Model, up_to: i64) -> Result<()> {
    let id = account.account_id;
    if up_to > account.cleared {
        log_accounts::Entity::update_many()
            .col_expr(log_accounts::Column::Cleared, up_to.into())
            .filter(log_accounts::Column::AccountId.eq(id))
            .filter(log_accounts::Column::Cleared.lt(up_to))
            .exec(db.write())
            .await?;
    }
    while up_to > account.deleted && delete_rows(db, id.0, up_to).await? {}
    Ok(())
}

/// Deletes some of an account's first rows, up to a line; whether there may be more.
async fn delete_rows(db: &Db, account: AccountId, up_to: i64) -> Result<bool> {
    let ids = loops::log_lines_of_account(account, 0, ROWS_AT_ONCE).select_only().column(run_logs::Column::Id);
    let ids: Vec<i64> = ids.filter(run_logs::Column::Id.lte(up_to)).into_tuple().all(db.read()).await?;
    let more = ids.len() == usize::try_from(ROWS_AT_ONCE).unwrap_or(usize::MAX);
    let tx = db.begin_bulk().await?;
    let gone = match ids.is_empty() {
        true => 0,
        false => run_logs::Entity::delete_many().filter(run_logs::Column::Id.is_in(ids)).exec(&tx).await?.rows_affected,
    };
    let sql = "UPDATE log_accounts SET row_count = CASE WHEN row_count > $1 THEN row_count - $1 ELSE 0 END \
               WHERE account_id = $2";
    change(&tx, sql, [signed(gone).into(), Col(account).into()]).await?;
    if !more {
        // Where all are packed and deleted, none is left, however many were counted.
        let sql = "UPDATE log_accounts SET deleted = CASE WHEN deleted < $1 THEN $1 ELSE deleted END, \
                   row_count = CASE WHEN waiting = 0 AND packed <= $1 THEN 0 ELSE row_count END WHERE account_id = $2";
        change(&tx, sql, [up_to.into(), Col(account).into()]).await?;
    }
    tx.commit().await?;
    Ok(more)
}

/// Where there are too many rows, those of whoever has the most go at once; and where the store takes no blocks, so that they
/// cannot, the oldest lines do.
pub(super) async fn bound_rows(db: &Db, config: &Config) -> Result<()> {
    let accounts = loops::log_accounts_with_rows().all(db.read()).await?;
    let rows = accounts.iter().fold(0_u64, |sum, account| sum.saturating_add(unsigned(account.row_count)));
    if rows <= config.log_lines_max {
        return Ok(());
    }
    let counts = accounts.iter().map(|account| (account.account_id, account.row_count)).collect();
    for (id, kept) in over(counts, config.log_lines_max) {
        let Some(account) = log_accounts::Entity::find_by_id(Col(id)).one(db.read()).await? else { continue };
        clear(db, &account, account.packed).await?;
        while drop_oldest(db, id, kept).await? {}
    }
    Ok(())
}

/// Drops some of an account's oldest lines, where it has more rows than this; whether it did.
async fn drop_oldest(db: &Db, account: AccountId, kept: u64) -> Result<bool> {
    let Some(row) = log_accounts::Entity::find_by_id(Col(account)).one(db.read()).await? else { return Ok(false) };
    // What was packed meanwhile goes by being cleared.
    let beyond = unsigned(row.row_count).saturating_sub(kept).min(ROWS_AT_ONCE);
    if beyond == 0 || row.packed > row.deleted {
        return Ok(false);
    }
    let oldest = loops::log_lines_of_account(account, row.packed, beyond).select_only();
    let oldest = oldest.columns([run_logs::Column::Id, run_logs::Column::At]);
    let oldest: Vec<(i64, Col<Timestamp>)> = oldest.into_tuple().all(db.read()).await?;
    let Some(last) = oldest.iter().map(|(id, _)| *id).max() else { return Ok(false) };
    let since = oldest.iter().map(|(_, at)| at.0.0).max().unwrap_or(0).saturating_add(1);
    let tx = db.begin_bulk().await?;
    // Whoever packs these lines meanwhile finds that the mark has moved; or has moved it.
    let sql = "UPDATE log_accounts SET packed = $1, cleared = $1, deleted = $1, \
               since = CASE WHEN since < $2 THEN $2 ELSE since END WHERE account_id = $3 AND packed = $4";
    let values: [Value; 4] = [last.into(), since.into(), Col(account).into(), row.packed.into()];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    if tx.execute_raw(statement).await?.rows_affected() != 1 {
        return Ok(false);
    }
    let ids = oldest.iter().map(|(id, _)| *id);
    let gone = run_logs::Entity::delete_many().filter(run_logs::Column::Id.is_in(ids)).exec(&tx).await?.rows_affected;
    let sql = "UPDATE log_accounts SET row_count = CASE WHEN row_count > $1 THEN row_count - $1 ELSE 0 END, \
               waiting = CASE WHEN waiting > $1 THEN waiting - $1 ELSE 0 END, \
               waiting_bytes = CASE WHEN waiting > $1 THEN waiting_bytes ELSE 0 END WHERE account_id = $2";
    change(&tx, sql, [signed(gone).into(), Col(account).into()]).await?;
    tx.commit().await?;
    tracing::warn!(%account, lines = gone, "log lines dropped before they were packed: too many rows");
    Ok(true)
}

/// Forgets all lines of an account that was deleted.
pub(crate) async fn erase(db: &Db, account: AccountId) -> Result<()> {
    // Whoever keeps lines at this moment holds the counter: they are waited for.
    let tx = db.begin_bulk().await?;
    count(&tx, "log", 0).await?;
    tx.commit().await?;
    loop {
        let ids = loops::log_lines_of_account(account, 0, ROWS_AT_ONCE).select_only().column(run_logs::Column::Id);
        let ids: Vec<i64> = ids.into_tuple().all(db.read()).await?;
        if ids.is_empty() {
            break;
        }
        run_logs::Entity::delete_many().filter(run_logs::Column::Id.is_in(ids)).exec(db.write()).await?;
    }
    loop {
        let numbers =
            loops::log_blocks_after(account, 0, BLOCKS_AT_ONCE).select_only().column(log_blocks::Column::Number);
        let numbers: Vec<i64> = numbers.into_tuple().all(db.read()).await?;
        if numbers.is_empty() {
            break;
        }
        log_blocks::Entity::delete_many()
            .filter(log_blocks::Column::AccountId.eq(Col(account)))
            .filter(log_blocks::Column::Number.is_in(numbers))
            .exec(db.write())
            .await?;
    }
    let tx = db.begin_bulk().await?;
    // Of lines that were packed meanwhile.
    log_blocks::Entity::delete_many().filter(log_blocks::Column::AccountId.eq(Col(account))).exec(&tx).await?;
    log_accounts::Entity::delete_by_id(Col(account)).exec(&tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Forgets blocks that are too old or too much, and runs that write no more.
pub(super) async fn prune(db: &Db, config: &Config, now: Timestamp) -> Result<()> {
    let days = i64::from(config.runs_days) * 86_400_000;
    let old = Timestamp(now.0.saturating_sub(days));
    loop {
        let oldest = loops::log_blocks_too_old(old, BLOCKS_AT_ONCE);
        let oldest: Vec<(Col<AccountId>, i64)> = oldest.into_tuple().all(db.read()).await?;
        let mut of: BTreeMap<AccountId, Vec<i64>> = BTreeMap::new();
        for (account, number) in &oldest {
            of.entry(account.0).or_default().push(*number);
        }
        for (account, numbers) in of {
            forget(db, account, &numbers).await?;
        }
        if oldest.len() < usize::try_from(BLOCKS_AT_ONCE).unwrap_or(usize::MAX) {
            break;
        }
    }
    bound_bytes(db, config).await?;
    forget_runs(db, now).await
}

async fn bound_bytes(db: &Db, config: &Config) -> Result<()> {
    let accounts = loops::log_accounts_with_blocks().all(db.read()).await?;
    let counts = accounts.iter().map(|account| (account.account_id, account.bytes)).collect();
    let too_much: BTreeMap<AccountId, u64> = over(counts, config.log_bytes_total_max.0).into_iter().collect();
    for account in accounts {
        let id = account.account_id.0;
        let kept = config.log_bytes_max.0.min(too_much.get(&id).copied().unwrap_or(u64::MAX));
        let mut beyond = unsigned(account.bytes).saturating_sub(kept);
        while beyond > 0 {
            let blocks = loops::log_blocks_after(id, 0, BLOCKS_AT_ONCE).select_only();
            let blocks = blocks.columns([log_blocks::Column::Number, log_blocks::Column::Bytes]);
            let blocks: Vec<(i64, i64)> = blocks.into_tuple().all(db.read()).await?;
            let mut numbers = Vec::new();
            for (number, bytes) in blocks {
                if beyond == 0 {
                    break;
                }
                beyond = beyond.saturating_sub(unsigned(bytes).max(1));
                numbers.push(number);
            }
            if numbers.is_empty() {
                break;
            }
            forget(db, id, &numbers).await?;
            tracing::info!(account = %id, blocks = numbers.len(), kept, "log blocks pruned: limit exceeded");
        }
    }
    Ok(())
}

/// Deletes index rows of blocks, and says that lines are complete after them only.
async fn forget(db: &Db, account: AccountId, numbers: &[i64]) -> Result<()> {
    let tx = db.begin_bulk().await?;
    // Of two that forget the same blocks the second finds none.
    change(&tx, "UPDATE log_accounts SET bytes = bytes WHERE account_id = $1", [Col(account).into()]).await?;
    let these = Condition::all()
        .add(log_blocks::Column::AccountId.eq(Col(account)))
        .add(log_blocks::Column::Number.is_in(numbers.iter().copied()));
    let columns = [log_blocks::Column::LastLine, log_blocks::Column::Bytes, log_blocks::Column::Ended];
    let blocks = log_blocks::Entity::find().select_only().columns(columns).filter(these.clone());
    let blocks: Vec<(i64, i64, Col<Timestamp>)> = blocks.into_tuple().all(&tx).await?;
    let last = blocks.iter().map(|(last, _, _)| *last).max().unwrap_or(0);
    let bytes = blocks.iter().fold(0_i64, |sum, (_, bytes, _)| sum.saturating_add(*bytes));
    let since = blocks.iter().map(|(_, _, ended)| ended.0.0).max().map_or(0, |ended| ended.saturating_add(1));
    log_blocks::Entity::delete_many().filter(these).exec(&tx).await?;
    // What may have rows still is not read from them any more.
    let sql = "UPDATE log_accounts SET bytes = CASE WHEN bytes > $1 THEN bytes - $1 ELSE 0 END, \
               cleared = CASE WHEN cleared < $2 THEN $2 ELSE cleared END, \
               since = CASE WHEN since < $3 THEN $3 ELSE since END WHERE account_id = $4";
    change(&tx, sql, [bytes.into(), last.into(), since.into(), Col(account).into()]).await?;
    tx.commit().await?;
    Ok(())
}

async fn forget_runs(db: &Db, now: Timestamp) -> Result<()> {
    let before = Timestamp(now.0.saturating_sub(RUNS_KEPT_MS));
    loop {
        let ended: Vec<Col<RunId>> = loops::log_runs_over(before, ROWS_AT_ONCE).into_tuple().all(db.read()).await?;
        let more = ended.len() == usize::try_from(ROWS_AT_ONCE).unwrap_or(usize::MAX);
        if !ended.is_empty() {
            // One that may write again after all stays.
            log_runs::Entity::delete_many()
                .filter(log_runs::Column::RunId.is_in(ended))
                .filter(log_runs::Column::Until.lt(Col(before)))
                .exec(db.write())
                .await?;
        }
        if !more {
            return Ok(());
        }
    }
}
