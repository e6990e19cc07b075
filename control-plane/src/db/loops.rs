//! The queries that loops ask again and again, whether or not there is something to do: every one is here, with the index
//! that answers it. A test asks the planners of both databases about each that is written with [`loop_queries`], so a new
//! one belongs here and nowhere else. (Look-ups by a whole primary key need no entry.)
//!
//! A partial index serves a query only where the planner sees that its condition holds: it stands in the query word for
//! word, and not as a parameter.

use protocol::{AccountId, FunctionId, JobId, Name, RunId, Timestamp, VersionId};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, Condition, DbBackend, DeleteMany, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect, Select, Statement, Value,
};

use super::columns::{Col, signed};
use super::entities::{
    accounts, blocks, checkpoints, functions, idempotency, invitations, job_steps, jobs, log_accounts, log_blocks,
    log_runs, messages, nodes, outbox, queues, run_logs, run_windows, runs, samples, sessions, sources, triggers,
    usage_sums, versions,
};

/// How the planner should answer a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "what the test compares plans with"))]
pub(crate) enum Plan {
    /// By the table's primary key.
    Key,
    /// By one of these indices.
    Index(&'static [&'static str]),
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
                ("job_accounts", Plan::Index(&["jobs_due", "jobs_fresh"]), job_accounts(THEN).statement(backend)),
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

const WAITS: &str = "state = 'queued'";
/// Accounts of whose settled runs some are in no block.
const UNPACKED: &str = "unpacked > 0";

/// Runs that did not succeed: a half of what the indices of runs that went wrong have.
pub(crate) const UNSUCCESSFUL: &str = "outcome <> 'succeeded'";
/// Runs whose answer is an error, whoever made it: the other half.
pub(crate) const ERROR_STATUS: &str = "status >= 400";

/// What is read of many blocks of logs.
const LOG_BLOCK: [log_blocks::Column; 9] = [
    log_blocks::Column::Number,
    log_blocks::Column::FirstLine,
    log_blocks::Column::LastLine,
    log_blocks::Column::FirstRun,
    log_blocks::Column::Began,
    log_blocks::Column::Ended,
    log_blocks::Column::Lines,
    log_blocks::Column::Root,
    log_blocks::Column::Functions,
];

/// The indices that have a period's sums of usage together.
#[cfg(test)]
const USAGE_KEYS: &[&str] = &["sqlite_autoindex_usage_sums_1", "usage_sums_pkey", "usage_sums_began"];

loop_queries! {
    // Settlement.

    /// Runs whose other half has not come.
    runs_overdue(since: Timestamp = THEN) -> Select<runs::Entity>, Plan::Index(&["runs_open"]), {
        let open = runs::Entity::find().filter(Expr::col(runs::Column::Settled).not());
        open.filter(runs::Column::Arrived.lt(Col(since)))
    }

    /// All accounts' histories.
    run_windows_all() -> Select<run_windows::Entity>, Plan::Whole, { run_windows::Entity::find() }

    /// Accounts whose settled runs wait for a block since before a time, the longest first.
    run_windows_waiting(before: Timestamp = THEN, most: u64 = 10) -> Select<run_windows::Entity>, Plan::Index(&["run_windows_waiting"]), {
        run_windows::Entity::find()
            .filter(Expr::cust(UNPACKED))
            .filter(run_windows::Column::UnpackedSince.lt(Col(before)))
            .order_by_asc(run_windows::Column::UnpackedSince)
            .limit(most)
    }

    /// Accounts of whose settled runs so many wait for a block, the most first.
    run_windows_full(runs: u64 = 10, most: u64 = 10) -> Select<run_windows::Entity>, Plan::Index(&["run_windows_full"]), {
        run_windows::Entity::find()
            .filter(Expr::cust(UNPACKED))
            .filter(run_windows::Column::Unpacked.gte(signed(runs)))
            .order_by_desc(run_windows::Column::Unpacked)
            .limit(most)
    }

    /// An account's settled runs that are in no block yet, the oldest first.
    runs_to_pack(account: AccountId = sample(AccountId::from_uuid)) -> Select<runs::Entity>, Plan::Index(&["runs_unpacked"]), {
        runs::Entity::find()
            .filter(runs::Column::AccountId.eq(Col(account)))
            .filter(Expr::col(runs::Column::Settled))
            .filter(runs::Column::Block.is_null())
            .order_by_asc(runs::Column::RunId)
    }

    /// Rows that began before this one and may go, because a block has them: their ids and whose they are. What the
    /// gateway's half may still correct stays, where its first half came at `unseen` or later.
    runs_to_evict(before: RunId = sample(RunId::from_uuid), unseen: Timestamp = THEN, most: u64 = 10) -> Select<runs::Entity>, Plan::Key, {
        let unseen = runs::Column::Arrived.lt(Col(unseen));
        runs::Entity::find()
            .select_only()
            .columns([runs::Column::RunId, runs::Column::AccountId])
            .filter(runs::Column::RunId.lt(Col(before)))
            .filter(runs::Column::Block.is_not_null())
            .filter(Condition::any().add(runs::Column::Observed.is_not_null()).add(unseen))
            .order_by_asc(runs::Column::RunId)
            .limit(most)
    }

    /// An account's last block.
    blocks_last(account: AccountId = sample(AccountId::from_uuid)) -> Select<blocks::Entity>, Plan::Key, {
        let of_account = blocks::Entity::find().filter(blocks::Column::AccountId.eq(Col(account)));
        of_account.order_by_desc(blocks::Column::Number).limit(1)
    }

    /// An account's blocks that have a body and a run with this id or a later one, in the order of their last runs.
    blocks_since(account: AccountId = sample(AccountId::from_uuid), first: RunId = sample(RunId::from_uuid)) -> Select<blocks::Entity>, Plan::Index(&["blocks_held"]), {
        blocks_held(account).filter(blocks::Column::LastRun.gte(Col(first))).order_by_asc(blocks::Column::LastRun)
    }

    /// An account's blocks that have a body and no run with this id or a later one, the newest first.
    blocks_before(account: AccountId = sample(AccountId::from_uuid), run: RunId = sample(RunId::from_uuid), most: u64 = 10) -> Select<blocks::Entity>, Plan::Index(&["blocks_held"]), {
        let before = blocks_held(account).filter(blocks::Column::LastRun.lt(Col(run)));
        before.order_by_desc(blocks::Column::LastRun).limit(most)
    }

    /// The block of an account that has a body and the oldest last run.
    blocks_oldest(account: AccountId = sample(AccountId::from_uuid)) -> Select<blocks::Entity>, Plan::Index(&["blocks_held"]), {
        blocks_held(account).order_by_asc(blocks::Column::LastRun).limit(1)
    }

    /// The one that has the newest.
    blocks_newest(account: AccountId = sample(AccountId::from_uuid)) -> Select<blocks::Entity>, Plan::Index(&["blocks_held"]), {
        blocks_held(account).order_by_desc(blocks::Column::LastRun).limit(1)
    }

    /// Blocks that have a body, and only runs that began before this one, whosever they are.
    blocks_to_forget(before: RunId = sample(RunId::from_uuid), most: u64 = 10) -> Select<blocks::Entity>, Plan::Index(&["blocks_bodies"]), {
        blocks::Entity::find()
            .filter(blocks::Column::Root.is_not_null())
            .filter(blocks::Column::LastRun.lt(Col(before)))
            .order_by_asc(blocks::Column::LastRun)
            .limit(most)
    }

    /// Deletes some headers of blocks that were sealed before a time. The last block of an account stays: the next one
    /// goes on from it.
    headers_too_old(before: Timestamp = THEN, most: u64 = 10) -> Raw, Plan::Index(&["blocks_origin"]), {
        let sql = "DELETE FROM blocks WHERE (account_id, number) IN (\
             SELECT old.account_id, old.number FROM blocks AS old WHERE old.origin < $1 AND old.root IS NULL \
             AND EXISTS (SELECT 1 FROM blocks AS newer WHERE newer.account_id = old.account_id \
             AND newer.number > old.number) \
             ORDER BY old.origin LIMIT $2)";
        Raw { sql, values: vec![Col(before).into(), signed(most).into()] }
    }

    // Lists of runs, the newest first. Portals ask every two seconds.

    /// An account's runs.
    runs_of_account(account: AccountId = sample(AccountId::from_uuid)) -> Select<runs::Entity>, Plan::Index(&["runs_account"]), {
        let of_account = runs::Entity::find().filter(runs::Column::AccountId.eq(Col(account)));
        of_account.order_by_desc(runs::Column::RunId)
    }

    /// A function's runs.
    runs_of_function(account: AccountId = sample(AccountId::from_uuid), function: FunctionId = sample(FunctionId::from_uuid)) -> Select<runs::Entity>, Plan::Index(&["runs_function"]), {
        runs_of_account(account).filter(runs::Column::FunctionId.eq(Col(function)))
    }

    /// An account's runs that went wrong: [`UNSUCCESSFUL`] or [`ERROR_STATUS`].
    runs_wrong_of_account(account: AccountId = sample(AccountId::from_uuid), how: &'static str = UNSUCCESSFUL) -> Select<runs::Entity>, Plan::Index(&["runs_wrong"]), {
        runs_of_account(account).filter(Expr::cust(how))
    }

    /// A function's runs that went wrong.
    runs_wrong_of_function(account: AccountId = sample(AccountId::from_uuid), function: FunctionId = sample(FunctionId::from_uuid), how: &'static str = ERROR_STATUS) -> Select<runs::Entity>, Plan::Index(&["runs_function_wrong"]), {
        runs_of_function(account, function).filter(Expr::cust(how))
    }

    /// Sums of usage by their keys.
    usage_rows(wanted: Vec<UsageRows> = vec![(sample(AccountId::from_uuid), 60, THEN, vec![vec![7; 16], vec![8; 16]])]) -> Select<usage_sums::Entity>, Plan::Index(USAGE_KEYS), {
        let of_period = |(account, span, began, ids): UsageRows| {
            period(account, span, began).add(usage_sums::Column::Id.is_in(ids))
        };
        let any = wanted.into_iter().map(of_period).fold(Condition::any(), Condition::add);
        usage_sums::Entity::find().filter(any)
    }

    /// How many sums of usage there are of each of these periods.
    usage_counts(wanted: Vec<(AccountId, i32, Timestamp)> = vec![(sample(AccountId::from_uuid), 60, THEN)]) -> Select<usage_sums::Entity>, Plan::Index(USAGE_KEYS), {
        let of_period = |(account, span, began)| period(account, span, began);
        let any = wanted.into_iter().map(of_period).fold(Condition::any(), Condition::add);
        let key = [usage_sums::Column::AccountId, usage_sums::Column::Span, usage_sums::Column::Began];
        let counted = usage_sums::Entity::find().select_only().columns(key).filter(any);
        let counted = counted.column_as(usage_sums::Column::Id.count(), "rows");
        key.into_iter().fold(counted, QuerySelect::group_by)
    }

    // Housekeeping.

    /// When the newest source but so many was heard last.
    sources_nth(newer: u64 = 10) -> Select<sources::Entity>, Plan::Index(&["sources_seen"]), {
        let times = sources::Entity::find().select_only().column(sources::Column::Seen);
        times.order_by_desc(sources::Column::Seen).offset(newer).limit(1)
    }

    /// Sources that were heard last before a time.
    sources_to_forget(before: Timestamp = THEN, most: u64 = 10) -> Select<sources::Entity>, Plan::Index(&["sources_seen"]), {
        sources::Entity::find()
            .select_only()
            .column(sources::Column::Epoch)
            .filter(sources::Column::Seen.lt(Col(before)))
            .order_by_asc(sources::Column::Seen)
            .limit(most)
    }

    /// Sums of usage of minutes or hours that are kept no longer.
    usage_too_old(span: i32 = 60, before: Timestamp = THEN, most: u64 = 10) -> Raw, Plan::Index(&["usage_sums_began"]), {
        let sql = "DELETE FROM usage_sums WHERE (account_id, span, began, id) IN (\
             SELECT account_id, span, began, id FROM usage_sums WHERE span = $1 AND began < $2 ORDER BY began LIMIT $3)";
        Raw { sql, values: vec![span.into(), Col(before).into(), signed(most).into()] }
    }

    /// Accounts whose logs have rows.
    log_accounts_with_rows() -> Select<log_accounts::Entity>, Plan::Index(&["log_accounts_rows"]), {
        log_accounts::Entity::find().filter(Expr::cust("row_count > 0"))
    }

    /// Accounts that have blocks of logs.
    log_accounts_with_blocks() -> Select<log_accounts::Entity>, Plan::Whole, {
        log_accounts::Entity::find().filter(log_accounts::Column::Bytes.gt(0_i64))
    }

    /// An account's lines after one.
    log_lines_of_account(account: AccountId = sample(AccountId::from_uuid), after: i64 = 10, most: u64 = 10) -> Select<run_logs::Entity>, Plan::Index(&["run_logs_account"]), {
        run_logs::Entity::find()
            .filter(run_logs::Column::AccountId.eq(Col(account)))
            .filter(run_logs::Column::Id.gt(after))
            .order_by_asc(run_logs::Column::Id)
            .limit(most)
    }

    /// An account's last block of logs that was packed before a time.
    log_block_packed(account: AccountId = sample(AccountId::from_uuid), before: Timestamp = THEN) -> Select<log_blocks::Entity>, Plan::Index(&["log_blocks_lines"]), {
        log_blocks::Entity::find()
            .filter(log_blocks::Column::AccountId.eq(Col(account)))
            .filter(log_blocks::Column::Packed.lt(Col(before)))
            .order_by_desc(log_blocks::Column::LastLine)
            .limit(1)
    }

    /// Old blocks of logs: whose, and their numbers.
    log_blocks_too_old(before: Timestamp = THEN, most: u64 = 10) -> Select<log_blocks::Entity>, Plan::Index(&["log_blocks_ended"]), {
        log_blocks::Entity::find()
            .select_only()
            .columns([log_blocks::Column::AccountId, log_blocks::Column::Number])
            .filter(log_blocks::Column::Ended.lt(Col(before)))
            .order_by_asc(log_blocks::Column::Ended)
            .limit(most)
    }

    /// Runs that write no more.
    log_runs_over(before: Timestamp = THEN, most: u64 = 10) -> Select<log_runs::Entity>, Plan::Index(&["log_runs_until"]), {
        log_runs::Entity::find()
            .select_only()
            .column(log_runs::Column::RunId)
            .filter(log_runs::Column::Until.lt(Col(before)))
            .order_by_asc(log_runs::Column::Until)
            .limit(most)
    }

    /// The time of the oldest checkpoint but so many, where it is old.
    checkpoints_nth(before: Timestamp = THEN, older: u64 = 10) -> Select<checkpoints::Entity>, Plan::Index(&["checkpoints_created"]), {
        checkpoints::Entity::find()
            .select_only()
            .column(checkpoints::Column::Created)
            .filter(checkpoints::Column::Created.lt(Col(before)))
            .order_by_asc(checkpoints::Column::Created)
            .offset(older)
            .limit(1)
    }

    /// Old checkpoints.
    checkpoints_too_old(before: Timestamp = THEN) -> DeleteMany<checkpoints::Entity>, Plan::Index(&["checkpoints_created"]), {
        checkpoints::Entity::delete_many().filter(checkpoints::Column::Created.lt(Col(before)))
    }

    /// The ids of jobs that ended long ago, and whose end was told.
    jobs_to_forget(before: Timestamp = THEN, most: u64 = 10) -> Select<jobs::Entity>, Plan::Index(&["jobs_old"]), {
        jobs::Entity::find()
            .select_only()
            .column(jobs::Column::Id)
            .filter(jobs::Column::Ended.lt(Col(before)))
            .filter(jobs::Column::WebhookDue.is_null())
            .order_by_asc(jobs::Column::Ended)
            .limit(most)
    }

    /// Jobs that have ended.
    jobs_ended() -> Select<jobs::Entity>, Plan::Index(&["jobs_old"]), {
        jobs::Entity::find().filter(jobs::Column::Ended.is_not_null())
    }

    /// All queues: each has an age of its own.
    queues_all() -> Select<queues::Entity>, Plan::Whole, { queues::Entity::find() }

    /// A message of a queue that is too old.
    message_too_old(account: AccountId = sample(AccountId::from_uuid), queue: Name = "orders".parse().unwrap(), before: Timestamp = THEN) -> Select<messages::Entity>, Plan::Index(&["queue_messages_put"]), {
        messages::Entity::find()
            .filter(messages::Column::AccountId.eq(Col(account)))
            .filter(messages::Column::Queue.eq(Col(queue)))
            .filter(messages::Column::Put.lt(Col(before)))
            .limit(1)
    }

    /// Messages of a queue that are too old.
    messages_too_old(account: AccountId = sample(AccountId::from_uuid), queue: Name = "orders".parse().unwrap(), before: Timestamp = THEN) -> DeleteMany<messages::Entity>, Plan::Index(&["queue_messages_put"]), {
        messages::Entity::delete_many()
            .filter(messages::Column::AccountId.eq(Col(account)))
            .filter(messages::Column::Queue.eq(Col(queue)))
            .filter(messages::Column::Put.lt(Col(before)))
    }

    /// The ids of answers that are kept no longer.
    answers_too_old(before: Timestamp = THEN, most: u64 = 10) -> Select<idempotency::Entity>, Plan::Index(&["idempotency_created"]), {
        idempotency::Entity::find()
            .select_only()
            .column(idempotency::Column::Id)
            .filter(idempotency::Column::Created.lt(Col(before)))
            .order_by_asc(idempotency::Column::Created)
            .limit(most)
    }

    /// Invitations that ended long ago.
    invitations_too_old(before: Timestamp = THEN) -> DeleteMany<invitations::Entity>, Plan::Index(&["invitations_expires"]), {
        invitations::Entity::delete_many().filter(invitations::Column::Expires.lt(Col(before)))
    }

    /// Log-ins that are over. Each user has a bounded number of them.
    sessions_expired(now: Timestamp = THEN) -> DeleteMany<sessions::Entity>, Plan::Index(&["sessions_expires"]), {
        sessions::Entity::delete_many().filter(sessions::Column::Expires.lt(Col(now)))
    }

    /// Functions that were deleted before a time and left something behind, the earliest first, without those of some
    /// accounts.
    functions_to_purge(before: Timestamp = THEN, without: &[AccountId] = &[sample(AccountId::from_uuid)], most: u64 = 10) -> Select<functions::Entity>, Plan::Index(&["functions_deleted"]), {
        let mut query = functions::Entity::find()
            .filter(Expr::cust("deleted IS NOT NULL AND purged IS NULL"))
            .filter(functions::Column::Deleted.lt(Col(before)))
            .order_by_asc(functions::Column::Deleted)
            .limit(most);
        if !without.is_empty() {
            let accounts = without.iter().map(|account| Col(*account));
            query = query.filter(functions::Column::AccountId.is_not_in(accounts));
        }
        query
    }

    /// An account's oldest run.
    runs_first(account: AccountId = sample(AccountId::from_uuid)) -> Select<runs::Entity>, Plan::Index(&["runs_account"]), {
        runs::Entity::find()
            .select_only()
            .column(runs::Column::RunId)
            .filter(runs::Column::AccountId.eq(Col(account)))
            .order_by_asc(runs::Column::RunId)
            .limit(1)
    }

    /// An account's oldest job.
    jobs_first(account: AccountId = sample(AccountId::from_uuid)) -> Select<jobs::Entity>, Plan::Index(&["jobs_account"]), {
        jobs::Entity::find()
            .select_only()
            .column(jobs::Column::Id)
            .filter(jobs::Column::AccountId.eq(Col(account)))
            .order_by_asc(jobs::Column::Id)
            .limit(1)
    }

    /// Whether there are sums of a function's days.
    usage_of_function(account: AccountId = sample(AccountId::from_uuid), function: FunctionId = sample(FunctionId::from_uuid), from: Timestamp = THEN, to: Timestamp = THEN) -> Raw, Plan::Index(USAGE_KEYS), {
        let sql = "SELECT 1 FROM usage_sums WHERE account_id = $1 AND span = 86400 AND began >= $2 AND began < $3 \
             AND function_id = $4 LIMIT 1";
        Raw { sql, values: vec![Col(account).into(), Col(from).into(), Col(to).into(), Col(function).into()] }
    }

    /// Accounts that were deleted, and of which something is left.
    accounts_to_erase(most: u64 = 10) -> Select<accounts::Entity>, Plan::Index(&["accounts_to_erase"]), {
        accounts::Entity::find()
            .filter(Expr::cust("deleted IS NOT NULL AND erased IS NULL"))
            .order_by_asc(accounts::Column::Deleted)
            .limit(most)
    }

    // Jobs.

    /// Jobs that somebody has cancelled while they were on a node.
    jobs_cancelling() -> Select<jobs::Entity>, Plan::Index(&["jobs_cancelling"]), {
        jobs::Entity::find().filter(Expr::col(jobs::Column::Cancelling))
    }

    /// An account's next jobs, without those of some versions.
    jobs_next(account: AccountId = sample(AccountId::from_uuid), now: Timestamp = THEN, without: &[VersionId] = &[sample(VersionId::from_uuid)], most: u64 = 10) -> Select<jobs::Entity>, Plan::Index(&["jobs_waiting", "jobs_due"]), {
        let mut query = jobs::Entity::find()
            .filter(jobs::Column::AccountId.eq(Col(account)))
            .filter(Expr::cust(WAITS))
            .filter(due(now))
            .order_by_asc(jobs::Column::Place)
            .limit(most);
        if !without.is_empty() {
            query = query.filter(jobs::Column::VersionId.is_not_in(without.iter().map(|version| Col(*version))));
        }
        query
    }

    /// Jobs that are on nodes, by the rows.
    jobs_on_nodes(most: u64 = 10) -> Select<jobs::Entity>, Plan::Index(&["jobs_placed"]), {
        jobs::Entity::find().filter(Expr::cust("state IN ('placed', 'running')")).limit(most)
    }

    /// All nodes.
    nodes_all() -> Select<nodes::Entity>, Plan::Whole, { nodes::Entity::find() }

    /// Jobs whose end is to be told.
    webhooks_due(now: Timestamp = THEN, most: u64 = 10) -> Select<jobs::Entity>, Plan::Index(&["jobs_webhooks"]), {
        let due = jobs::Entity::find().filter(jobs::Column::WebhookDue.lte(Col(now)));
        due.order_by_asc(jobs::Column::WebhookDue).limit(most)
    }

    /// What changed of an account's jobs, or of one of them.
    jobs_changed(account: AccountId = sample(AccountId::from_uuid), after: i64 = 10, only: Option<JobId> = None, most: u64 = 10) -> Select<jobs::Entity>, Plan::Index(&["jobs_changes"]), {
        let query = jobs::Entity::find()
            .filter(jobs::Column::AccountId.eq(Col(account)))
            .filter(jobs::Column::Revision.gt(after))
            .order_by_asc(jobs::Column::Revision)
            .limit(most);
        match only {
            Some(job) => query.filter(jobs::Column::Id.eq(Col(job))),
            None => query,
        }
    }

    /// What an account's jobs that are on nodes may use. Portals ask every few seconds.
    jobs_on_nodes_of(account: AccountId = sample(AccountId::from_uuid), most: u64 = 10) -> Select<jobs::Entity>, Plan::Index(&["jobs_running"]), {
        jobs::Entity::find()
            .select_only()
            .column(jobs::Column::Limits)
            .filter(jobs::Column::AccountId.eq(Col(account)))
            .filter(Expr::cust("state IN ('placed', 'running')"))
            .limit(most)
    }

    /// Those of these runs that were tries of jobs, and are over: their jobs wait again, or were cancelled.
    job_tries_over(runs: &[RunId] = &[sample(RunId::from_uuid)]) -> Select<job_steps::Entity>, Plan::Index(&["job_steps_over"]), {
        job_steps::Entity::find()
            .select_only()
            .column(job_steps::Column::RunId)
            .filter(Expr::cust("state IN ('queued', 'cancelled') AND run_id IS NOT NULL"))
            .filter(job_steps::Column::RunId.is_in(runs.iter().map(|run| Col(*run))))
    }

    // Triggers and queues.

    /// Triggers whose time has come.
    triggers_due(now: Timestamp = THEN, most: u64 = 10) -> Select<triggers::Entity>, Plan::Index(&["triggers_due"]), {
        triggers::Entity::find()
            .filter(triggers::Column::Next.lte(Col(now)))
            .filter(triggers::Column::Paused.eq(false))
            .order_by_asc(triggers::Column::Next)
            .limit(most)
    }

    /// Triggers that take from a queue.
    triggers_of_queues() -> Select<triggers::Entity>, Plan::Index(&["triggers_queues"]), {
        let of_queues = triggers::Entity::find().filter(triggers::Column::Queue.is_not_null());
        of_queues.filter(triggers::Column::Paused.eq(false))
    }

    /// The oldest messages that wait in a queue.
    messages_waiting(account: AccountId = sample(AccountId::from_uuid), queue: Name = "orders".parse().unwrap(), now: Timestamp = THEN, most: u64 = 10) -> Select<messages::Entity>, Plan::Index(&["queue_messages_order", "queue_messages_waiting"]), {
        messages::Entity::find()
            .filter(messages::Column::AccountId.eq(Col(account)))
            .filter(messages::Column::Queue.eq(Col(queue)))
            .filter(messages::Column::Dead.eq(false))
            .filter(messages::Column::Visible.lte(Col(now)))
            .order_by_asc(messages::Column::Id)
            .limit(most)
    }

    // Versions, routes, logs, training.

    /// Versions that are to be prepared.
    versions_compiling(most: u64 = 10) -> Select<versions::Entity>, Plan::Index(&["versions_compiling"]), {
        let compiling = versions::Entity::find().filter(Expr::cust("state = 'compiling'"));
        compiling.order_by_asc(versions::Column::Id).limit(most)
    }

    /// What is to be published next.
    outbox_after(published: i64 = 10) -> Select<outbox::Entity>, Plan::Key, {
        outbox::Entity::find()
            .filter(outbox::Column::Revision.gt(published))
            .order_by_asc(outbox::Column::Revision)
            .order_by_asc(outbox::Column::Part)
    }

    /// What has been published.
    outbox_published(revision: i64 = 10) -> DeleteMany<outbox::Entity>, Plan::Key, {
        outbox::Entity::delete_many().filter(outbox::Column::Revision.lte(revision))
    }

    /// A function's lines after one.
    log_lines_after(account: AccountId = sample(AccountId::from_uuid), function: FunctionId = sample(FunctionId::from_uuid), after: i64 = 10, most: u64 = 10) -> Select<run_logs::Entity>, Plan::Index(&["run_logs_function"]), {
        run_logs::Entity::find()
            .filter(run_logs::Column::AccountId.eq(Col(account)))
            .filter(run_logs::Column::FunctionId.eq(Col(function)))
            .filter(run_logs::Column::Id.gt(after))
            .order_by_asc(run_logs::Column::Id)
            .limit(most)
    }

    /// An account's blocks of logs with lines after one, the oldest first, without their filters.
    log_blocks_after(account: AccountId = sample(AccountId::from_uuid), after: i64 = 10, most: u64 = 10) -> Select<log_blocks::Entity>, Plan::Index(&["log_blocks_lines"]), {
        log_blocks::Entity::find()
            .select_only()
            .columns(LOG_BLOCK)
            .filter(log_blocks::Column::AccountId.eq(Col(account)))
            .filter(log_blocks::Column::LastLine.gt(after))
            .order_by_asc(log_blocks::Column::LastLine)
            .limit(most)
    }

    /// Those that end before a line, the newest first.
    log_blocks_before(account: AccountId = sample(AccountId::from_uuid), before: i64 = 10, most: u64 = 10) -> Select<log_blocks::Entity>, Plan::Index(&["log_blocks_lines"]), {
        log_blocks::Entity::find()
            .select_only()
            .columns(LOG_BLOCK)
            .filter(log_blocks::Column::AccountId.eq(Col(account)))
            .filter(log_blocks::Column::LastLine.lt(before))
            .order_by_desc(log_blocks::Column::LastLine)
            .limit(most)
    }

    /// An account's blocks of logs that may have lines of a run, with their filters, after one of them.
    log_blocks_of_run(account: AccountId = sample(AccountId::from_uuid), run: RunId = sample(RunId::from_uuid), after: i64 = 10, most: u64 = 10) -> Select<log_blocks::Entity>, Plan::Key, {
        log_blocks::Entity::find()
            .filter(log_blocks::Column::AccountId.eq(Col(account)))
            .filter(log_blocks::Column::Number.gt(after))
            .filter(log_blocks::Column::FirstRun.lte(Col(run)))
            .filter(log_blocks::Column::LastRun.gte(Col(run)))
            .order_by_asc(log_blocks::Column::Number)
            .limit(most)
    }

    /// Runs that a gateway saw and a node did, since one.
    runs_to_learn_since(since: RunId = sample(RunId::from_uuid), but: u64 = 10) -> Select<runs::Entity>, Plan::Key, {
        let after = learned().filter(runs::Column::RunId.gte(Col(since))).order_by_asc(runs::Column::RunId);
        after.offset(but).limit(1)
    }

    /// The newest of them.
    runs_to_learn(most: u64 = 10) -> Select<runs::Entity>, Plan::Key, {
        learned().order_by_desc(runs::Column::RunId).limit(most)
    }

    /// Samples of such runs, since one.
    samples_since(since: RunId = sample(RunId::from_uuid), but: u64 = 10) -> Select<samples::Entity>, Plan::Index(&["samples_run"]), {
        let after = samples::Entity::find().filter(samples::Column::RunId.gte(Col(since)));
        after.order_by_asc(samples::Column::RunId).offset(but).limit(1)
    }

    /// The newest samples.
    samples_to_learn(most: u64 = 10) -> Select<samples::Entity>, Plan::Index(&["samples_run"]), {
        samples::Entity::find().order_by_desc(samples::Column::RunId).limit(most)
    }
}

fn blocks_held(account: AccountId) -> Select<blocks::Entity> {
    let of_account = blocks::Entity::find().filter(blocks::Column::AccountId.eq(Col(account)));
    of_account.filter(blocks::Column::Root.is_not_null())
}

fn period(account: AccountId, span: i32, began: Timestamp) -> Condition {
    Condition::all()
        .add(usage_sums::Column::AccountId.eq(Col(account)))
        .add(usage_sums::Column::Span.eq(span))
        .add(usage_sums::Column::Began.eq(Col(began)))
}

fn learned() -> Select<runs::Entity> {
    runs::Entity::find()
        .filter(runs::Column::NodeId.is_not_null())
        .filter(runs::Column::Observed.is_not_null())
        .filter(runs::Column::Warm.is_not_null())
}

/// What is due. A job that was never tried and has no time of its own is, whatever the clock says: it may have jumped
/// back since the job was submitted.
fn due(now: Timestamp) -> Condition {
    Condition::any().add(jobs::Column::Due.lte(Col(now))).add(Expr::cust(FRESH))
}

const FRESH: &str = "(not_before IS NULL AND attempts = 0 AND losses = 0 AND turns = 0)";

/// Accounts with jobs that could go now. From one account to the next by the index: however many jobs of one wait, it
/// costs one look.
pub(crate) fn job_accounts(now: Timestamp) -> Raw {
    let sql = "WITH RECURSIVE line (account) AS (\
         SELECT (SELECT account_id FROM jobs WHERE state = 'queued' ORDER BY account_id LIMIT 1) \
         UNION ALL \
         SELECT (SELECT account_id FROM jobs WHERE state = 'queued' AND account_id > line.account \
                 ORDER BY account_id LIMIT 1) \
         FROM line WHERE line.account IS NOT NULL) \
         SELECT account FROM line WHERE account IS NOT NULL AND (\
         EXISTS (SELECT 1 FROM jobs WHERE state = 'queued' AND account_id = line.account AND due <= $1) \
         OR EXISTS (SELECT 1 FROM jobs WHERE state = 'queued' AND account_id = line.account \
                    AND not_before IS NULL AND attempts = 0 AND losses = 0 AND turns = 0))";
    Raw { sql, values: vec![Col(now).into()] }
}

#[cfg(test)]
mod tests;
