//! Logs of runs: kept as they come, read by run, or followed by function.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use fabric::shares::Held;
use futures::Stream;
use protocol::node::{LogLine, RunLog};
use protocol::route::Scope;
use protocol::ticket::{Purpose, Ticket};
use protocol::{AccountId, Code, Field, FunctionId, Millis, NodeId, RunId, Timestamp};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use serde::Deserialize;
use tokio::sync::watch;

use crate::App;
use crate::db::columns::{Col, signed};
use crate::db::count;
use crate::db::entities::run_logs;
use crate::db::loops;
use crate::error::{Error, Result, invalid, refuse_field};
use crate::finite::Bounds;
use crate::identity::caller::Caller;
use crate::identity::standing::Standing;

const LINES_PER_BATCH_MAX: usize = 20_000;
const ROWS_MAX: usize = 500;
const PAGE: u64 = 500;
/// Old lines that one statement deletes.
const PRUNE_ROWS_MAX: u64 = 2_000;
/// Without `since` a reader gets so many of the last lines.
const TAIL: u64 = 200;
/// Lines that another process has kept are looked for so often.
const POLL: Duration = Duration::from_millis(1000);

/// What followers wait on.
#[derive(Default)]
pub(crate) struct Logs {
    kept: watch::Sender<u64>,
}

/// `POST /logs` of a node. Lines without a valid ticket are dropped.
pub(crate) async fn keep(app: &App, node: NodeId, batch: Vec<RunLog>) -> Result<()> {
    let lines: usize = batch.iter().map(|log| log.lines.len()).sum();
    if lines > LINES_PER_BATCH_MAX {
        return Err(invalid(Field::BODY, format!("At most {LINES_PER_BATCH_MAX} lines at once")));
    }
    // Of runs alone, and not for ever: lines come a moment after they were written, or after a while without a network.
    let then = Timestamp(Timestamp::now().0.saturating_sub(signed(app.config.log_late_max.0)));
    let valid = batch.into_iter().filter_map(|log| {
        let ticket = app.tickets.check_signed(&log.ticket, node, &[Purpose::Run], then).ok();
        let ticket = ticket.filter(|ticket| ticket.run == log.run);
        if ticket.is_none() {
            tracing::warn!(%node, run = %log.run, "a log without a valid ticket is dropped");
        }
        ticket.map(|ticket| (ticket, log.lines))
    });
    let valid: Vec<(Ticket, Vec<LogLine>)> = valid.collect();
    if valid.iter().all(|(_, lines)| lines.is_empty()) {
        return Ok(());
    }
    let tx = app.db.begin().await?;
    let last = insert(&tx, valid, app.config.log_size_max.0).await?;
    tx.commit().await?;
    app.logs.kept.send_replace(last.unsigned_abs());
    Ok(())
}

async fn insert(tx: &DatabaseTransaction, logs: Vec<(Ticket, Vec<LogLine>)>, size_max: u64) -> Result<i64, DbErr> {
    // The counter's lock makes lines visible in the order of their ids: a follower skips none.
    let wanted = logs.iter().map(|(_, lines)| lines.len()).sum::<usize>();
    let last = count(tx, "log", i64::try_from(wanted).unwrap_or(i64::MAX)).await?;
    let mut id = last - i64::try_from(wanted).unwrap_or(i64::MAX);
    let mut sizes = sizes(tx, logs.iter().map(|(ticket, _)| ticket.run)).await?;
    let mut rows = Vec::with_capacity(wanted);
    let now = Timestamp::now();
    for (ticket, lines) in logs {
        let size = sizes.entry(ticket.run).or_default();
        for line in lines {
            *size += u64::try_from(line.text.len()).unwrap_or(u64::MAX);
            if *size > size_max {
                break;
            }
            id += 1;
            rows.push(run_logs::ActiveModel {
                id: Set(id),
                account_id: Set(ticket.account.into()),
                function_id: Set(ticket.function.into()),
                run_id: Set(ticket.run.into()),
                sequence: Set(i32::try_from(line.sequence).unwrap_or(i32::MAX)),
                // A lender's clock decides nothing: at most where between its ticket's issue and now a line stands.
                at: Set(line.at.max(ticket.issued).min(now).into()),
                stream: Set(line.stream.into()),
                // PostgreSQL's text takes no zero bytes.
                text: Set(line.text.replace('\0', "\u{fffd}")),
            });
        }
    }
    let again = OnConflict::columns([run_logs::Column::RunId, run_logs::Column::Sequence]).do_nothing().to_owned();
    for chunk in rows.chunks(ROWS_MAX) {
        match run_logs::Entity::insert_many(chunk.iter().cloned())
            .on_conflict(again.clone())
            .exec_without_returning(tx)
            .await
        {
            Ok(_) | Err(DbErr::RecordNotInserted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(last)
}

async fn sizes(tx: &DatabaseTransaction, runs: impl Iterator<Item = RunId>) -> Result<HashMap<RunId, u64>, DbErr> {
    let runs: std::collections::BTreeSet<RunId> = runs.collect();
    let backend = tx.get_database_backend();
    let mut sizes = HashMap::new();
    for run in runs {
        let sql = "SELECT CAST(COALESCE(SUM(LENGTH(text)), 0) AS BIGINT) FROM run_logs WHERE run_id = $1";
        let row = tx.query_one_raw(sea_orm::Statement::from_sql_and_values(backend, sql, [Col(run).into()])).await?;
        let size: i64 = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0);
        sizes.insert(run, u64::try_from(size).unwrap_or(0));
    }
    Ok(sizes)
}

fn view(row: run_logs::Model) -> LogLine {
    LogLine {
        run: row.run_id.0,
        sequence: u32::try_from(row.sequence).unwrap_or(0),
        at: row.at.0,
        stream: row.stream.0,
        text: row.text,
    }
}

/// `GET /invocations/{run}/logs`. The run's row may come later than its lines.
pub(crate) async fn of_run(app: &App, caller: &Caller, run: RunId) -> Result<Vec<LogLine>> {
    let account = caller.account()?.id;
    caller.grants(Scope::Read)?;
    let rows = run_logs::Entity::find()
        .filter(run_logs::Column::RunId.eq(Col(run)))
        .filter(run_logs::Column::AccountId.eq(account))
        .order_by_asc(run_logs::Column::Sequence)
        .all(app.db.read())
        .await?;
    let seen = |row: &run_logs::Model| caller.function.is_none_or(|only| only == row.function_id.0);
    let rows: Vec<_> = rows.into_iter().filter(seen).collect();
    if rows.is_empty() {
        crate::settlement::runs::find(app, caller, run).await?;
    }
    Ok(rows.into_iter().map(view).collect())
}

/// What some runs wrote, run by run; who may see them has been checked.
pub(crate) async fn of_runs(app: &App, runs: impl IntoIterator<Item = RunId>) -> Result<Vec<LogLine>> {
    let rows = run_logs::Entity::find()
        .filter(run_logs::Column::RunId.is_in(runs.into_iter().map(Col)))
        .order_by_asc(run_logs::Column::RunId)
        .order_by_asc(run_logs::Column::Sequence)
        .all(app.db.read())
        .await?;
    Ok(rows.into_iter().map(view).collect())
}

/// Which lines.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// From then on: a time in RFC 3339, or how long ago (`1h`). Left out: the last lines.
    #[serde(default)]
    since: Option<String>,
    /// Goes on with what comes.
    #[serde(default)]
    follow: bool,
}

fn parse_since(text: &str, now: Timestamp) -> Result<Timestamp> {
    if let Ok(ago) = text.parse::<Millis>() {
        return Ok(Timestamp(now.0.saturating_sub(signed(ago.0))));
    }
    let wrong = "`since` is neither a time in RFC 3339 nor such as `1h`.";
    text.parse().map_err(|_| refuse_field(Code::InvalidRequest, "since", wrong))
}

struct Follower {
    app: App,
    account: AccountId,
    function: FunctionId,
    since: Option<Timestamp>,
    last: i64,
    follow: bool,
    kept: watch::Receiver<u64>,
    _share: Held<AccountId>,
}

/// `GET /functions/{name}/logs`: NDJSON, piece by piece.
pub(crate) async fn of_function(
    app: &App,
    caller: &Caller,
    name: &str,
    query: &LogQuery,
) -> Result<impl Stream<Item = Result<Bytes>> + use<>> {
    let function = caller.function(app, name, Scope::Read).await?;
    let since = query.since.as_deref().map(|text| parse_since(text, Timestamp::now())).transpose()?;
    let share = app.bounds.log_streams.try_take(function.account_id.0, 1);
    let share = share.map_err(|over| over.problem("streams of logs"))?;
    let mut follower = Follower {
        app: app.clone(),
        account: function.account_id.0,
        function: function.id.0,
        since,
        last: 0,
        follow: query.follow,
        kept: app.logs.kept.subscribe(),
        _share: share,
    };
    if since.is_none() {
        follower.last = follower.start_of_tail().await?;
    }
    let standing = Standing::of(app, caller, &[Scope::Read])?;
    Ok(standing.over(futures::stream::try_unfold(follower, |mut follower| async move {
        Ok(follower.next().await?.map(|piece| (piece, follower)))
    })))
}

impl Follower {
    fn rows(&self) -> sea_orm::Select<run_logs::Entity> {
        run_logs::Entity::find()
            .filter(run_logs::Column::AccountId.eq(Col(self.account)))
            .filter(run_logs::Column::FunctionId.eq(Col(self.function)))
    }

    async fn start_of_tail(&self) -> Result<i64, DbErr> {
        let first = self.rows().order_by_desc(run_logs::Column::Id).offset(TAIL).one(self.app.db.read()).await?;
        Ok(first.map_or(0, |row| row.id))
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            self.kept.mark_unchanged();
            let mut query = loops::log_lines_after(self.account, self.function, self.last, PAGE);
            if let Some(since) = self.since {
                query = query.filter(run_logs::Column::At.gte(Col(since)));
            }
            let turn = self.app.bounds.look(self.account).await;
            let rows = query.all(self.app.db.read()).await?;
            drop(turn);
            if let Some(last) = rows.last() {
                self.last = last.id;
                let mut text = Vec::new();
                for row in rows {
                    serde_json::to_writer(&mut text, &view(row)).map_err(|error| Error::Internal(error.to_string()))?;
                    text.push(b'\n');
                }
                return Ok(Some(text.into()));
            }
            if !self.follow {
                return Ok(None);
            }
            tokio::time::sleep(Bounds::pace(&self.app.bounds.log_streams, self.account)).await;
            // Either somebody here has kept lines, or it is time to look what others have kept.
            drop(tokio::time::timeout(POLL, self.kept.changed()).await);
        }
    }
}

/// Deletes what is too old; what is too much, `keep` does.
pub(crate) async fn prune(app: &App) -> Result<()> {
    let days = i64::from(app.config.runs_days) * 86_400_000;
    let before = Timestamp(Timestamp::now().0 - days);
    loop {
        let ids: Vec<i64> = loops::log_lines_too_old(before, PRUNE_ROWS_MAX).into_tuple().all(app.db.read()).await?;
        if ids.is_empty() {
            return Ok(());
        }
        run_logs::Entity::delete_many().filter(run_logs::Column::Id.is_in(ids)).exec(app.db.write()).await?;
    }
}
