//! API keys.

use protocol::api::{self, CreateKey};
use protocol::route::Scope;
use protocol::{AccountId, Code, KeyId, Name, Timestamp};
use sea_orm::{
    ColumnTrait as _, DbErr, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::caller::Caller;
use super::credentials::{key_text, sha256_hex};
use super::sessions::TOUCH_EVERY_MS;
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{api_keys, functions};
use crate::error::{Result, invalid, refuse};
use crate::paging::{Paging, page};
use crate::routes_outbox::REVOKED;

const NAME_LENGTH_MAX: usize = 60;
const EXPIRES_DAYS_MAX: u32 = 3650;

/// Makes a key; the answer is the only place where its secret is ever seen.
pub(crate) async fn create(app: &App, caller: &Caller, asked: CreateKey) -> Result<api::Key> {
    let account = caller.require(Scope::Admin)?;
    let name = asked.name.trim();
    if name.is_empty() || name.chars().count() > NAME_LENGTH_MAX {
        return Err(invalid("name", format!("`name` has 1 to {NAME_LENGTH_MAX} characters")));
    }
    if asked.scopes.is_empty() {
        return Err(invalid("scopes", "`scopes` names at least one of invoke, read, deploy, admin"));
    }
    if asked.expires_days.is_some_and(|days| days == 0 || days > EXPIRES_DAYS_MAX) {
        return Err(invalid("expires_days", format!("`expires_days` is 1 to {EXPIRES_DAYS_MAX}")));
    }
    let mut scopes = asked.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    let function = match &asked.function {
        Some(function) => {
            let found = caller.function(app, function.as_str(), Scope::Read).await;
            Some(found.map_err(|error| error.at("function"))?.id.0)
        }
        None => None,
    };
    if function.is_some() && scopes.contains(&Scope::Admin) {
        return Err(invalid("scopes", "`admin` is of the whole account; a key for one function cannot have it"));
    }

    let id = KeyId::new();
    let secret = key_text(id);
    let mutation = app.db.mutation().await?;
    let count =
        api_keys::Entity::find().filter(api_keys::Column::AccountId.eq(Col(account))).count(mutation.tx()).await?;
    if count >= u64::from(app.config.keys_max) {
        return Err(refuse(Code::LimitReached, format!("The account has {count} keys, the most that it may have.")));
    }
    let days = |days: u32| mutation.at().plus(std::time::Duration::from_secs(u64::from(days) * 86_400));
    let row = api_keys::Model {
        id: id.into(),
        account_id: account.into(),
        sha256: sha256_hex(secret.as_bytes()),
        name: name.to_owned(),
        scopes: scopes.into(),
        function_id: function.map(Col),
        created: mutation.at().into(),
        expires: asked.expires_days.map(days).map(Col),
        last_used: None,
    };
    api_keys::Entity::insert(api_keys::ActiveModel::from(row.clone())).exec_without_returning(mutation.tx()).await?;
    let committed = mutation.commit(&caller.actor, Some(account), "key.create", id).await?;
    app.announce(committed).await;
    Ok(api::Key { secret: Some(secret), ..view(row, asked.function) })
}

fn view(row: api_keys::Model, function: Option<Name>) -> api::Key {
    api::Key {
        id: row.id.0,
        name: row.name,
        scopes: row.scopes.0,
        function,
        secret: None,
        created: row.created.0,
        expires: row.expires.map(|at| at.0),
        last_used: row.last_used.map(|at| at.0),
    }
}

/// The account's keys, the newest first.
pub(crate) async fn list(app: &App, caller: &Caller, paging: &Paging) -> Result<api::Page<api::Key>> {
    let account = caller.require(Scope::Read)?;
    let mut query = api_keys::Entity::find()
        .filter(api_keys::Column::AccountId.eq(Col(account)))
        .order_by_desc(api_keys::Column::Id)
        .limit(paging.fetch());
    if let Some(before) = paging.after::<KeyId>()? {
        query = query.filter(api_keys::Column::Id.lt(Col(before)));
    }
    let rows = page(query.all(app.db.read()).await?, paging, |row| row.id.to_string());
    let ids: Vec<_> = rows.items.iter().filter_map(|row| row.function_id).collect();
    let named = functions::Entity::find().filter(functions::Column::Id.is_in(ids)).all(app.db.read()).await?;
    let name = |id: Option<_>| named.iter().find(|function| Some(function.id) == id).map(|row| row.name.0.clone());
    let items = rows.items.into_iter().map(|row| (name(row.function_id), row)).map(|(name, row)| view(row, name));
    Ok(api::Page { items: items.collect(), next: rows.next })
}

/// Revokes a key: at every gateway within a second.
pub(crate) async fn revoke(app: &App, caller: &Caller, id: KeyId) -> Result<()> {
    let account = caller.require(Scope::Admin)?;
    let mut mutation = app.db.mutation().await?;
    let row = api_keys::Entity::find_by_id(Col(id)).one(mutation.tx()).await?;
    let row = row.filter(|row| row.account_id.0 == account);
    let row = row.ok_or_else(|| refuse(Code::NotFound, "The account has no such key."))?;
    api_keys::Entity::delete_by_id(row.id).exec(mutation.tx()).await?;
    mutation.tell(Some(account), REVOKED, row.sha256, String::new());
    let committed = mutation.commit(&caller.actor, Some(account), "key.revoke", id).await?;
    app.announce(committed).await;
    Ok(())
}

/// Revokes all keys for a function that is deleted.
pub(crate) async fn revoke_of_function(
    mutation: &mut crate::db::Mutation,
    account: AccountId,
    function: protocol::FunctionId,
) -> Result<(), DbErr> {
    let rows =
        api_keys::Entity::find().filter(api_keys::Column::FunctionId.eq(Col(function))).all(mutation.tx()).await?;
    for row in rows {
        api_keys::Entity::delete_by_id(row.id).exec(mutation.tx()).await?;
        mutation.tell(Some(account), REVOKED, row.sha256, String::new());
    }
    Ok(())
}

/// Notes about when a key was last used.
pub(crate) async fn touch(app: &App, key: &api_keys::Model, now: Timestamp) -> Result<(), DbErr> {
    if key.last_used.is_some_and(|last| now.0 - last.0.0 < TOUCH_EVERY_MS) {
        return Ok(());
    }
    api_keys::Entity::update_many()
        .col_expr(api_keys::Column::LastUsed, now.0.into())
        .filter(api_keys::Column::Id.eq(key.id))
        .exec(app.db.write())
        .await
        .map(drop)
}
