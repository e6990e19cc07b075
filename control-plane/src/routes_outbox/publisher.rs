//! The publisher: takes the outbox in order into the bucket, for ever, through any failure.
//!
//! ```text
//! follow --lease is free--> lead: reconcile the whole bucket --> publish rows as they come --+
//!    ^                         ^------ NATS failed, or the bucket lost something -----------+
//!    +------- lease lost ------------------------------------------------------------------ +
//! ```

use std::collections::HashSet;
use std::time::{Duration, Instant};

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::Store;
use fabric::subjects::{NODES_BUCKET, ROUTES_BUCKET};
use protocol::route::Route;
use protocol::{AccountId, Name, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DbErr, EntityTrait as _, ExprTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};
use tokio_util::sync::CancellationToken;

use super::bucket::{self, BucketError};
use super::{NODE, REVOKED, ROUTE};
use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{counters, functions, outbox};
use crate::db::loops;
use crate::error::Error;
use crate::functions::{ends, route};
use crate::leader::{self, Office};

const BATCH: u64 = 256;
/// The outbox is looked at so often even where nobody wakes the publisher: another process may have written.
const POLL: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Ends of routes that have become old are looked for so often.
const SWEPT_EVERY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Route(#[from] Error),
    #[error("another instance leads")]
    NotLeading,
}

/// Publishes until it is stopped.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let Some(fabrics) = &app.fabrics else { return };
    let context = bucket::context(fabrics.core.nats());
    let mut backoff = Duration::from_millis(50);
    while !stop.is_cancelled() {
        let ended = tokio::select! {
            () = stop.cancelled() => break,
            ended = lead(&app, &context, &mut backoff) => ended,
        };
        match ended {
            PublishError::NotLeading => {
                backoff = POLL;
                follow(&app).await;
            }
            error => tracing::warn!(%error, "route publishing failed; retrying"),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(backoff) => {}
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
    if let Err(error) = leader::resign(&app.db, Office::Routes, app.instance).await {
        tracing::warn!(%error, "release of the route publisher's lease failed");
    }
}

/// Leads until something fails.
async fn lead(app: &App, context: &Context, backoff: &mut Duration) -> PublishError {
    match try_lead(app, context, backoff).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn renew(app: &App) -> Result<i64, PublishError> {
    let lease = app.config.lease.duration();
    leader::lead(&app.db, Office::Routes, app.instance, lease).await?.ok_or(PublishError::NotLeading)
}

async fn try_lead(
    app: &App,
    context: &Context,
    backoff: &mut Duration,
) -> Result<std::convert::Infallible, PublishError> {
    let epoch = renew(app).await?;
    let routes = bucket::open(context, ROUTES_BUCKET, app.config.replicas).await?;
    let records = bucket::open(context, NODES_BUCKET, app.config.replicas).await?;
    reconcile(app, &routes, epoch).await?;
    put_records(app, &records).await?;
    let mut life = (bucket::life(&routes).await?, bucket::life(&records).await?);
    *backoff = Duration::from_millis(50);
    tracing::info!(epoch, "route publisher is leader");

    let mut swept = Instant::now();
    let mut renewal = tokio::time::interval(app.config.lease.duration() / 4);
    renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        while publish_batch(app, &routes, epoch).await? {}
        tokio::select! {
            () = app.routes.wake.notified() => {}
            () = tokio::time::sleep(POLL) => {}
            () = app.nodes.changed.notified() => put_records(app, &records).await?,
            _ = renewal.tick() => {
                if renew(app).await? != epoch {
                    return Err(PublishError::NotLeading);
                }
                let now = (bucket::life(&routes).await?, bucket::life(&records).await?);
                if !life.0.goes_on(now.0) || !life.1.goes_on(now.1) {
                    return Err(BucketError::lost().into());
                }
                life = now;
                if swept.elapsed() > SWEPT_EVERY {
                    forget_old_ends(app, &routes).await?;
                    swept = Instant::now();
                }
            }
        }
    }
}

/// While another instance leads, requests here wait for what it publishes.
async fn follow(app: &App) {
    match published(app).await {
        Ok(published) => _ = app.routes.published.send_if_modified(|known| raise(known, unsigned(published))),
        Err(error) => tracing::warn!(%error, "query of the published revision failed"),
    }
}

/// The next rows: whole revisions, in order.
async fn next_rows(app: &App, published: i64) -> Result<Vec<outbox::Model>, DbErr> {
    let after = loops::outbox_after(published);
    let mut rows = after.clone().limit(BATCH).all(app.db.read()).await?;
    let (first, last) = match (rows.first(), rows.last()) {
        (Some(first), Some(last)) => (first.revision, last.revision),
        _ => return Ok(rows),
    };
    if rows.len() < usize::try_from(BATCH).unwrap_or(usize::MAX) {
        return Ok(rows);
    }
    // The last revision may have more parts than fit: it waits, or it is alone and comes whole.
    if first < last {
        rows.retain(|row| row.revision < last);
        return Ok(rows);
    }
    after.filter(outbox::Column::Revision.eq(first)).all(app.db.read()).await
}

/// Publishes the next rows; false when there are none.
async fn publish_batch(app: &App, routes: &Store, epoch: i64) -> Result<bool, PublishError> {
    let published = published(app).await?;
    app.routes.published.send_if_modified(|known| raise(known, unsigned(published)));
    let rows = next_rows(app, published).await?;
    let Some(last) = rows.last().map(|row| row.revision) else { return Ok(false) };
    for row in rows {
        let revision = unsigned(row.revision);
        match row.kind.as_str() {
            ROUTE => {
                bucket::put_route(routes, &row.key, revision, row.payload.into()).await?;
                app.routes.newest.send_if_modified(|known| raise(known, revision));
            }
            REVOKED => {
                app.routes.revoked.add(row.key);
                app.routes.pulse_now.notify_one();
            }
            // This process leads: its loop puts the records.
            NODE => app.nodes.records_changed(),
            kind => tracing::warn!(kind, "an unknown kind of outbox row is skipped"),
        }
    }
    fabric::fault::point("outbox.published");
    mark(app, epoch, last).await?;
    app.routes.published.send_if_modified(|known| raise(known, unsigned(last)));
    Ok(true)
}

fn raise(known: &mut u64, to: u64) -> bool {
    let higher = to > *known;
    *known = Ord::max(to, *known);
    higher
}

async fn published(app: &App) -> Result<i64, PublishError> {
    let row = counters::Entity::find_by_id("published").one(app.db.read()).await?;
    Ok(row.map_or(0, |row| row.value))
}

/// Notes that all up to this revision is published, where this epoch still leads.
async fn mark(app: &App, epoch: i64, revision: i64) -> Result<(), PublishError> {
    let tx = app.db.begin().await?;
    if !leader::holds(&tx, Office::Routes, epoch).await? {
        return Err(PublishError::NotLeading);
    }
    counters::Entity::update_many()
        .set(counters::ActiveModel { value: Set(revision), ..Default::default() })
        .filter(counters::Column::Name.eq("published"))
        .exec(&tx)
        .await?;
    loops::outbox_published(revision).exec(&tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Brings the whole bucket up to date: it may be new, or may have lost what was acknowledged.
async fn reconcile(app: &App, routes: &Store, epoch: i64) -> Result<(), PublishError> {
    let there = bucket::routes(routes).await?;
    let old = ends::old(&app.config, Timestamp::now());
    let kept = functions::Column::Deleted.is_null().or(functions::Column::Deleted.gt(Col(old)));
    let rows =
        functions::Entity::find().filter(kept).order_by_asc(functions::Column::Revision).all(app.db.read()).await?;
    let names: HashSet<(AccountId, Name)> = rows.iter().map(|row| (row.account_id.0, row.name.0.clone())).collect();
    let mut told = HashSet::new();
    let mut renewed = Instant::now();
    for row in rows {
        // A gateway may still know a function by the name that it had, unless that is another's now.
        let left = row.former.clone().filter(|former| !names.contains(&(row.account_id.0, former.0.clone())));
        let left = match left.filter(|_| row.updated.0 > old) {
            Some(former) => Some(route::at_former_name(app.db.read(), row.clone(), former.0).await?),
            None => None,
        };
        let now = route::build(app.db.read(), row).await?;
        let newest = now.revision;
        for route in left.into_iter().chain([now]) {
            let key = Route::key(&route.account_name, &route.function_name);
            if there.get(&key).is_none_or(|at| at.revision < route.revision) {
                let payload = serde_json::to_vec(&route).map_err(|error| Error::Internal(error.to_string()))?;
                bucket::put_route(routes, &key, route.revision, payload.into()).await?;
            }
            told.insert(key);
        }
        app.routes.newest.send_if_modified(|known| raise(known, newest));
        renew_when_due(app, epoch, &mut renewed).await?;
    }
    for (_, at) in there.iter().filter(|(key, _)| !told.contains(*key)) {
        at.forget_end(routes).await?;
        renew_when_due(app, epoch, &mut renewed).await?;
    }
    Ok(())
}

/// Forgets the ends that have become old lately.
async fn forget_old_ends(app: &App, routes: &Store) -> Result<(), PublishError> {
    for key in ends::lately(&app.db, ends::old(&app.config, Timestamp::now())).await? {
        bucket::forget_end(routes, &key).await?;
    }
    Ok(())
}

async fn renew_when_due(app: &App, epoch: i64, renewed: &mut Instant) -> Result<(), PublishError> {
    if renewed.elapsed() > app.config.lease.duration() / 4 {
        if renew(app).await? != epoch {
            return Err(PublishError::NotLeading);
        }
        *renewed = Instant::now();
    }
    Ok(())
}

/// Brings the records up to date. Those of nodes that have left go first: each moment sends them runs.
async fn put_records(app: &App, records: &Store) -> Result<(), PublishError> {
    let all = crate::nodes::records::all(&app.db).await?;
    let there: HashSet<String> = all.iter().map(|record| record.node.to_string()).collect();
    for key in bucket::keys(records).await? {
        if !there.contains(&key) {
            // Here, too, where runs may be on their way.
            if let Ok(node) = key.parse() {
                app.shut_out(node);
            }
            bucket::delete(records, &key).await?;
        }
    }
    for record in all {
        app.let_in(record.node);
        let payload = serde_json::to_vec(&record).map_err(|error| Error::Internal(error.to_string()))?;
        bucket::put_same(records, &record.node.to_string(), payload.into()).await?;
    }
    Ok(())
}
