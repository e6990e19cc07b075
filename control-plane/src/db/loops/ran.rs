//! Runs: their settlement, their blocks, their lists, and what is learned of them.

use super::*;

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
            .filter(Expr::cust(HELD))
            .filter(blocks::Column::LastRun.lt(Col(before)))
            .order_by_asc(blocks::Column::LastRun)
            .limit(most)
    }

    /// Deletes some headers of blocks that were sealed before a time. The last block of an account stays: the next one
    /// goes on from it.
    headers_too_old(before: Timestamp = THEN, most: u64 = 10) -> Raw, Plan::Index(&["blocks_origin"]), {
        let sql = "DELETE FROM blocks WHERE (account_id, number) IN (\
             SELECT old.account_id, old.number FROM blocks AS old WHERE old.origin < $1 AND old.root IS NULL \
             AND old.blob IS NULL \
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

    // Training.

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
    of_account.filter(Expr::cust(HELD))
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
