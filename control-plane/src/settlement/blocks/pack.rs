//! Packing: settled rows become a block of their account, and go when they have been in it for a while.

use std::collections::BTreeMap;

use books::{Run, Sealed};
use protocol::{AccountId, Blob, RunId, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _,
    QuerySelect as _, Select, sea_query::Expr,
};

use super::line::run_of;
use super::summary::Summary;
use super::{apart, millis, samples};
use crate::App;
use crate::db::columns::{Col, signed};
use crate::db::entities::{blocks, run_windows, runs};
use crate::db::loops;
use crate::error::{Error, Result};
use crate::objects;
use crate::settlement::batch::{ROWS_MAX, lock};
use crate::settlement::retention::erase_rows;
use crate::settlement::windows::{self, Change, first_id_at};

/// Accounts that one sweep packs for.
const ACCOUNTS_MAX: u64 = 1_000;
/// Rows that one transaction evicts.
const EVICTED_MAX: u64 = 1_000;
/// Runs that began so short a while ago are left for the next block, so that most of those that began at the same time are
/// in it together.
const YOUNG_MS: i64 = 10_000;
/// A run that was settled without the gateway's half can be corrected for so long, and has a row until then.
const CORRECTED_MS: i64 = 3_600_000;

/// Which rows are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Those that fill a block.
    Full,
    /// However few they are, but those that began just now.
    Aged,
    /// All that are settled.
    All,
}

/// Packs what waits in large numbers or for long; or `all` that is settled.
pub(in crate::settlement) async fn pack_due(app: &App, now: Timestamp, all: bool) -> Result<()> {
    let (connection, settings) = (app.db.read(), app.history.settings);
    if !all {
        let full = loops::run_windows_full(settings.block_runs, ACCOUNTS_MAX).all(connection).await?;
        pack_of(app, &full, What::Full, now).await;
    }
    let (since, what) = match all {
        true => (Timestamp(i64::MAX), What::All),
        false => (Timestamp(now.0.saturating_sub(millis(settings.block_age_max))), What::Aged),
    };
    let waiting = loops::run_windows_waiting(since, ACCOUNTS_MAX).all(connection).await?;
    pack_of(app, &waiting, what, now).await;
    Ok(())
}

async fn pack_of(app: &App, accounts: &[run_windows::Model], what: What, now: Timestamp) {
    for window in accounts {
        let account = window.account_id.0;
        if let Err(error) = pack(app, account, what, now).await {
            tracing::error!(%account, %error, "packing of runs failed; they wait");
        }
    }
}

/// Packs all settled runs of an account.
pub(super) async fn pack_all(app: &App, account: AccountId, now: Timestamp) -> Result<()> {
    pack(app, account, What::All, now).await
}

async fn pack(app: &App, account: AccountId, what: What, now: Timestamp) -> Result<()> {
    let packed = async {
        while step(app, account, what, now).await? {}
        Ok(())
    };
    let packed: Result<()> = packed.await;
    // Also where it failed: others come first, and then it is tried again.
    if what != What::Full {
        waits_anew(app, account, now).await?;
    }
    packed
}

/// What waits now does so since now.
async fn waits_anew(app: &App, account: AccountId, now: Timestamp) -> Result<(), DbErr> {
    let tx = app.db.begin_bulk().await?;
    lock(&tx).await?;
    let none = loops::runs_to_pack(account).limit(1).one(&tx).await?.is_none();
    let mut change = run_windows::ActiveModel { unpacked_since: Set(now.into()), ..Default::default() };
    if none {
        change.unpacked = Set(0);
    }
    let of_account = run_windows::Column::AccountId.eq(Col(account));
    run_windows::Entity::update_many().set(change).filter(of_account).exec(&tx).await?;
    tx.commit().await
}

/// Packs one block, or deletes what is left of an erased account. Whether there was something to do.
async fn step(app: &App, account: AccountId, what: What, now: Timestamp) -> Result<bool> {
    let connection = app.db.read();
    let last = loops::blocks_last(account).one(connection).await?;
    // The account was erased, and with it what the next block would go on from: its rows go the same way.
    if last.as_ref().is_some_and(|last| !last.header.starts_with('{')) {
        return erase_rows(&app.db, account, now).await;
    }
    let rows = choose(app, account, what, now).await?;
    if rows.is_empty() {
        return Ok(false);
    }
    let previous = last.as_ref().map(|last| last.header.clone());
    let sealed = seal(account, previous, now, &rows).await?;
    let (header, text, body) = (sealed.header, sealed.text, sealed.body);
    // Held until the block is indexed: nobody takes what was put for what nobody wants.
    let writing = app.epochs.writing().await?;
    let blob = app.store.put_bytes(writing.epoch(), body.into()).await;
    let blob = blob.map_err(|error| Error::Internal(format!("storing a block: {error}")))?;
    fabric::fault::point("block.stored");
    let summary = Summary::of(&rows.iter().map(run_of).collect::<Vec<Run>>()).text();
    let row = index_row(app, &header, text, summary, &blob, &rows);
    let before = last.map(|last| last.number);
    if !index(app, before, row, (&blob, &rows), now).await? {
        tracing::debug!(%account, "another block came first, or a run changed: packed again");
    }
    fabric::fault::point("block.committed");
    Ok(true)
}

/// The rows of the next block, by ascending id: those after all blocks, or else stragglers.
async fn choose(app: &App, account: AccountId, what: What, now: Timestamp) -> Result<Vec<runs::Model>> {
    let connection = app.db.read();
    let newest = loops::blocks_newest(account).select_only().column(blocks::Column::LastRun);
    let passed: Option<Col<RunId>> = newest.into_tuple().one(connection).await?;
    let mut in_order = loops::runs_to_pack(account);
    if what != What::All {
        let young = RunId::from_uuid(first_id_at(Timestamp(now.0.saturating_sub(YOUNG_MS))));
        in_order = in_order.filter(runs::Column::RunId.lt(Col(young)));
    }
    let mut stragglers = None;
    if let Some(passed) = passed {
        in_order = in_order.filter(runs::Column::RunId.gt(passed));
        stragglers = Some(loops::runs_to_pack(account).filter(runs::Column::RunId.lte(passed)));
    }
    let most = app.history.settings.block_runs;
    for query in [Some(in_order), stragglers].into_iter().flatten() {
        if what == What::Full && !fills(app, query.clone(), most).await? {
            continue;
        }
        let rows = query.limit(most).all(connection).await?;
        if !rows.is_empty() {
            return Ok(rows);
        }
    }
    Ok(Vec::new())
}

/// Whether there are so many.
async fn fills(app: &App, query: Select<runs::Entity>, many: u64) -> Result<bool, DbErr> {
    let last = query.select_only().column(runs::Column::RunId).offset(many.saturating_sub(1)).limit(1);
    let last: Option<Col<RunId>> = last.into_tuple().one(app.db.read()).await?;
    Ok(last.is_some())
}

/// Seals the rows. Where a line would be too long, all of them go without why they went where they went.
async fn seal(account: AccountId, previous: Option<String>, now: Timestamp, rows: &[runs::Model]) -> Result<Sealed> {
    let salt = books::Salt(rand::random());
    let whole: Vec<Run> = rows.iter().map(run_of).collect();
    let before = previous.clone();
    let sealed = apart(move || books::seal(account, salt, before.as_deref(), now, whole)).await?;
    let sealed = match sealed {
        Err(books::Error::Line { run, why }) => {
            tracing::error!(%account, %run, why, "a run's line cannot be written: packed without placements");
            let brief = rows.iter().map(|row| Run { placement: None, ..run_of(row) }).collect();
            apart(move || books::seal(account, salt, previous.as_deref(), now, brief)).await?
        }
        sealed => sealed,
    };
    sealed.map_err(|error| Error::Internal(format!("sealing a block: {error}")))
}

fn index_row(
    app: &App,
    header: &books::Header,
    text: String,
    summary: String,
    blob: &Blob,
    rows: &[runs::Model],
) -> blocks::ActiveModel {
    let longest = app.history.settings.longest_ms;
    let surely_over = rows.iter().map(|row| windows::surely_over(row, longest)).max().unwrap_or_default();
    // Only such a run can have been packed before, without the half that has come since.
    let corrects = |row: &runs::Model| {
        row.flag.is_some_and(|flag| flag.0 == protocol::Flag::NoObservation) && row.observed.is_some()
    };
    blocks::ActiveModel {
        account_id: Set(header.account.into()),
        number: Set(signed(header.number)),
        first_run: Set(header.first.into()),
        last_run: Set(header.last.into()),
        runs: Set(header.runs.into()),
        began: Set(header.began.into()),
        ended: Set(header.ended.into()),
        origin: Set(header.origin.into()),
        surely_over: Set(surely_over.into()),
        corrects: Set(rows.iter().any(corrects)),
        summary: Set(summary),
        header: Set(text),
        root: Set(None),
        blob: Set(Some(blob.id.into())),
        bytes: Set(signed(blob.size.0)),
    }
}

/// Notes the block, where the last one is still that of this number and no row has changed in between; else nothing changes.
async fn index(
    app: &App,
    before: Option<i64>,
    block: blocks::ActiveModel,
    (blob, rows): (&Blob, &[runs::Model]),
    now: Timestamp,
) -> Result<bool> {
    let Some(account) = rows.first().map(|row| row.account_id) else { return Ok(false) };
    let tx = app.db.begin_bulk().await?;
    lock(&tx).await?;
    let last = loops::blocks_last(account.0).select_only().column(blocks::Column::Number);
    let last: Option<i64> = last.into_tuple().one(&tx).await?;
    if last != before {
        return Ok(false);
    }
    let number = last.unwrap_or(0) + 1;
    // A settled row changes once at most: when the gateway's half comes to one that was settled without.
    let (seen, unseen): (Vec<&runs::Model>, Vec<&runs::Model>) = rows.iter().partition(|row| row.observed.is_some());
    if !mark(&tx, number, &seen, true).await? || !mark(&tx, number, &unseen, false).await? {
        return Ok(false);
    }
    let bytes = block.bytes.clone().take().unwrap_or(0);
    objects::keep(app, &tx, Some(account.0), blob).await?;
    blocks::Entity::insert(block).exec_without_returning(&tx).await?;
    samples::keep(&tx, rows, app.history.settings.samples_max).await?;
    let packed = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let change = Change { unpacked: -packed, packed_bytes: bytes, ..Change::default() };
    windows::change(&tx, BTreeMap::from([(account.0, change)]), now).await?;
    tx.commit().await?;
    Ok(true)
}

/// Writes the block's number into rows that are as they were; whether all of them are.
async fn mark(tx: &DatabaseTransaction, number: i64, rows: &[&runs::Model], seen: bool) -> Result<bool, DbErr> {
    for chunk in rows.chunks(ROWS_MAX) {
        let observed = runs::Column::Observed;
        let marked = runs::Entity::update_many()
            .col_expr(runs::Column::Block, number.into())
            .filter(runs::Column::RunId.is_in(chunk.iter().map(|row| row.run_id)))
            .filter(Expr::col(runs::Column::Settled))
            .filter(runs::Column::Block.is_null())
            .filter(if seen { observed.is_not_null() } else { observed.is_null() })
            .exec(tx)
            .await?;
        if marked.rows_affected != u64::try_from(chunk.len()).unwrap_or(u64::MAX) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Deletes rows that began long enough ago, and that a block has.
pub(in crate::settlement) async fn evict(app: &App, now: Timestamp) -> Result<()> {
    let before = RunId::from_uuid(first_id_at(Timestamp(now.0.saturating_sub(millis(app.history.settings.rows_age)))));
    let unseen = Timestamp(now.0.saturating_sub(CORRECTED_MS));
    loop {
        type Row = (Col<RunId>, Col<AccountId>);
        let evicted = |most| loops::runs_to_evict(before, unseen, most).into_tuple::<Row>();
        // A look costs less than a write that finds nothing.
        if evicted(1).one(app.db.read()).await?.is_none() {
            return Ok(());
        }
        let tx = app.db.begin_bulk().await?;
        lock(&tx).await?;
        let rows = evicted(EVICTED_MAX).all(&tx).await?;
        let mut changes: BTreeMap<AccountId, Change> = BTreeMap::new();
        for (run, account) in &rows {
            let change = changes.entry(account.0).or_default();
            change.evicted = change.evicted.max(windows::after(run.0));
        }
        let ids = rows.iter().map(|(run, _)| *run);
        runs::Entity::delete_many().filter(runs::Column::RunId.is_in(ids)).exec(&tx).await?;
        windows::change(&tx, changes, now).await?;
        tx.commit().await?;
        if u64::try_from(rows.len()).unwrap_or(u64::MAX) < EVICTED_MAX {
            return Ok(());
        }
    }
}
