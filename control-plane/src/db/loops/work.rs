//! Work that waits: jobs, triggers and queues, versions to prepare, routes to publish, lines to read.

use super::*;

loop_queries! {
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
    jobs_on_nodes(most: u64 = 10) -> Select<jobs::Entity>, Plan::Index(&["jobs_placed", "jobs_running"]), {
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

    /// Accounts that the operator vouches for.
    accounts_vouched() -> Select<accounts::Entity>, Plan::Index(&["accounts_vouched"]), {
        accounts::Entity::find()
            .select_only()
            .column(accounts::Column::Id)
            .filter(accounts::Column::Vouched.is_not_null())
    }

    // Versions, routes, logs.

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
    log_lines_after(account: AccountId = sample(AccountId::from_uuid), function: FunctionId = sample(FunctionId::from_uuid), after: i64 = 10, most: u64 = 10) -> Select<run_logs::Entity>, Plan::Index(&["run_logs_function", "run_logs_account"]), {
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
