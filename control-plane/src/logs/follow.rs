//! A function's lines as a stream: those that there are, from blocks and then from rows, and then those that come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric::shares::Held;
use futures::Stream;
use protocol::node::LogLine;
use protocol::route::Scope;
use protocol::{AccountId, Code, FunctionId, Millis, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use serde::Deserialize;
use tokio::sync::watch;

use super::block::Line;
use super::read::{self, BLOCKS, Place};
use crate::App;
use crate::db::columns::{Col, signed};
use crate::db::entities::run_logs;
use crate::db::loops;
use crate::error::{Error, Result, refuse_field};
use crate::finite::Bounds;
use crate::identity::caller::Caller;
use crate::identity::standing::Standing;

const PAGE: u64 = 500;
/// Without `since` a reader gets so many of the last lines.
const TAIL: usize = 200;
/// So many blocks are read to find them.
const TAIL_BLOCKS_MAX: usize = 64;
/// Lines that another process has kept are looked for so often.
const POLL: Duration = Duration::from_millis(1000);

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
    /// The line after which it goes on.
    last: i64,
    /// How far rows are cleared, as it was told last.
    cleared: i64,
    follow: bool,
    kept: watch::Receiver<u64>,
    _share: Held<AccountId>,
}

/// `GET /functions/{name}/logs`: NDJSON, piece by piece; and the time from which the account's lines are complete.
pub(crate) async fn of_function(
    app: &App,
    caller: &Caller,
    name: &str,
    query: &LogQuery,
) -> Result<(Timestamp, impl Stream<Item = Result<Bytes>> + use<>)> {
    let function = caller.function(app, name, Scope::Read).await?;
    let since = query.since.as_deref().map(|text| parse_since(text, Timestamp::now())).transpose()?;
    let account = function.account_id.0;
    let share = app.bounds.log_streams.try_take(account, 1);
    let share = share.map_err(|over| over.problem("streams of logs"))?;
    let complete = read::since(&app.db, account).await?.max(caller.account()?.created.0);
    let mut follower = Follower {
        app: app.clone(),
        account,
        function: function.id.0,
        since,
        last: 0,
        cleared: read::cleared(&app.db, account).await?,
        follow: query.follow,
        kept: app.logs.subscribe(),
        _share: share,
    };
    if since.is_none() {
        follower.last = follower.start_of_tail().await?;
    }
    let standing = Standing::of(app, caller, &[Scope::Read])?;
    let stream = standing.over(futures::stream::try_unfold(follower, |mut follower| async move {
        Ok(follower.next().await?.map(|piece| (piece, follower)))
    }));
    Ok((complete, stream))
}

impl Follower {
    /// The line after which the last lines begin. Where the function has written little among what others have, it finds
    /// fewer.
    async fn start_of_tail(&mut self) -> Result<i64> {
        let newest: Vec<i64> = run_logs::Entity::find()
            .select_only()
            .column(run_logs::Column::Id)
            .filter(run_logs::Column::AccountId.eq(Col(self.account)))
            .filter(run_logs::Column::FunctionId.eq(Col(self.function)))
            .order_by_desc(run_logs::Column::Id)
            .limit(u64::try_from(TAIL + 1).unwrap_or(u64::MAX))
            .into_tuple()
            .all(self.app.db.read())
            .await?;
        self.cleared = read::cleared(&self.app.db, self.account).await?;
        let rows: Vec<i64> = newest.into_iter().filter(|id| *id > self.cleared).collect();
        if let Some(before) = rows.get(TAIL) {
            return Ok(*before);
        }
        self.tail_in_blocks(TAIL - rows.len()).await
    }

    /// The line after which the last so many lines begin that are read from blocks.
    async fn tail_in_blocks(&self, mut wanted: usize) -> Result<i64> {
        let (mut before, mut looked_at) = (self.cleared.saturating_add(1), 0);
        loop {
            let places = loops::log_blocks_before(self.account, before, BLOCKS).into_model::<Place>();
            let places = places.all(self.app.db.read()).await?;
            let more = is_full(places.len());
            for place in places {
                before = place.last_line;
                if !place.may_hold(self.function, None) {
                    continue;
                }
                looked_at += 1;
                if looked_at > TAIL_BLOCKS_MAX {
                    return Ok(place.last_line);
                }
                // What cannot be read is named when the lines are.
                let Ok(lines) = self.lines(&place).await? else { continue };
                let lines: Vec<i64> =
                    lines.iter().filter(|line| line.function == self.function).map(|line| line.id).collect();
                match lines.len().checked_sub(wanted + 1) {
                    Some(at) => return Ok(lines[at]),
                    None => wanted -= lines.len(),
                }
                if wanted == 0 {
                    return Ok(place.first_line - 1);
                }
            }
            if !more {
                return Ok(0);
            }
        }
    }

    async fn lines(&self, place: &Place) -> Result<Result<Arc<Vec<Line>>, LogLine>> {
        place.lines(&self.app, place.first_run.0).await
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.last < self.cleared {
                if let Some(piece) = self.next_of_blocks().await? {
                    return Ok(Some(piece));
                }
                continue;
            }
            self.kept.mark_unchanged();
            let mut query = loops::log_lines_after(self.account, self.function, self.last, PAGE);
            if let Some(since) = self.since {
                query = query.filter(run_logs::Column::At.gte(Col(since)));
            }
            let turn = self.app.bounds.look(self.account).await;
            let rows = query.all(self.app.db.read()).await?;
            // Asked after the rows: what has lost its rows by now is read from blocks.
            self.cleared = read::cleared(&self.app.db, self.account).await?;
            drop(turn);
            if self.last < self.cleared {
                continue;
            }
            if let Some(last) = rows.last() {
                self.last = last.id;
                return json(rows.into_iter().map(|row| Line::from(row).into())).map(Some);
            }
            if !self.follow {
                return Ok(None);
            }
            tokio::time::sleep(Bounds::pace(&self.app.bounds.log_streams, self.account)).await;
            // Either somebody here has kept lines, or it is time to look what others have kept.
            drop(tokio::time::timeout(POLL, self.kept.changed()).await);
        }
    }

    /// Lines of the next block that has some; none where it has come some way without any.
    async fn next_of_blocks(&mut self) -> Result<Option<Bytes>> {
        let turn = self.app.bounds.look(self.account).await;
        let places = loops::log_blocks_after(self.account, self.last, BLOCKS).into_model::<Place>();
        let places = places.all(self.app.db.read()).await?;
        drop(turn);
        let more = is_full(places.len());
        for place in places {
            if place.last_line > self.cleared {
                self.last = self.last.max(self.cleared);
                return Ok(None);
            }
            let after = std::mem::replace(&mut self.last, place.last_line);
            if !place.may_hold(self.function, self.since) {
                continue;
            }
            let lines = match self.lines(&place).await? {
                Ok(lines) => lines,
                Err(notice) => return json(std::iter::once(notice)).map(Some),
            };
            let (function, since) = (self.function, self.since);
            let fits = |line: &&Line| {
                line.id > after && line.function == function && since.is_none_or(|since| line.at >= since)
            };
            let piece = json(lines.iter().filter(fits).cloned().map(LogLine::from))?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        if !more {
            self.last = self.last.max(self.cleared);
        }
        Ok(None)
    }
}

fn is_full(places: usize) -> bool {
    u64::try_from(places).is_ok_and(|places| places == BLOCKS)
}

fn json(lines: impl Iterator<Item = LogLine>) -> Result<Bytes> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, &line).map_err(|error| Error::Internal(error.to_string()))?;
        text.push(b'\n');
    }
    Ok(text.into())
}
