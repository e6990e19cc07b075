//! Log-ins: made, listed, prolonged, ended.

use protocol::api;
use protocol::{Code, SessionId, Timestamp, UserId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::credentials::{secret, sha256_hex};
use crate::config::Config;
use crate::db::columns::Col;
use crate::db::entities::sessions;
use crate::db::{Db, Mutation, loops};
use crate::error::{Result, refuse};
use crate::paging::{Paging, page};
use crate::routes_outbox::REVOKED;

const USER_AGENT_LENGTH_MAX: usize = 200;
/// Sessions that one log-in ends at most: earlier releases let users have any number.
const ENDED_AT_ONCE: u64 = 1000;
/// A use is written down at most so often.
pub(crate) const TOUCH_EVERY_MS: i64 = 60_000;

/// Makes a session in this mutation; returns its token, which is kept nowhere. Beyond what a user may have, those that
/// were unused for longest end.
pub(crate) async fn create(config: &Config, mutation: &mut Mutation, user: UserId, user_agent: &str) -> Result<String> {
    let rows = sessions::Entity::find().filter(sessions::Column::UserId.eq(Col(user)));
    let oldest = rows.order_by_desc(sessions::Column::LastUsed).order_by_desc(sessions::Column::Id);
    let others = u64::from(config.sessions_max).saturating_sub(1);
    for row in oldest.offset(others).limit(ENDED_AT_ONCE).all(mutation.tx()).await? {
        drop_row(mutation, row).await?;
    }
    let token = secret();
    sessions::Entity::insert(sessions::ActiveModel {
        id: Set(SessionId::new().into()),
        user_id: Set(user.into()),
        sha256: Set(sha256_hex(token.as_bytes())),
        user_agent: Set(user_agent.chars().take(USER_AGENT_LENGTH_MAX).collect()),
        created: Set(mutation.at().into()),
        last_used: Set(mutation.at().into()),
        expires: Set(mutation.at().plus(config.session_age_max.duration()).into()),
    })
    .exec_without_returning(mutation.tx())
    .await?;
    Ok(token)
}

/// Prolongs a session that is used.
pub(crate) async fn touch(
    db: &Db,
    config: &Config,
    session: &sessions::Model,
    now: Timestamp,
) -> Result<Timestamp, DbErr> {
    if now.0 - session.last_used.0.0 < TOUCH_EVERY_MS {
        return Ok(*session.expires);
    }
    let expires = now.plus(config.session_age_max.duration());
    sessions::Entity::update_many()
        .col_expr(sessions::Column::LastUsed, now.0.into())
        .col_expr(sessions::Column::Expires, expires.0.into())
        .filter(sessions::Column::Id.eq(session.id))
        .exec(db.write())
        .await?;
    Ok(expires)
}

/// A user's sessions, the newest first.
pub(crate) async fn list(
    db: &Db,
    user: UserId,
    current: Option<SessionId>,
    paging: &Paging,
) -> Result<api::Page<api::Session>> {
    let mut query = sessions::Entity::find()
        .filter(sessions::Column::UserId.eq(Col(user)))
        .filter(sessions::Column::Expires.gt(Col(Timestamp::now())))
        .order_by_desc(sessions::Column::Id)
        .limit(paging.fetch());
    if let Some(before) = paging.after::<SessionId>()? {
        query = query.filter(sessions::Column::Id.lt(Col(before)));
    }
    let rows = page(query.all(db.read()).await?, paging, |row| row.id.to_string());
    let view = |row: sessions::Model| api::Session {
        id: row.id.0,
        user_agent: row.user_agent,
        created: row.created.0,
        last_used: row.last_used.0,
        expires: row.expires.0,
        current: current == Some(row.id.0),
    };
    Ok(api::Page { items: rows.items.into_iter().map(view).collect(), next: rows.next })
}

/// Ends one session of the user.
pub(crate) async fn end(mutation: &mut Mutation, user: UserId, session: SessionId) -> Result<()> {
    let row = sessions::Entity::find_by_id(Col(session)).one(mutation.tx()).await?;
    let row = row.filter(|row| row.user_id.0 == user);
    let row = row.ok_or_else(|| refuse(Code::NotFound, "You have no such session."))?;
    drop_row(mutation, row).await?;
    Ok(())
}

/// The session is no longer good, here and at gateways.
async fn drop_row(mutation: &mut Mutation, row: sessions::Model) -> Result<(), DbErr> {
    sessions::Entity::delete_by_id(row.id).exec(mutation.tx()).await?;
    mutation.tell(None, REVOKED, row.sha256, String::new());
    Ok(())
}

/// Ends all sessions of the user but one.
pub(crate) async fn end_others(mutation: &mut Mutation, user: UserId, keep: Option<SessionId>) -> Result<()> {
    let rows = sessions::Entity::find().filter(sessions::Column::UserId.eq(Col(user))).all(mutation.tx()).await?;
    for row in rows.into_iter().filter(|row| keep != Some(row.id.0)) {
        drop_row(mutation, row).await?;
    }
    Ok(())
}

/// Deletes what has expired.
pub(crate) async fn prune(db: &Db) -> Result<(), DbErr> {
    let now = Timestamp::now();
    loops::delete_in_steps(db, |most| loops::sessions_expired(now, most)).await
}
