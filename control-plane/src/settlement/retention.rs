//! How long runs are kept: `runs_days`, and where there are too many of all accounts, whoever has the most loses the
//! oldest. Only runs in a segment are forgotten.
//!
//! Each account has a window (`run_windows`): how many rows it has, and the time before which some of its runs are
//! forgotten because they were too many. The counter [`PRUNED`] is that time for all accounts, by age. Both only grow, in
//! the transaction that deletes, under settlement's lock: whoever finds no row of a run, and the run before that time,
//! knows that it was settled. There is one exception, or an account could make so many short runs that its long ones are
//! never billed: a run that went on, as its gateway says, while others of its account were deleted had no row then.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::{AccountId, RunId, Timestamp};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _, Statement, Value,
};

use super::ledger::{ROWS_MAX, lock};
use crate::config::Config;
use crate::db::columns::{Col, signed, unsigned};
use crate::db::entities::{counters, run_windows, runs};
use crate::db::{Db, loops};
use crate::error::Result;
use crate::keep::over;

/// Rows that one transaction deletes.
const PRUNE_ROWS_MAX: u64 = 2_000;

/// The counter of how far the rows of all accounts are forgotten, in milliseconds since 1970.
const PRUNED: &str = "pruned";

/// Runs that ended so short a while ago, in milliseconds, are never too many: a gateway's half is on its way for a moment,
/// and its clock may be behind ours.
const SURELY_KEPT_MS: i64 = 60_000;

/// How long after the longest run, in milliseconds, its gateway may still say something.
const UNSEEN_KEPT_MS: i64 = 3_600_000;

/// A run, and whose it is.
type Row = (Col<RunId>, Col<AccountId>);

/// How far the runs of some accounts are forgotten.
#[derive(Debug, Default)]
pub(super) struct Windows {
    all: Timestamp,
    of: HashMap<AccountId, run_windows::Model>,
}

impl Windows {
    /// Of these accounts.
    pub(super) async fn read<C: ConnectionTrait>(
        connection: &C,
        accounts: impl IntoIterator<Item = AccountId>,
    ) -> Result<Self, DbErr> {
        let accounts: Vec<AccountId> = accounts.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let all = counters::Entity::find_by_id(PRUNED).one(connection).await?;
        let mut windows = Self { all: Timestamp(all.map_or(0, |row| row.value)), of: HashMap::new() };
        for chunk in accounts.chunks(ROWS_MAX) {
            let of_accounts = run_windows::Column::AccountId.is_in(chunk.iter().map(|account| Col(*account)));
            let rows = run_windows::Entity::find().filter(of_accounts).all(connection).await?;
            windows.of.extend(rows.into_iter().map(|row| (row.account_id.0, row)));
        }
        Ok(windows)
    }

    /// The time from which the account's runs are complete: earlier ones may be forgotten.
    pub(super) fn since(&self, account: AccountId) -> Timestamp {
        self.of.get(&account).map_or(self.all, |window| window.forgotten.0.max(self.all))
    }

    /// Whether this run of the account, which has no row, was settled and is forgotten. `ended` is when it ended, where
    /// somebody says so whom we trust: the gateway, and never a node.
    pub(super) fn has_forgotten(&self, run: RunId, account: AccountId, ended: Option<Timestamp>) -> bool {
        let began_before = |at| run < RunId::from_uuid(first_id_at(at));
        let Some(window) = self.of.get(&account) else { return began_before(self.all) };
        // What was deleted had ended before that, by the same word.
        let went_on = ended.is_some_and(|ended| ended >= surely_kept(window.trimmed.0));
        began_before(self.all) || (began_before(window.forgotten.0) && !went_on)
    }
}

/// Runs that ended at this time or later stay where the others are trimmed.
fn surely_kept(trimmed: Timestamp) -> Timestamp {
    Timestamp(trimmed.0.saturating_sub(SURELY_KEPT_MS))
}

/// What changes of an account's window.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    runs: i64,
    forgotten: Timestamp,
    trimmed: Timestamp,
}

/// Counts rows that were written: as they are, and as those of them that were there were before.
pub(super) async fn written(
    tx: &DatabaseTransaction,
    earlier: &HashMap<RunId, runs::Model>,
    rows: &[runs::Model],
) -> Result<(), DbErr> {
    let mut changes: BTreeMap<AccountId, Change> = BTreeMap::new();
    for after in rows {
        let before = earlier.get(&after.run_id.0);
        if before.is_some_and(|before| before.account_id == after.account_id) {
            continue;
        }
        changes.entry(after.account_id.0).or_default().runs += 1;
        if let Some(before) = before {
            changes.entry(before.account_id.0).or_default().runs -= 1;
        }
    }
    change(tx, changes).await
}

/// Changes windows, in the order of the accounts.
async fn change(tx: &DatabaseTransaction, changes: BTreeMap<AccountId, Change>) -> Result<(), DbErr> {
    let changes: Vec<(AccountId, Change)> = changes.into_iter().collect();
    for chunk in changes.chunks(ROWS_MAX) {
        let place = |row: usize| format!("(${}, ${}, ${}, ${})", 4 * row + 1, 4 * row + 2, 4 * row + 3, 4 * row + 4);
        let places = (0..chunk.len()).map(place);
        let sql = format!(
            "INSERT INTO run_windows (account_id, runs, forgotten, trimmed) VALUES {} \
             ON CONFLICT (account_id) DO UPDATE SET \
             runs = CASE WHEN run_windows.runs + excluded.runs < 0 THEN 0 ELSE run_windows.runs + excluded.runs END, \
             forgotten = CASE WHEN run_windows.forgotten < excluded.forgotten THEN excluded.forgotten \
             ELSE run_windows.forgotten END, \
             trimmed = CASE WHEN run_windows.trimmed < excluded.trimmed THEN excluded.trimmed \
             ELSE run_windows.trimmed END",
            places.collect::<Vec<_>>().join(", ")
        );
        let values: Vec<Value> = chunk
            .iter()
            .flat_map(|(account, change)| {
                let Change { runs, forgotten, trimmed } = change;
                [Value::from(Col(*account)), Value::from(*runs), Value::from(forgotten.0), Value::from(trimmed.0)]
            })
            .collect();
        tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await?;
    }
    Ok(())
}

/// Forgets what is too old, and what is too much.
pub(crate) async fn prune(db: &Db, config: &Config, now: Timestamp) -> Result<()> {
    let days = i64::from(config.runs_days) * 86_400_000;
    let old = RunId::from_uuid(first_id_at(Timestamp(now.0.saturating_sub(days))));
    while forget(db, old).await? == PRUNE_ROWS_MAX {}
    trim(db, config, now).await
}

/// Deletes some runs that began before this one's millisecond, whosever they are, and remembers that they are gone.
pub(crate) async fn forget(db: &Db, before: RunId) -> Result<u64> {
    // A run of the same millisecond may have the lesser id: the time that is remembered would not cover it.
    let then = Timestamp(began(before));
    let before = RunId::from_uuid(first_id_at(then));
    // A look costs less than a write that finds nothing.
    if loops::runs_to_forget(before, 1).into_tuple::<Row>().one(db.read()).await?.is_none() {
        return Ok(0);
    }
    let tx = db.begin().await?;
    lock(&tx).await?;
    counters::Entity::update_many()
        .col_expr(counters::Column::Value, then.0.into())
        .filter(counters::Column::Name.eq(PRUNED))
        .filter(counters::Column::Value.lt(then.0))
        .exec(&tx)
        .await?;
    let rows: Vec<Row> = loops::runs_to_forget(before, PRUNE_ROWS_MAX).into_tuple().all(&tx).await?;
    delete(&tx, &rows, Change::default()).await?;
    tx.commit().await?;
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}

/// Deletes the oldest runs of whoever has the most, until there are at most so many in all.
async fn trim(db: &Db, config: &Config, now: Timestamp) -> Result<()> {
    // A run of which no gateway has said anything may be going on.
    let longest = signed(config.job_timeout_max.0).saturating_add(UNSEEN_KEPT_MS);
    let unseen = Timestamp(now.0.saturating_sub(longest));
    let windows = loops::run_windows_all().all(db.read()).await?;
    let counts = windows.iter().map(|window| (window.account_id, window.runs)).collect();
    for (account, kept) in over(counts, config.runs_max) {
        let has =
            windows.iter().find(|window| window.account_id.0 == account).map_or(0, |window| unsigned(window.runs));
        let mut beyond = has.saturating_sub(kept);
        while beyond > 0 {
            let gone = forget_oldest(db, account, beyond.min(PRUNE_ROWS_MAX), now, unseen).await?;
            // What is left is too young, or in no segment yet.
            if gone == 0 {
                break;
            }
            beyond = beyond.saturating_sub(gone);
        }
        tracing::info!(%account, kept, "runs pruned: total limit exceeded");
    }
    Ok(())
}

/// Deletes so many of an account's oldest runs, and remembers that they are gone.
async fn forget_oldest(db: &Db, account: AccountId, most: u64, now: Timestamp, unseen: Timestamp) -> Result<u64> {
    let tx = db.begin().await?;
    lock(&tx).await?;
    let rows: Vec<Row> = loops::runs_oldest(account, surely_kept(now), unseen, most).into_tuple().all(&tx).await?;
    let Some((last, _)) = rows.last() else { return Ok(0) };
    let forgotten = Timestamp(began(last.0).saturating_add(1));
    delete(&tx, &rows, Change { runs: 0, forgotten, trimmed: now }).await?;
    tx.commit().await?;
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}

/// Deletes these rows, counts them, and changes the windows of their accounts.
async fn delete(tx: &DatabaseTransaction, rows: &[Row], with: Change) -> Result<(), DbErr> {
    let mut changes: BTreeMap<AccountId, Change> = BTreeMap::new();
    for (_, account) in rows {
        changes.entry(account.0).or_insert(with).runs -= 1;
    }
    let ids = rows.iter().map(|(run, _)| *run);
    runs::Entity::delete_many().filter(runs::Column::RunId.is_in(ids)).exec(tx).await?;
    change(tx, changes).await
}

/// The first id of a time, for ranges of ids.
pub(crate) fn first_id_at(at: Timestamp) -> uuid::Uuid {
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&at.0.max(0).to_be_bytes()[2..]);
    uuid::Uuid::from_bytes(bytes)
}

/// The time in a run's id, in milliseconds since 1970.
fn began(run: RunId) -> i64 {
    let (time, _) = run.uuid().as_u64_pair();
    signed(time >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_time() {
        let (before, id, after) = (Timestamp::now(), RunId::new(), Timestamp(Timestamp::now().0 + 1));
        assert!(RunId::from_uuid(first_id_at(before)) <= id);
        assert!(RunId::from_uuid(first_id_at(after)) > id);
        assert!((before.0..after.0 + 1000).contains(&began(id)));
    }

    #[test]
    fn what_went_on_is_not_forgotten() {
        let (account, now, run) = (AccountId::new(), Timestamp::now(), RunId::new());
        let after = |ms: i64| Timestamp(now.0 + ms);
        let window = run_windows::Model {
            account_id: account.into(),
            runs: 1,
            forgotten: after(10_000).into(),
            trimmed: after(100_000).into(),
        };
        let windows = Windows { all: Timestamp(0), of: HashMap::from([(account, window)]) };
        assert!(windows.has_forgotten(run, account, None), "a node's word is none");
        assert!(windows.has_forgotten(run, account, Some(after(39_999))), "it may have been deleted");
        assert!(!windows.has_forgotten(run, account, Some(after(40_000))));
        assert!(!windows.has_forgotten(run, AccountId::new(), None), "another account's window is its own");
        let old = Windows { all: after(10_000), ..windows };
        assert!(old.has_forgotten(run, account, Some(after(1_000_000))), "by age, whatever is said");
    }
}
