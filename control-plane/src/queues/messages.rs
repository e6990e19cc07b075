//! What is in a queue: put, leased, acknowledged, given back.

use std::time::Instant;

use protocol::api::Page;
use protocol::job::JobInput;
use protocol::queue::{EndLeases, Held, LeaseMessages, LeasesEnded, Message, MessagesLeased, MessagesPut, PutMessages};
use protocol::route::Scope;
use protocol::words::count;
use protocol::{AccountId, Code, Field, LeaseId, MessageId, Millis, Name, Problem, Timestamp};
use sea_orm::sea_query::{Expr, LockBehavior, LockType};
use sea_orm::{
    ColumnTrait as _, Condition, DatabaseTransaction, EntityTrait as _, ExprTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::{LEASE, find, is_in, of, within};
use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{messages, queues};
use crate::db::loops;
use crate::error::{Result, invalid};
use crate::functions::artifacts;
use crate::idempotency::mark_effect;
use crate::identity::caller::Caller;
use crate::identity::standing::Standing;
use crate::jobs::{POLL, inline_input};
use crate::paging::{Paging, page};

/// Messages of one request.
const AT_ONCE: usize = 100;
/// Messages of one queue.
const MESSAGES_MAX: u64 = 100_000;
/// Expired messages that one statement deletes.
const PRUNE_ROWS_MAX: u64 = 500;
const DELAY: (Millis, Millis, Millis) = (Millis(0), Millis::seconds(12 * 3600), Millis(0));
const WAIT: (Millis, Millis, Millis) = (Millis(0), Millis::seconds(20), Millis(0));

fn few<T>(asked: &[T]) -> Result<()> {
    if asked.is_empty() || asked.len() > AT_ONCE {
        let why = format!("messages: {}; allowed: 1 to {AT_ONCE} messages", count(asked.len(), "message"));
        return Err(invalid("messages", why));
    }
    Ok(())
}

/// `POST /queues/{name}/messages`: all of them are kept when this answers, or none.
pub(crate) async fn put(app: &App, caller: &Caller, name: &str, asked: PutMessages) -> Result<MessagesPut> {
    let account = caller.require(Scope::Invoke)?;
    let queue = find(app, account, name).await?;
    few(&asked.messages)?;
    let at = Timestamp::now();
    let mut made = Vec::with_capacity(asked.messages.len());
    for (index, one) in asked.messages.into_iter().enumerate() {
        let field = Field::from("messages").index(index);
        let delay = within(one.delay.as_ref(), field.key("delay"), DELAY)?;
        let body = field.key("body");
        match &one.body {
            JobInput::Upload(digest) => {
                artifacts::find(app.db.read(), account, *digest, body.key("upload")).await?;
            }
            input => {
                inline_input(Some(input), &body, &app.config)?;
            }
        }
        made.push(messages::Model {
            id: MessageId::new().into(),
            account_id: queue.account_id,
            queue: queue.name.clone(),
            body: one.body.into(),
            deliveries: 0,
            visible: at.plus(delay.duration()).into(),
            lease: None,
            dead: false,
            put: at.into(),
        });
    }
    let ids = made.iter().map(|row| row.id.0).collect();
    let tx = app.db.begin_asked().await?;
    // Who deletes the queue at this moment deletes these too, or they are refused.
    let there = queues::Entity::find_by_id((queue.account_id, queue.name.clone())).lock_shared().one(&tx).await?;
    there.ok_or_else(|| super::missing(name))?;
    let kept = of(&queue).count(&tx).await?;
    if kept.saturating_add(made.len() as u64) > MESSAGES_MAX {
        let kept = count(kept, "message");
        let detail = format!("The queue has {kept}; it holds {MESSAGES_MAX} messages, dead ones included.");
        let help = "Acknowledge messages that are done, or lower the queue's `days`, so that old ones are forgotten.";
        return Err(Problem::new(Code::LimitReached, detail).with_help(help).into());
    }
    let rows = made.into_iter().map(messages::ActiveModel::from);
    messages::Entity::insert_many(rows).exec_without_returning(&tx).await?;
    mark_effect(&tx).await?;
    tx.commit().await?;
    Ok(MessagesPut { ids })
}

/// `POST /queues/{name}/lease`: the oldest that wait.
pub(crate) async fn lease(app: &App, caller: &Caller, name: &str, asked: LeaseMessages) -> Result<MessagesLeased> {
    let account = caller.require(Scope::Invoke)?;
    let queue = find(app, account, name).await?;
    let count = within(asked.count.as_ref(), "count", (1, u32::try_from(AT_ONCE).unwrap_or(1), 1))?;
    let lease = within(asked.lease.as_ref(), "lease", (LEASE.0, LEASE.1, Millis(unsigned(queue.lease))))?;
    let until = Instant::now() + within(asked.wait.as_ref(), "wait", WAIT)?.duration();
    let standing = Standing::of(app, caller, &[Scope::Invoke])?;
    let mut checked = Instant::now();
    let mut place = None;
    loop {
        let messages = lease_now(app, &queue, count, lease).await?;
        let left = until.saturating_duration_since(Instant::now());
        if !messages.is_empty() || left.is_zero() {
            return Ok(MessagesLeased { messages });
        }
        if place.is_none() {
            place = Some(app.bounds.wait(account, &caller.turn)?);
        }
        tokio::time::sleep(left.min(POLL.max(app.bounds.wait_pace(account)))).await;
        if checked.elapsed() >= standing.every() {
            standing.check().await?;
            checked = Instant::now();
        }
    }
}

async fn lease_now(app: &App, queue: &queues::Model, count: u32, lease: Millis) -> Result<Vec<Message>> {
    let now = Timestamp::now();
    let waiting = || of(queue).filter(messages::Column::Dead.eq(false)).filter(messages::Column::Visible.lte(Col(now)));
    // Most looks find nothing: they need not stand in line with those who write.
    if waiting().one(app.db.read()).await?.is_none() {
        return Ok(Vec::new());
    }
    let tx = app.db.begin_asked().await?;
    messages::Entity::update_many()
        .col_expr(messages::Column::Dead, true.into())
        .col_expr(messages::Column::Lease, Expr::value(None::<Col<LeaseId>>))
        .filter(is_in(queue))
        .filter(messages::Column::Dead.eq(false))
        .filter(messages::Column::Visible.lte(Col(now)))
        .filter(messages::Column::Deliveries.gte(queue.deliveries))
        .exec(&tx)
        .await?;
    // Whoever leases at the same moment has the next ones, where the database locks rows; where it locks
    // itself as a whole, nobody else is there.
    let oldest = waiting()
        .order_by_asc(messages::Column::Id)
        .limit(u64::from(count))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .all(&tx)
        .await?;
    let (id, until) = (LeaseId::new(), now.plus(lease.duration()));
    messages::Entity::update_many()
        .col_expr(messages::Column::Lease, Expr::value(Some(Col(id))))
        .col_expr(messages::Column::Visible, Expr::value(Col(until)))
        .col_expr(messages::Column::Deliveries, Expr::col(messages::Column::Deliveries).add(1))
        .filter(messages::Column::Id.is_in(oldest.iter().map(|row| row.id)))
        .exec(&tx)
        .await?;
    mark_effect(&tx).await?;
    tx.commit().await?;
    let leased = oldest.into_iter().map(view);
    Ok(leased
        .map(|one| Message { deliveries: one.deliveries + 1, lease: Some(id), until: Some(until), ..one })
        .collect())
}

fn view(row: messages::Model) -> Message {
    Message {
        id: row.id.0,
        body: row.body.0,
        deliveries: u32::try_from(row.deliveries).unwrap_or(0),
        put: row.put.0,
        lease: None,
        until: None,
    }
}

/// `POST /queues/{name}/ack`: these are done, and gone.
pub(crate) async fn ack(app: &App, caller: &Caller, name: &str, asked: EndLeases) -> Result<LeasesEnded> {
    let account = caller.require(Scope::Invoke)?;
    let queue = find(app, account, name).await?;
    few(&asked.messages)?;
    // It has no effect here; a wrong one is refused all the same.
    within(asked.delay.as_ref(), "delay", DELAY)?;
    let tx = app.db.begin_asked().await?;
    let mut ends = LeasesEnded { ended: Vec::new(), lost: Vec::new() };
    for held in asked.messages {
        let gone = messages::Entity::delete_many().filter(is_held(&queue, held)).exec(&tx).await?;
        tell(&mut ends, held, gone.rows_affected);
    }
    mark_effect(&tx).await?;
    tx.commit().await?;
    Ok(ends)
}

/// `POST /queues/{name}/release`: others may have these.
pub(crate) async fn release(app: &App, caller: &Caller, name: &str, asked: EndLeases) -> Result<LeasesEnded> {
    let account = caller.require(Scope::Invoke)?;
    let queue = find(app, account, name).await?;
    few(&asked.messages)?;
    let visible = Timestamp::now().plus(within(asked.delay.as_ref(), "delay", DELAY)?.duration());
    let tx = app.db.begin_asked().await?;
    let mut ends = LeasesEnded { ended: Vec::new(), lost: Vec::new() };
    for held in asked.messages {
        let back = messages::Entity::update_many()
            .col_expr(messages::Column::Lease, Expr::value(None::<Col<LeaseId>>))
            .col_expr(messages::Column::Visible, Expr::value(Col(visible)))
            .filter(is_held(&queue, held))
            .exec(&tx)
            .await?;
        tell(&mut ends, held, back.rows_affected);
    }
    mark_effect(&tx).await?;
    tx.commit().await?;
    Ok(ends)
}

fn is_held(queue: &queues::Model, held: Held) -> Condition {
    let held_so = is_in(queue).add(messages::Column::Id.eq(Col(held.id)));
    held_so.add(messages::Column::Lease.eq(Col(held.lease)))
}

fn tell(ends: &mut LeasesEnded, held: Held, rows: u64) {
    let list = if rows == 1 { &mut ends.ended } else { &mut ends.lost };
    list.push(held.id);
}

/// `GET /queues/{name}/messages`: those that are not dead. Looking leases nothing, and tells no lease.
pub(crate) async fn list(app: &App, caller: &Caller, name: &str, paging: &Paging) -> Result<Page<Message>> {
    let account = caller.require(Scope::Read)?;
    let queue = find(app, account, name).await?;
    listed(app, &queue, false, paging).await
}

/// A page of the dead ones, or of the others, the oldest first.
pub(super) async fn listed(app: &App, queue: &queues::Model, dead: bool, paging: &Paging) -> Result<Page<Message>> {
    let mut query =
        of(queue).filter(messages::Column::Dead.eq(dead)).order_by_asc(messages::Column::Id).limit(paging.fetch());
    if let Some(after) = paging.after::<MessageId>()? {
        query = query.filter(messages::Column::Id.gt(Col(after)));
    }
    let found = page(query.all(app.db.read()).await?, paging, |row| row.id.to_string());
    let now = Timestamp::now();
    let shown = |row: messages::Model| {
        let visible = row.visible.0;
        Message { until: (!dead && visible > now).then_some(visible), ..view(row) }
    };
    Ok(Page { items: found.items.into_iter().map(shown).collect(), next: found.next })
}

/// The oldest that wait, for a trigger.
pub(crate) async fn waiting(
    app: &App,
    (account, queue): (AccountId, &Name),
    now: Timestamp,
    most: u64,
) -> Result<Vec<messages::Model>> {
    Ok(loops::messages_waiting(account, queue.clone(), now, most).all(app.db.read()).await?)
}

/// Puts a message aside that no job can be made of.
pub(crate) async fn bury_in(tx: &DatabaseTransaction, seen: &messages::Model) -> Result<()> {
    messages::Entity::update_many()
        .col_expr(messages::Column::Dead, true.into())
        .col_expr(messages::Column::Lease, Expr::value(None::<Col<LeaseId>>))
        .filter(messages::Column::Id.eq(seen.id))
        .filter(messages::Column::Visible.eq(seen.visible))
        .exec(tx)
        .await?;
    Ok(())
}

/// Takes a message out for good, unless somebody has taken or leased it since it was seen.
pub(crate) async fn remove_in(tx: &DatabaseTransaction, seen: &messages::Model) -> Result<bool> {
    let gone = messages::Entity::delete_many()
        .filter(messages::Column::Id.eq(seen.id))
        .filter(messages::Column::Visible.eq(seen.visible))
        .exec(tx)
        .await?;
    Ok(gone.rows_affected == 1)
}

/// Forgets messages that are older than their queue keeps them.
pub(crate) async fn prune(app: &App) -> Result<()> {
    let now = Timestamp::now();
    for queue in loops::queues_all().all(app.db.read()).await? {
        let before = Timestamp(now.0 - i64::from(queue.days) * 86_400_000);
        let (account, name) = (queue.account_id.0, queue.name.0.clone());
        let mut gone = 0;
        loop {
            let old = loops::messages_too_old(account, name.clone(), before, PRUNE_ROWS_MAX);
            let ids: Vec<Col<MessageId>> = old.into_tuple().all(app.db.read()).await?;
            if ids.is_empty() {
                break;
            }
            let old = messages::Entity::delete_many().filter(messages::Column::Id.is_in(ids));
            gone += old.exec(app.db.write()).await?.rows_affected;
        }
        if gone > 0 {
            tracing::info!(queue = %queue.name.0, messages = gone, "expired messages pruned");
        }
    }
    Ok(())
}
