//! Housekeeping: what is kept no longer.

use super::*;

loop_queries! {
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

    /// Deletes some old checks of nodes.
    node_checks_too_old(before: Timestamp = THEN, most: u64 = 10) -> Raw, Plan::Index(&["node_checks_at"]), {
        let sql = "DELETE FROM node_checks WHERE run_id IN (\
             SELECT run_id FROM node_checks WHERE at < $1 ORDER BY at LIMIT $2)";
        Raw { sql, values: vec![Col(before).into(), signed(most).into()] }
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
    jobs_ended() -> Select<jobs::Entity>, Plan::Index(&["jobs_old", "jobs_by_end"]), {
        jobs::Entity::find().filter(jobs::Column::Ended.is_not_null())
    }

    /// All queues: each has an age of its own.
    queues_all() -> Select<queues::Entity>, Plan::Whole, { queues::Entity::find() }

    /// The ids of messages of a queue that are too old.
    messages_too_old(account: AccountId = sample(AccountId::from_uuid), queue: Name = "orders".parse().unwrap(), before: Timestamp = THEN, most: u64 = 10) -> Select<messages::Entity>, Plan::Index(&["queue_messages_put"]), {
        messages::Entity::find()
            .select_only()
            .column(messages::Column::Id)
            .filter(messages::Column::AccountId.eq(Col(account)))
            .filter(messages::Column::Queue.eq(Col(queue)))
            .filter(messages::Column::Put.lt(Col(before)))
            .order_by_asc(messages::Column::Put)
            .limit(most)
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

    /// The revisions of changes that are kept no longer.
    audit_too_old(before: Timestamp = THEN, most: u64 = 10) -> Select<audit::Entity>, Plan::Index(&["audit_at"]), {
        audit::Entity::find()
            .select_only()
            .column(audit::Column::Revision)
            .filter(audit::Column::At.lt(Col(before)))
            .order_by_asc(audit::Column::At)
            .limit(most)
    }

    /// An account's changes in a period, the newest first, after one of them: its time and revision.
    audit_page(account: AccountId = sample(AccountId::from_uuid), period: (Timestamp, Timestamp) = (THEN, THEN), after: Option<(Timestamp, i64)> = Some((THEN, 7)), most: u64 = 10) -> Select<audit::Entity>, Plan::Index(&["audit_account"]), {
        let (from, to) = period;
        let mut query = audit::Entity::find()
            .filter(audit::Column::AccountId.eq(Col(account)))
            .filter(audit::Column::At.gte(Col(from)))
            .filter(audit::Column::At.lt(Col(to)))
            .order_by_desc(audit::Column::At)
            .order_by_desc(audit::Column::Revision)
            .limit(most);
        if let Some((at, revision)) = after {
            // Of one millisecond there may be several.
            let earlier = audit::Column::At.lt(Col(at)).or(audit::Column::Revision.lt(revision));
            query = query.filter(audit::Column::At.lte(Col(at))).filter(earlier);
        }
        query
    }

    /// Deletes some invitations that ended long ago.
    invitations_too_old(before: Timestamp = THEN, most: u64 = 10) -> Raw, Plan::Index(&["invitations_expires"]), {
        let sql = "DELETE FROM invitations WHERE id IN (\
             SELECT id FROM invitations WHERE expires < $1 ORDER BY expires LIMIT $2)";
        Raw { sql, values: vec![Col(before).into(), signed(most).into()] }
    }

    /// Deletes some tokens of machines that ended long ago.
    node_tokens_too_old(before: Timestamp = THEN, most: u64 = 10) -> Raw, Plan::Index(&["node_tokens_expires"]), {
        let sql = "DELETE FROM node_tokens WHERE id IN (\
             SELECT id FROM node_tokens WHERE expires < $1 ORDER BY expires LIMIT $2)";
        Raw { sql, values: vec![Col(before).into(), signed(most).into()] }
    }

    /// Deletes some log-ins that are over.
    sessions_expired(now: Timestamp = THEN, most: u64 = 10) -> Raw, Plan::Index(&["sessions_expires"]), {
        let sql = "DELETE FROM sessions WHERE id IN (\
             SELECT id FROM sessions WHERE expires < $1 ORDER BY expires LIMIT $2)";
        Raw { sql, values: vec![Col(now).into(), signed(most).into()] }
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

    /// The next objects of an earlier release that artifacts have.
    artifacts_to_move(after: String = String::new(), most: u64 = 10) -> Raw, Plan::Order(&["artifacts_root"]), {
        let sql = "SELECT root FROM artifacts WHERE root IS NOT NULL AND root > $1 GROUP BY root ORDER BY root LIMIT $2";
        Raw { sql, values: vec![after.into(), signed(most).into()] }
    }

    /// The next objects of an earlier release that inputs of jobs have.
    job_inputs_to_move(after: String = String::new(), most: u64 = 10) -> Raw, Plan::Order(&["job_inputs_root"]), {
        let sql = "SELECT root FROM job_inputs WHERE root IS NOT NULL AND root > $1 GROUP BY root ORDER BY root LIMIT $2";
        Raw { sql, values: vec![after.into(), signed(most).into()] }
    }

    /// The next objects of an earlier release that outputs of jobs have.
    job_outputs_to_move(after: String = String::new(), most: u64 = 10) -> Raw, Plan::Order(&["job_outputs_root"]), {
        let sql = "SELECT root FROM job_outputs WHERE root IS NOT NULL AND root > $1 GROUP BY root ORDER BY root LIMIT $2";
        Raw { sql, values: vec![after.into(), signed(most).into()] }
    }

    /// The next objects of an earlier release that blocks of runs have.
    blocks_to_move(after: String = String::new(), most: u64 = 10) -> Raw, Plan::Order(&["blocks_root"]), {
        let sql = "SELECT root FROM blocks WHERE root IS NOT NULL AND root > $1 GROUP BY root ORDER BY root LIMIT $2";
        Raw { sql, values: vec![after.into(), signed(most).into()] }
    }

    /// The next objects of an earlier release that blocks of logs have.
    log_blocks_to_move(after: String = String::new(), most: u64 = 10) -> Raw, Plan::Order(&["log_blocks_root"]), {
        let sql = "SELECT root FROM log_blocks WHERE root IS NOT NULL AND root > $1 GROUP BY root ORDER BY root LIMIT $2";
        Raw { sql, values: vec![after.into(), signed(most).into()] }
    }
}
