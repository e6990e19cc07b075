//! How long runs are kept: `runs_days`; of an account so many bytes of blocks; and where there are too many of all
//! accounts, whoever has the most loses the oldest block. Only blocks are forgotten, whole ones, and with them the rows
//! that their runs still have: what is not packed yet stays. The headers of blocks stay for longer than their bodies.
//!
//! Nothing names their blobs any more then, so that those go as well (`objects`).

use std::collections::{BTreeMap, BinaryHeap};

use protocol::{AccountId, RunId, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Select,
};

use super::batch::lock;
use super::windows::{self, Change, PRUNED, began, first_id_at};
use crate::config::Config;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{accounts, blocks, counters, runs};
use crate::db::{Db, loops};
use crate::error::Result;

/// Blocks that one transaction forgets.
const BLOCKS_MAX: u64 = 8;
/// Rows of an erased account that one transaction deletes.
const ROWS_AT_ONCE: u64 = 500;
/// Headers are kept for 13 months, in milliseconds, so that a month's statement can be proven.
const HEADERS_KEPT_MS: i64 = 396 * 86_400_000;

/// Forgets what is too old, and what is too much.
pub(crate) async fn prune(db: &Db, config: &Config, now: Timestamp) -> Result<()> {
    let days = i64::from(config.runs_days) * 86_400_000;
    let old = RunId::from_uuid(first_id_at(Timestamp(now.0.saturating_sub(days))));
    while forget(db, old).await? == BLOCKS_MAX {}
    trim_large(db, config.history_bytes_max.0, now).await?;
    trim(db, config.runs_max, now).await?;
    forget_headers(db, now).await
}

/// Forgets some blocks of which all runs began before this one's millisecond, whosever they are, and remembers that they are
/// gone.
pub(crate) async fn forget(db: &Db, before: RunId) -> Result<u64> {
    // A run of the same millisecond may have the lesser id: the time that is remembered would not cover it.
    let then = began(before);
    let before = RunId::from_uuid(first_id_at(then));
    // A look costs less than a write that finds nothing.
    if loops::blocks_to_forget(before, 1).one(db.read()).await?.is_none() {
        return Ok(0);
    }
    let tx = db.begin_bulk().await?;
    lock(&tx).await?;
    counters::Entity::update_many()
        .col_expr(counters::Column::Value, then.0.into())
        .filter(counters::Column::Name.eq(PRUNED))
        .filter(counters::Column::Value.lt(then.0))
        .exec(&tx)
        .await?;
    let old = loops::blocks_to_forget(before, BLOCKS_MAX).all(&tx).await?;
    forget_bodies(&tx, &old, None).await?;
    tx.commit().await?;
    Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
}

/// Forgets the oldest blocks of accounts whose blocks are too large together.
async fn trim_large(db: &Db, bytes_max: u64, now: Timestamp) -> Result<()> {
    for window in loops::run_windows_all().all(db.read()).await? {
        let mut bytes = unsigned(window.packed_bytes);
        while bytes > bytes_max {
            let account = window.account_id.0;
            let Some(gone) = forget_oldest(db, account, now).await? else { break };
            bytes = bytes.saturating_sub(unsigned(gone.bytes));
            tracing::info!(%account, block = gone.number, "runs pruned: the account's history is too large");
        }
    }
    Ok(())
}

/// Forgets the oldest block of whoever has the most, until there are at most so many runs in all.
async fn trim(db: &Db, runs_max: u64, now: Timestamp) -> Result<()> {
    let windows = loops::run_windows_all().all(db.read()).await?;
    let mut most: BinaryHeap<(u64, AccountId)> =
        windows.iter().map(|window| (unsigned(window.runs), window.account_id.0)).collect();
    let mut all = most.iter().fold(0_u64, |all, (runs, _)| all.saturating_add(*runs));
    while all > runs_max {
        let Some((runs, account)) = most.pop() else { break };
        // Else what it has is too young, or in no block yet: it is the others' turn.
        if let Some(gone) = forget_oldest(db, account, now).await? {
            let gone_runs = unsigned(gone.runs);
            all = all.saturating_sub(gone_runs);
            most.push((runs.saturating_sub(gone_runs), account));
            tracing::info!(%account, block = gone.number, "runs pruned: total limit exceeded");
        }
    }
    Ok(())
}

/// Forgets an account's oldest block, and remembers that it is gone; none where somebody may still speak of its runs.
async fn forget_oldest(db: &Db, account: AccountId, now: Timestamp) -> Result<Option<blocks::Model>> {
    let tx = db.begin_bulk().await?;
    lock(&tx).await?;
    let oldest = loops::blocks_oldest(account).one(&tx).await?;
    let Some(oldest) = oldest.filter(|oldest| oldest.surely_over.0 < now) else { return Ok(None) };
    forget_bodies(&tx, std::slice::from_ref(&oldest), Some(now)).await?;
    tx.commit().await?;
    Ok(Some(oldest))
}

/// Forgets all settled runs of an account that was deleted, and then notes that it is erased: from then on halves of its runs
/// are void. Of the headers of its blocks the digests stay, by which the chain can be followed; the salts, without which
/// nobody can guess what was in a body, go with them. Whether it is erased: not while a run of it is open.
pub(crate) async fn erase(db: &Db, account: AccountId, now: Timestamp) -> Result<bool> {
    // Rows first, those that blocks have as well: a block may have thousands, which would go in one transaction with it.
    while erase_rows(db, account, now).await? {}
    while erase_blocks(db, account, now).await? {}
    close(db, account, now).await
}

/// Blocks of an account whose headers say more than a digest.
fn blocks_to_erase(account: AccountId) -> Select<blocks::Entity> {
    blocks::Entity::find()
        .filter(blocks::Column::AccountId.eq(Col(account)))
        .filter(blocks::Column::Header.starts_with("{"))
}

/// Notes that an account is erased, where it has no run any more, be it a row or in a block that was packed meanwhile.
async fn close(db: &Db, account: AccountId, now: Timestamp) -> Result<bool> {
    let tx = db.begin_bulk().await?;
    // Whoever adds a half holds it, and looks whether the account is erased.
    lock(&tx).await?;
    let row = runs::Entity::find().filter(runs::Column::AccountId.eq(Col(account))).one(&tx).await?;
    if row.is_some() || blocks_to_erase(account).one(&tx).await?.is_some() {
        return Ok(false);
    }
    accounts::Entity::update_many()
        .set(accounts::ActiveModel { erased: Set(Some(now.into())), ..Default::default() })
        .filter(accounts::Column::Id.eq(Col(account)))
        .exec(&tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}

async fn erase_blocks(db: &Db, account: AccountId, now: Timestamp) -> Result<bool> {
    let tx = db.begin_bulk().await?;
    lock(&tx).await?;
    let some = blocks_to_erase(account).order_by_asc(blocks::Column::Number).limit(BLOCKS_MAX).all(&tx).await?;
    let is_there = |block: &&blocks::Model| block.blob.is_some() || block.root.is_some();
    let there: Vec<blocks::Model> = some.iter().filter(is_there).cloned().collect();
    forget_bodies(&tx, &there, Some(now)).await?;
    for block in &some {
        let digest = books::Header::digest_of(&block.header).to_string();
        blocks::Entity::update_many()
            .col_expr(blocks::Column::Header, digest.into())
            .filter(blocks::Column::AccountId.eq(block.account_id))
            .filter(blocks::Column::Number.eq(block.number))
            .exec(&tx)
            .await?;
    }
    tx.commit().await?;
    Ok(!some.is_empty())
}

/// Deletes some settled rows of an account that is being erased; whether there were any.
pub(super) async fn erase_rows(db: &Db, account: AccountId, now: Timestamp) -> Result<bool> {
    let tx = db.begin_bulk().await?;
    lock(&tx).await?;
    let ids: Vec<Col<RunId>> = runs::Entity::find()
        .select_only()
        .column(runs::Column::RunId)
        .filter(runs::Column::AccountId.eq(Col(account)))
        .filter(runs::Column::Settled.eq(true))
        .limit(ROWS_AT_ONCE)
        .into_tuple()
        .all(&tx)
        .await?;
    let gone = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let Some(last) = ids.iter().max() else { return Ok(false) };
    let forgotten = windows::after(last.0);
    runs::Entity::delete_many().filter(runs::Column::RunId.is_in(ids)).exec(&tx).await?;
    let change = Change { runs: -gone, unpacked: -gone, forgotten, trimmed: now, ..Change::default() };
    windows::change(&tx, BTreeMap::from([(account, change)]), now).await?;
    tx.commit().await?;
    Ok(true)
}

/// Forgets these blocks' bodies and rows. `trimmed`: because there are too many, now; the account's window remembers how far.
async fn forget_bodies(
    tx: &DatabaseTransaction,
    gone: &[blocks::Model],
    trimmed: Option<Timestamp>,
) -> Result<(), DbErr> {
    let mut changes: BTreeMap<AccountId, Change> = BTreeMap::new();
    for block in gone {
        let none: Option<String> = None;
        blocks::Entity::update_many()
            .col_expr(blocks::Column::Blob, none.clone().into())
            .col_expr(blocks::Column::Root, none.into())
            .filter(blocks::Column::AccountId.eq(block.account_id))
            .filter(blocks::Column::Number.eq(block.number))
            .exec(tx)
            .await?;
        runs::Entity::delete_many()
            .filter(runs::Column::AccountId.eq(block.account_id))
            .filter(runs::Column::RunId.between(block.first_run, block.last_run))
            .filter(runs::Column::Block.eq(block.number))
            .exec(tx)
            .await?;
        let change = changes.entry(block.account_id.0).or_default();
        change.runs -= block.runs;
        change.packed_bytes -= block.bytes;
        if let Some(now) = trimmed {
            change.forgotten = change.forgotten.max(windows::after(block.last_run.0));
            change.trimmed = change.trimmed.max(now);
        }
    }
    windows::change(tx, changes, Timestamp::now()).await
}

/// Deletes headers that are kept no longer.
async fn forget_headers(db: &Db, now: Timestamp) -> Result<()> {
    let before = Timestamp(now.0.saturating_sub(HEADERS_KEPT_MS));
    loops::delete_in_steps(db, |most| loops::headers_too_old(before, most)).await?;
    Ok(())
}
