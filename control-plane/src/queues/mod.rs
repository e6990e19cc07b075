//! Queues of accounts: what they are, and what is in them. `protocol::queue` draws a message's life.

mod dead;
mod messages;

#[cfg(test)]
mod tests;

use protocol::api::Page;
use protocol::job::Asked;
use protocol::queue::{Queue, SetQueue};
use protocol::route::Scope;
use protocol::{AccountId, Code, Field, Millis, Name, Problem, Timestamp};
use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _};
use sea_orm::{QuerySelect as _, sea_query::OnConflict};

use crate::App;
use crate::db::columns::{Col, signed, unsigned};
use crate::db::entities::{messages as rows, queues, triggers};
use crate::error::{Error, Result, refuse};
use crate::identity::accounts::parse_name;
use crate::identity::caller::Caller;
use crate::paging::{Paging, page};

pub(crate) use dead::{dead, discard, redrive};
pub(crate) use messages::{ack, lease, list as messages, prune, put, release};
pub(crate) use messages::{bury_in, remove_in, waiting};

/// Queues of an account.
const QUEUES_MAX: u64 = 100;
const LEASE: (Millis, Millis, Millis) = (Millis::seconds(1), Millis::seconds(12 * 3600), Millis::seconds(30));
const DELIVERIES: (u32, u32, u32) = (1, 100, 5);
const DAYS: (u32, u32, u32) = (1, 30, 7);

/// What was asked for where it is within the range; else the range's third, the default.
fn within<T: Copy + PartialOrd + std::fmt::Display>(
    asked: Option<&Asked<T>>,
    field: impl Into<Field>,
    (min, max, default): (T, T, T),
) -> Result<T> {
    Ok(asked.map_or(Ok(default), |asked| asked.within(field, min, max))?)
}

fn missing(name: &str) -> Error {
    let problem = Problem::new(Code::NotFound, format!("The account has no queue `{}`.", name.escape_debug()));
    match name.parse::<Name>() {
        Ok(name) => problem.with_help(format!("Make it with `crowdcloud queues set {name}`.")).into(),
        Err(_) => problem.into(),
    }
}

/// The queue of this name.
pub(crate) async fn find(app: &App, account: AccountId, name: &str) -> Result<queues::Model> {
    let read = name.parse::<Name>().map_err(|_| missing(name))?;
    let row = queues::Entity::find_by_id((Col(account), Col(read))).one(app.db.read()).await?;
    row.ok_or_else(|| missing(name))
}

fn is_in(queue: &queues::Model) -> Condition {
    let of_account = Condition::all().add(rows::Column::AccountId.eq(queue.account_id));
    of_account.add(rows::Column::Queue.eq(queue.name.clone()))
}

/// Messages of this queue.
fn of(queue: &queues::Model) -> sea_orm::Select<rows::Entity> {
    rows::Entity::find().filter(is_in(queue))
}

/// With what is in it now.
async fn view(app: &App, row: queues::Model) -> Result<Queue> {
    let (now, db) = (Col(Timestamp::now()), app.db.read());
    let alive = || of(&row).filter(rows::Column::Dead.eq(false));
    let waiting = alive().filter(rows::Column::Visible.lte(now)).count(db).await?;
    let hidden = alive().filter(rows::Column::Visible.gt(now)).count(db).await?;
    let dead = of(&row).filter(rows::Column::Dead.eq(true)).count(db).await?;
    let put = alive().order_by_asc(rows::Column::Id).select_only().column(rows::Column::Put);
    let oldest: Option<Col<Timestamp>> = put.into_tuple().one(db).await?;
    let count = |column: i32| u32::try_from(column).unwrap_or(0);
    Ok(Queue {
        lease: Millis(unsigned(row.lease)),
        deliveries: count(row.deliveries),
        days: count(row.days),
        waiting,
        hidden,
        dead,
        oldest: oldest.map(|put| put.0),
        created: row.created.0,
        name: row.name.0,
    })
}

/// `PUT /queues/{name}`: made, or changed; what is in it stays.
pub(crate) async fn set(app: &App, caller: &Caller, name: &str, asked: SetQueue) -> Result<Queue> {
    let account = caller.require(Scope::Deploy)?;
    let name = parse_name(name, "name")?;
    let lease = within(asked.lease.as_ref(), "lease", LEASE)?;
    let deliveries = within(asked.deliveries.as_ref(), "deliveries", DELIVERIES)?;
    let days = within(asked.days.as_ref(), "days", DAYS)?;
    let mutation = app.db.mutation().await?;
    let of_account = queues::Entity::find().filter(queues::Column::AccountId.eq(Col(account)));
    let others = of_account.filter(queues::Column::Name.ne(Col(name.clone()))).count(mutation.tx()).await?;
    if others >= QUEUES_MAX {
        let problem = Problem::new(Code::LimitReached, format!("An account may have {QUEUES_MAX} queues."));
        return Err(problem.with_help("Delete a queue that is not needed: `crowdcloud queues delete NAME`.").into());
    }
    let row = queues::Model {
        account_id: account.into(),
        name: name.clone().into(),
        lease: signed(lease.0),
        deliveries: i32::try_from(deliveries).unwrap_or(i32::MAX),
        days: i32::try_from(days).unwrap_or(i32::MAX),
        created: mutation.at().into(),
    };
    let settings = [queues::Column::Lease, queues::Column::Deliveries, queues::Column::Days];
    let key =
        OnConflict::columns([queues::Column::AccountId, queues::Column::Name]).update_columns(settings).to_owned();
    queues::Entity::insert(queues::ActiveModel::from(row))
        .on_conflict(key)
        .exec_without_returning(mutation.tx())
        .await?;
    let committed = mutation.commit(&caller.actor, Some(account), "queue.set", &name).await?;
    app.announce(committed).await;
    view(app, find(app, account, name.as_str()).await?).await
}

/// `GET /queues`
pub(crate) async fn list(app: &App, caller: &Caller, paging: &Paging) -> Result<Page<Queue>> {
    let mut query = queues::Entity::find()
        .filter(queues::Column::AccountId.eq(Col(caller.require(Scope::Read)?)))
        .order_by_asc(queues::Column::Name)
        .limit(paging.fetch());
    if let Some(after) = paging.after::<Name>()? {
        query = query.filter(queues::Column::Name.gt(Col(after)));
    }
    let found = page(query.all(app.db.read()).await?, paging, |row| row.name.to_string());
    let mut items = Vec::with_capacity(found.items.len());
    for row in found.items {
        items.push(view(app, row).await?);
    }
    Ok(Page { items, next: found.next })
}

/// `GET /queues/{name}`
pub(crate) async fn show(app: &App, caller: &Caller, name: &str) -> Result<Queue> {
    let account = caller.require(Scope::Read)?;
    view(app, find(app, account, name).await?).await
}

/// `DELETE /queues/{name}`, with all that is in it; not while a trigger takes from it.
pub(crate) async fn delete(app: &App, caller: &Caller, name: &str) -> Result<()> {
    let account = caller.require(Scope::Deploy)?;
    let queue = find(app, account, name).await?;
    let mutation = app.db.mutation().await?;
    let trigger = triggers::Entity::find()
        .filter(triggers::Column::AccountId.eq(queue.account_id))
        .filter(triggers::Column::Queue.eq(queue.name.clone()))
        .one(mutation.tx())
        .await?;
    if let Some(trigger) = trigger {
        let name = &trigger.name.0;
        return Err(refuse(Code::QueueInUse, format!("The trigger `{name}` takes messages from it.")));
    }
    rows::Entity::delete_many().filter(is_in(&queue)).exec(mutation.tx()).await?;
    queues::Entity::delete_by_id((queue.account_id, queue.name.clone())).exec(mutation.tx()).await?;
    let committed = mutation.commit(&caller.actor, Some(account), "queue.delete", &queue.name.0).await?;
    app.announce(committed).await;
    Ok(())
}
