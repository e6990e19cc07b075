//! Dead letters: messages that were leased as often as the queue allows. People look at them, put them back or delete
//! them; what they do to them is audited.

use protocol::api::Page;
use protocol::queue::{Discarded, Message, Redriven};
use protocol::route::Scope;
use protocol::{Code, MessageId, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _};

use super::{find, is_in, messages};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{messages as rows, queues};
use crate::error::{Result, refuse};
use crate::identity::caller::Caller;
use crate::paging::Paging;

/// `GET /queues/{name}/dead`: those that nobody acknowledged.
pub(crate) async fn dead(app: &App, caller: &Caller, name: &str, paging: &Paging) -> Result<Page<Message>> {
    let account = caller.require(Scope::Read)?;
    let queue = find(app, account, name).await?;
    messages::listed(app, &queue, true, paging).await
}

/// `POST /queues/{name}/redrive`, and of one message: dead ones wait again, as if they were new.
pub(crate) async fn redrive(app: &App, caller: &Caller, name: &str, only: Option<MessageId>) -> Result<Redriven> {
    let account = caller.require(Scope::Invoke)?;
    let queue = find(app, account, name).await?;
    let mutation = app.db.mutation().await?;
    let moved = rows::Entity::update_many()
        .col_expr(rows::Column::Dead, false.into())
        .col_expr(rows::Column::Deliveries, 0.into())
        .col_expr(rows::Column::Visible, Expr::value(Col(Timestamp::now())))
        .filter(are_dead(&queue, only))
        .exec(mutation.tx())
        .await?;
    let target = target(&queue, only, moved.rows_affected)?;
    let committed = mutation.commit(&caller.actor, Some(account), "queue.redrive", target).await?;
    app.announce(committed).await;
    Ok(Redriven { messages: moved.rows_affected })
}

/// `DELETE /queues/{name}/dead`, and of one message: dead ones are gone.
pub(crate) async fn discard(app: &App, caller: &Caller, name: &str, only: Option<MessageId>) -> Result<Discarded> {
    let account = caller.require(Scope::Invoke)?;
    let queue = find(app, account, name).await?;
    let mutation = app.db.mutation().await?;
    let gone = rows::Entity::delete_many().filter(are_dead(&queue, only)).exec(mutation.tx()).await?;
    let target = target(&queue, only, gone.rows_affected)?;
    let committed = mutation.commit(&caller.actor, Some(account), "queue.discard", target).await?;
    app.announce(committed).await;
    Ok(Discarded { messages: gone.rows_affected })
}

/// Dead ones of this queue: all, or this one.
fn are_dead(queue: &queues::Model, only: Option<MessageId>) -> Condition {
    let dead = is_in(queue).add(rows::Column::Dead.eq(true));
    dead.add_option(only.map(|id| rows::Column::Id.eq(Col(id))))
}

/// What the audit names: the queue, or the one message. A message that is not dead is refused.
fn target(queue: &queues::Model, only: Option<MessageId>, done: u64) -> Result<String> {
    let name = &queue.name.0;
    match only {
        None => Ok(name.to_string()),
        Some(id) if done == 1 => Ok(format!("{name}/{id}")),
        Some(id) => Err(refuse(Code::NotFound, format!("The queue `{name}` has no dead message `{id}`."))),
    }
}
