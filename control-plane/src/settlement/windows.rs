//! What is known of an account's history without reading it: how many runs it has, how far it was forgotten, and how far
//! its runs are in blocks alone.
//!
//! Each account has a row of `run_windows`. Two times say what became of a run that has no row. Before `evicted` it may be
//! in a block. Before `forgotten` it may have been in a block whose body is gone, because the account's runs were too
//! many; the counter [`PRUNED`] is that time for all accounts, by age. All of them only grow, in the transaction that
//! deletes, under settlement's lock: whoever finds no row of a run that began before one of them knows what to ask. There
//! is one exception, or an account could make so many short runs that its long ones are never billed: a run that went on,
//! as its gateway says, while others of its account were forgotten was in no block then.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::{AccountId, RunId, Timestamp};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _, Statement, Value,
};

use super::batch::ROWS_MAX;
use crate::db::bulk;
use crate::db::columns::{Col, signed};
use crate::db::entities::{counters, run_windows, runs};

/// The counter of how far the runs of all accounts are forgotten, in milliseconds since 1970.
pub(super) const PRUNED: &str = "pruned";

/// Runs that ended so short a while ago, in milliseconds, are never too many: a gateway's half is on its way for a moment,
/// and its clock may be behind ours.
const SURELY_KEPT_MS: i64 = 60_000;

/// How long after the longest run, in milliseconds, its gateway may still say something.
const UNSEEN_KEPT_MS: i64 = 3_600_000;

/// What is known of the runs of some accounts.
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

    /// From this id on, each run of the account has a row; lesser ones may be in a block alone.
    pub(super) fn rows_from(&self, account: AccountId) -> RunId {
        let evicted = self.of.get(&account).map_or(Timestamp(0), |window| window.evicted.0);
        RunId::from_uuid(first_id_at(evicted))
    }

    /// Whether this run of the account, which has no row and is in no block, was settled and is forgotten. `ended` is when
    /// it ended, where somebody says so whom we trust: the gateway, and never a node.
    pub(super) fn has_forgotten(&self, run: RunId, account: AccountId, ended: Option<Timestamp>) -> bool {
        let began_before = |at| run < RunId::from_uuid(first_id_at(at));
        let Some(window) = self.of.get(&account) else { return began_before(self.all) };
        // What was deleted had ended before that, by the same word.
        let went_on = ended.is_some_and(|ended| ended.0 >= window.trimmed.0.0.saturating_sub(SURELY_KEPT_MS));
        began_before(self.all) || (began_before(window.forgotten.0) && !went_on)
    }

    /// Whether [`Self::has_forgotten`] says the same by these.
    pub(super) fn forget_the_same(&self, others: &Self) -> bool {
        let times = |windows: &Self, account: &AccountId| {
            windows.of.get(account).map(|window| (window.forgotten.0, window.trimmed.0)).unwrap_or_default()
        };
        let mut accounts = self.of.keys().chain(others.of.keys());
        self.all == others.all && accounts.all(|account| times(self, account) == times(others, account))
    }
}

/// From when on a settled run may be forgotten because there are too many: whoever could still tell of it has done so. A run
/// of which no gateway has said anything may be going on, for as long as the `longest` may, in milliseconds.
pub(super) fn surely_over(row: &runs::Model, longest: u64) -> Timestamp {
    let after = |at: Timestamp, ms: i64| Timestamp(at.0.saturating_add(ms));
    match row.observed {
        Some(_) => after(row.received.0, (row.wall_us / 1000).saturating_add(SURELY_KEPT_MS)),
        None => after(row.arrived.0, signed(longest).saturating_add(UNSEEN_KEPT_MS)),
    }
}

/// What changes of an account's window. Times only grow.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Change {
    pub(super) runs: i64,
    pub(super) unpacked: i64,
    pub(super) packed_bytes: i64,
    pub(super) forgotten: Timestamp,
    pub(super) trimmed: Timestamp,
    pub(super) evicted: Timestamp,
}

/// A settled row that is in no block.
fn waits(row: &runs::Model) -> bool {
    row.settled && row.block.is_none()
}

/// Counts rows that were written: as they are, and as those of them that were there were before.
pub(super) async fn written(
    tx: &DatabaseTransaction,
    earlier: &HashMap<RunId, runs::Model>,
    rows: &[runs::Model],
    now: Timestamp,
) -> Result<(), DbErr> {
    let mut changes: BTreeMap<AccountId, Change> = BTreeMap::new();
    // The line of a run that has changed since stays where it is: the row counts beside it.
    let counted = |row: &runs::Model| i64::from(row.block.is_none());
    for after in rows {
        if let Some(before) = earlier.get(&after.run_id.0) {
            let change = changes.entry(before.account_id.0).or_default();
            change.runs -= counted(before);
            change.unpacked -= i64::from(waits(before));
        }
        let change = changes.entry(after.account_id.0).or_default();
        change.runs += counted(after);
        change.unpacked += i64::from(waits(after));
    }
    changes.retain(|_, change| change.runs != 0 || change.unpacked != 0);
    change(tx, changes, now).await
}

/// Changes windows, in the order of the accounts. Where the first settled row waits for a block, it does so since `now`.
pub(super) async fn change(
    tx: &DatabaseTransaction,
    changes: BTreeMap<AccountId, Change>,
    now: Timestamp,
) -> Result<(), DbErr> {
    const COLUMNS: [&str; 8] =
        ["account_id", "runs", "unpacked", "packed_bytes", "forgotten", "trimmed", "evicted", "unpacked_since"];
    let sum = |name: &str| {
        let sum = format!("run_windows.{name} + excluded.{name}");
        format!("{name} = CASE WHEN {sum} < 0 THEN 0 ELSE {sum} END")
    };
    let latest = |name: &str| {
        let (was, is) = (format!("run_windows.{name}"), format!("excluded.{name}"));
        format!("{name} = CASE WHEN {was} < {is} THEN {is} ELSE {was} END")
    };
    let sets: Vec<String> = ["runs", "unpacked", "packed_bytes"]
        .into_iter()
        .map(sum)
        .chain(["forgotten", "trimmed", "evicted"].into_iter().map(latest))
        .chain(["unpacked_since = CASE WHEN run_windows.unpacked > 0 THEN run_windows.unpacked_since \
                 ELSE excluded.unpacked_since END"
            .to_owned()])
        .collect();
    let changes: Vec<(AccountId, Change)> = changes.into_iter().collect();
    let backend = tx.get_database_backend();
    for chunk in changes.chunks(ROWS_MAX) {
        let sql = format!(
            "INSERT INTO run_windows ({}) VALUES {} ON CONFLICT (account_id) DO UPDATE SET {}",
            COLUMNS.join(", "),
            bulk::places(backend, chunk.len(), COLUMNS.len()),
            sets.join(", ")
        );
        let values: Vec<Value> = chunk.iter().flat_map(|(account, change)| values(*account, change, now)).collect();
        tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    }
    Ok(())
}

fn values(account: AccountId, change: &Change, now: Timestamp) -> [Value; 8] {
    let Change { runs, unpacked, packed_bytes, forgotten, trimmed, evicted } = *change;
    [
        Col(account).into(),
        runs.into(),
        unpacked.into(),
        packed_bytes.into(),
        forgotten.0.into(),
        trimmed.0.into(),
        evicted.0.into(),
        now.0.into(),
    ]
}

/// The first id of a time, for ranges of ids.
pub(crate) fn first_id_at(at: Timestamp) -> uuid::Uuid {
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&at.0.max(0).to_be_bytes()[2..]);
    uuid::Uuid::from_bytes(bytes)
}

/// The time in a run's id, in milliseconds since 1970.
pub(super) fn began(run: RunId) -> Timestamp {
    let (time, _) = run.uuid().as_u64_pair();
    Timestamp(signed(time >> 16))
}

/// The first time whose runs are all later than this one.
pub(super) fn after(run: RunId) -> Timestamp {
    Timestamp(began(run).0.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_time() {
        let (before, id, after) = (Timestamp::now(), RunId::new(), Timestamp(Timestamp::now().0 + 1));
        assert!(RunId::from_uuid(first_id_at(before)) <= id);
        assert!(RunId::from_uuid(first_id_at(after)) > id);
        assert!((before.0..after.0 + 1000).contains(&began(id).0));
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
            unpacked: 0,
            unpacked_since: Timestamp(0).into(),
            packed_bytes: 0,
            evicted: after(20_000).into(),
        };
        let windows = Windows { all: Timestamp(0), of: HashMap::from([(account, window)]) };
        assert!(windows.has_forgotten(run, account, None), "a node's word is none");
        assert!(windows.has_forgotten(run, account, Some(after(39_999))), "it may have been deleted");
        assert!(!windows.has_forgotten(run, account, Some(after(40_000))));
        assert!(!windows.has_forgotten(run, AccountId::new(), None), "another account's window is its own");
        let mut others = Windows { all: Timestamp(0), of: windows.of.clone() };
        others.of.values_mut().for_each(|window| (window.runs, window.evicted) = (9, after(30_000).into()));
        assert!(windows.forget_the_same(&others));
        others.of.values_mut().for_each(|window| window.trimmed = after(100_001).into());
        assert!(!windows.forget_the_same(&others) && !others.forget_the_same(&Windows::default()));
        assert!(run < windows.rows_from(account) && run >= windows.rows_from(AccountId::new()));
        let old = Windows { all: after(10_000), ..windows };
        assert!(old.has_forgotten(run, account, Some(after(1_000_000))), "by age, whatever is said");
    }
}
