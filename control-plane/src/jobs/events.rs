//! Server-sent events: a job's changes, or those of all the account's jobs, in the order of their revisions.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::IntoResponse as _;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use fabric::shares::Held;
use futures::Stream;
use http::HeaderMap;
use protocol::job::Job;
use protocol::route::Scope;
use protocol::{AccountId, Code, JobId};
use sea_orm::EntityTrait as _;
use tokio::sync::watch;

use super::views;
use crate::App;
use crate::db::columns::unsigned;
use crate::db::entities::counters;
use crate::db::loops;
use crate::error::{Result, refuse_field};
use crate::finite::Bounds;
use crate::identity::caller::Caller;
use crate::identity::standing::Standing;

const PAGE: u64 = 200;
const KEEP_ALIVE: Duration = Duration::from_secs(10);

struct Watcher {
    app: App,
    account: AccountId,
    /// Only this one; with its steps, and until its end.
    job: Option<JobId>,
    last: i64,
    ahead: std::collections::VecDeque<Job>,
    over: bool,
    changed: watch::Receiver<i64>,
    _share: Held<AccountId>,
}

/// `GET /jobs/{id}/events`: the job as it is, then each change, until its end.
pub(crate) async fn of_job(app: &App, caller: &Caller, id: JobId) -> Result<Response> {
    let row = views::find(app, caller, id, &views::SEES).await?;
    let mut watcher = watcher(app, row.account_id.0, Some(id), row.revision)?;
    watcher.over = row.state.ended();
    watcher.ahead.push_back(views::whole(app, row).await?);
    Ok(stream(watcher, Standing::of(app, caller, &views::SEES)?))
}

/// `GET /jobs/events`: changes of all jobs from now on, or after `Last-Event-ID`.
pub(crate) async fn of_account(app: &App, caller: &Caller, headers: &HeaderMap) -> Result<Response> {
    let account = caller.require(Scope::Read)?;
    let last = match last_event(headers)? {
        Some(last) => last,
        None => counters::Entity::find_by_id("job").one(app.db.read()).await?.map_or(0, |row| row.value),
    };
    Ok(stream(watcher(app, account, None, last)?, Standing::of(app, caller, &[Scope::Read])?))
}

/// The event after which a stream goes on: one that a stream has sent.
fn last_event(headers: &HeaderMap) -> Result<Option<i64>> {
    const LAST_EVENT_ID: &str = "Last-Event-ID";
    let mut ids = headers.get_all(LAST_EVENT_ID).iter();
    let Some(id) = ids.next() else { return Ok(None) };
    let number = id.to_str().ok().filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()));
    match number.and_then(|id| id.parse().ok()).filter(|_| ids.next().is_none()) {
        Some(id) => Ok(Some(id)),
        None => {
            let detail = "`Last-Event-ID` is not the id of an event; leave it out to begin with what comes.";
            Err(refuse_field(Code::InvalidRequest, LAST_EVENT_ID, detail))
        }
    }
}

fn watcher(app: &App, account: AccountId, job: Option<JobId>, last: i64) -> Result<Watcher> {
    let share = app.bounds.job_streams.try_take(account, 1).map_err(|over| over.problem("streams of job events"))?;
    let changed = app.jobs.changed.subscribe();
    let ahead = std::collections::VecDeque::new();
    Ok(Watcher { app: app.clone(), account, job, last, ahead, over: false, changed, _share: share })
}

fn stream(watcher: Watcher, standing: Standing) -> Response {
    let events = futures::stream::unfold(watcher, |mut watcher| async move {
        match watcher.next().await {
            Ok(Some(job)) => Some((Ok(event(&job)), watcher)),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, "job event stream failed");
                None
            }
        }
    });
    sse(standing.over(events))
}

fn sse(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn event(job: &Job) -> Event {
    let json = serde_json::to_string(job).unwrap_or_default();
    Event::default().event("job").id(job.revision.to_string()).data(json)
}

impl Watcher {
    async fn next(&mut self) -> Result<Option<Job>> {
        loop {
            if let Some(job) = self.ahead.pop_front() {
                return Ok(Some(job));
            }
            if self.over {
                return Ok(None);
            }
            self.changed.mark_unchanged();
            self.read().await?;
            if self.ahead.is_empty() && !self.over {
                tokio::time::sleep(Bounds::pace(&self.app.bounds.job_streams, self.account)).await;
                // Either something was committed here, or it is time to look what others have committed.
                drop(tokio::time::timeout(views::POLL, self.changed.changed()).await);
            }
        }
    }

    async fn read(&mut self) -> Result<()> {
        let _turn = self.app.bounds.look(self.account).await;
        let rows = loops::jobs_changed(self.account, self.last, self.job, PAGE).all(self.app.db.read()).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        self.last = last.revision;
        if self.job.is_some() {
            for row in rows {
                self.over = row.state.ended();
                self.ahead.push_back(views::whole(&self.app, row).await?);
            }
        } else {
            self.ahead.extend(views::named(&self.app, rows).await?);
        }
        debug_assert!(self.ahead.iter().all(|job| job.revision <= unsigned(self.last)));
        Ok(())
    }
}
