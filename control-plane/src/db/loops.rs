//! The queries that loops ask again and again, whether or not there is something to do, and lists whose order an
//! index must have: every one is here, with the index that answers it. A test asks the planners of both databases
//! about each that is written with [`loop_queries`], so a new one belongs here and nowhere else. (Look-ups by a
//! whole primary key need no entry.)
//!
//! A partial index serves a query only where the planner sees that its condition holds: it stands in the query word for
//! word, and not as a parameter.

use protocol::{AccountId, BlobId, FunctionId, JobId, Name, RunId, Timestamp, VersionId};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait as _, DbBackend, DbErr, DeleteMany, EntityTrait as _, ExprTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect, Select, Statement, UpdateMany, Value,
};

use super::Db;
use super::columns::{Col, signed};
use super::entities::{
    accounts, audit, blobs, blocks, checkpoints, functions, idempotency, job_steps, jobs, log_accounts, log_blocks,
    log_runs, messages, models, nodes, outbox, queues, run_logs, run_windows, runs, samples, sources, store_drains,
    store_engines, store_epochs, triggers, usage_sums, versions,
};

/// How the planner should answer a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "what the test compares plans with"))]
pub(crate) enum Plan {
    /// By the table's primary key.
    Key,
    /// By one of these indices.
    Index(&'static [&'static str]),
    /// By one of these indices, which has the rows in their order: nothing is sorted.
    Order(&'static [&'static str]),
    /// All rows are wanted, and there are few.
    Whole,
}

/// A query in SQL.
pub(crate) struct Raw {
    sql: &'static str,
    values: Vec<Value>,
}

impl Raw {
    /// For this database.
    pub(crate) fn statement(self, backend: DbBackend) -> Statement {
        Statement::from_sql_and_values(backend, self.sql, self.values)
    }
}

/// Rows that one statement deletes.
const DELETED_AT_ONCE: u64 = 1_000;

/// Deletes whatever these statements find, each of them so many rows at most: others write in between.
pub(crate) async fn delete_in_steps(db: &Db, some: impl Fn(u64) -> Raw) -> Result<(), DbErr> {
    let (connection, most) = (db.write(), DELETED_AT_ONCE);
    loop {
        let delete = some(most).statement(connection.get_database_backend());
        if connection.execute_raw(delete).await?.rows_affected() < most {
            return Ok(());
        }
    }
}

/// Sums of usage of one period: whose, how long it is in seconds, when it began, and which.
pub(crate) type UsageRows = (AccountId, i32, Timestamp, Vec<Vec<u8>>);

#[cfg(test)]
pub(crate) trait Planned {
    fn planned(self, backend: DbBackend) -> Statement;
}

#[cfg(test)]
impl<Q: sea_orm::QueryTrait> Planned for Q {
    fn planned(self, backend: DbBackend) -> Statement {
        self.build(backend)
    }
}

#[cfg(test)]
impl Planned for Raw {
    fn planned(self, backend: DbBackend) -> Statement {
        self.statement(backend)
    }
}

/// Makes each query a function, and the list of them for the test, which calls each with its samples.
macro_rules! loop_queries {
    ($(
        $(#[$doc:meta])*
        $name:ident($($arg:ident: $type:ty = $sample:expr),* $(,)?) -> $query:ty, $plan:expr, $body:block
    )*) => {
        $(
            $(#[$doc])*
            pub(crate) fn $name($($arg: $type),*) -> $query $body
        )*

        /// All of them, with the plan that each should have.
        #[cfg(test)]
        pub(crate) fn all(backend: DbBackend) -> Vec<(&'static str, Plan, Statement)> {
            vec![
                $((stringify!($name), $plan, $name($($sample),*).planned(backend)),)*
            ]
        }
    };
}

#[cfg(test)]
const THEN: Timestamp = Timestamp(1_795_336_980_123);

#[cfg(test)]
fn sample<T>(from: fn(uuid::Uuid) -> T) -> T {
    from(uuid::Uuid::from_u128(7))
}

#[cfg(test)]
fn blob() -> BlobId {
    BlobId::new(protocol::Epoch(7), [7; 12])
}

const WAITS: &str = "state = 'queued'";
/// Accounts of whose settled runs some are in no block.
const UNPACKED: &str = "unpacked > 0";

/// Blocks whose bodies are kept: blobs, or objects of an earlier release.
const HELD: &str = "(root IS NOT NULL OR blob IS NOT NULL)";

/// Runs that did not succeed: a half of what the indices of runs that went wrong have.
pub(crate) const UNSUCCESSFUL: &str = "outcome <> 'succeeded'";
/// Runs whose answer is an error, whoever made it: the other half.
pub(crate) const ERROR_STATUS: &str = "status >= 400";

/// What is read of many blocks of logs.
const LOG_BLOCK: [log_blocks::Column; 10] = [
    log_blocks::Column::Number,
    log_blocks::Column::FirstLine,
    log_blocks::Column::LastLine,
    log_blocks::Column::FirstRun,
    log_blocks::Column::Began,
    log_blocks::Column::Ended,
    log_blocks::Column::Lines,
    log_blocks::Column::Root,
    log_blocks::Column::Blob,
    log_blocks::Column::Functions,
];

/// The indices that have a period's sums of usage together.
#[cfg(test)]
const USAGE_KEYS: &[&str] = &["sqlite_autoindex_usage_sums_1", "usage_sums_pkey", "usage_sums_began"];

mod kept;
mod listed;
mod ran;
mod stored;
mod work;

pub(crate) use kept::*;
pub(crate) use listed::*;
pub(crate) use ran::*;
pub(crate) use stored::*;
pub(crate) use work::*;

/// All of them, with the plan that each should have.
#[cfg(test)]
pub(crate) fn all(backend: DbBackend) -> Vec<(&'static str, Plan, Statement)> {
    let jobs = ("job_accounts", Plan::Index(&["jobs_due", "jobs_fresh"]), job_accounts(THEN).statement(backend));
    let stored = stored::all(backend);
    [ran::all(backend), kept::all(backend), listed::all(backend), work::all(backend), stored, vec![jobs]].concat()
}

#[cfg(test)]
mod tests;
