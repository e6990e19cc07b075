//! API keys.

use std::collections::{BTreeSet, HashMap};

use protocol::api::{self, CreateKey, KeysLeft, Role};
use protocol::route::{Principal, Scope};
use protocol::words;
use protocol::{AccountId, Code, Field, KeyId, Timestamp, UserId, text};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DbErr, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::caller::{Caller, scopes_of};
use super::credentials::{key_text, sha256_hex};
use super::sessions::TOUCH_EVERY_MS;
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{api_keys, functions, revoked_keys};
use crate::db::{Db, Mutation};
use crate::error::{Error, Result, invalid, refuse};
use crate::paging::{Paging, page};
use crate::routes_outbox::REVOKED;

const NAME_LENGTH_MAX: usize = 60;
const EXPIRES_DAYS_MAX: u32 = 3650;
/// Revoked keys of an account of which usage knows whose they were; of earlier ones it shows the id.
pub(crate) const REVOKED_KEPT_MAX: u64 = 1_000;
/// Ids in one statement: a bound on its parameters.
const IDS_MAX: usize = 1_000;

/// Makes a key; the answer is the only place where its secret is ever seen. A member gives a key no more than the member
/// may do; a key makes others only where it may do everything.
pub(crate) async fn create(app: &App, caller: &Caller, asked: CreateKey) -> Result<api::Key> {
    let account = match caller.user {
        Some(_) => caller.account()?.id.0,
        None => caller.require(Scope::Admin)?,
    };
    let name = asked.name.trim();
    if name.is_empty() || name.chars().count() > NAME_LENGTH_MAX {
        return Err(invalid("name", format!("`name` has 1 to {NAME_LENGTH_MAX} characters")));
    }
    text::check("name", name)?;
    if asked.scopes.is_empty() {
        return Err(invalid("scopes", "`scopes` names at least one of invoke, read, deploy, admin"));
    }
    let twice = (1..asked.scopes.len()).find(|&index| asked.scopes[..index].contains(&asked.scopes[index]));
    if let Some(index) = twice {
        let field = Field::from("scopes").index(index);
        return Err(invalid(field, "`scopes` names a scope twice"));
    }
    for scope in &asked.scopes {
        caller.require(*scope)?;
    }
    if asked.expires_days.is_some_and(|days| days == 0 || days > EXPIRES_DAYS_MAX) {
        return Err(invalid("expires_days", format!("`expires_days`: allowed are 1 to {EXPIRES_DAYS_MAX} days")));
    }
    let mut scopes = asked.scopes;
    scopes.sort_unstable();
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
        let keys = words::count(count, "key");
        return Err(refuse(Code::LimitReached, format!("The account has {keys}, the most that it may have.")));
    }
    let days = |days: u32| mutation.at().plus(std::time::Duration::from_secs(u64::from(days) * 86_400));
    let row = api_keys::Model {
        id: id.into(),
        account_id: account.into(),
        sha256: sha256_hex(secret.as_bytes()),
        name: name.to_owned(),
        scopes: scopes.into(),
        function_id: function.map(Col),
        user_id: caller.behind.map(Col),
        created: mutation.at().into(),
        expires: asked.expires_days.map(days).map(Col),
        last_used: None,
    };
    api_keys::Entity::insert(api_keys::ActiveModel::from(row.clone())).exec_without_returning(mutation.tx()).await?;
    let committed = mutation.commit(&caller.actor, Some(account), "key.create", id).await?;
    app.announce(committed).await;
    let key = views(app, vec![row]).await?.pop();
    let key = key.ok_or_else(|| Error::Internal("a key that was made is not shown".to_owned()))?;
    Ok(api::Key { secret: Some(secret), ..key })
}

/// What whoever repeats the request sees of a key that was made: never its secret.
pub(crate) fn again(key: &api::Key) -> api::Key {
    let help = "The key's secret was shown once, with the first answer. Where that was lost, revoke this key, and make \
                another with a new Idempotency-Key.";
    api::Key { secret: None, help: Some(help.to_owned()), ..key.clone() }
}

/// Rows as the API shows them.
async fn views(app: &App, rows: Vec<api_keys::Model>) -> Result<Vec<api::Key>> {
    let ids: Vec<_> = rows.iter().filter_map(|row| row.function_id).collect();
    let functions = functions::Entity::find().filter(functions::Column::Id.is_in(ids)).all(app.db.read()).await?;
    let emails = super::members::emails(&app.db, rows.iter().filter_map(|row| row.user_id)).await?;
    let view = |row: api_keys::Model| api::Key {
        id: row.id.0,
        name: row.name,
        scopes: row.scopes.0,
        function: functions.iter().find(|one| Some(one.id) == row.function_id).map(|one| one.name.0.clone()),
        secret: None,
        help: None,
        created_by: row.user_id.and_then(|user| emails.get(&user).cloned()),
        created: row.created.0,
        expires: row.expires.map(|at| at.0),
        last_used: row.last_used.map(|at| at.0),
    };
    Ok(rows.into_iter().map(view).collect())
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
    Ok(api::Page { items: views(app, rows.items).await?, next: rows.next })
}

/// Revokes a key: at every gateway within a second. Whoever made it may, and the key itself; any other needs an admin.
pub(crate) async fn revoke(app: &App, caller: &Caller, id: KeyId) -> Result<()> {
    let account = caller.account()?.id.0;
    let mut mutation = app.db.mutation().await?;
    let row = api_keys::Entity::find_by_id(Col(id)).one(mutation.tx()).await?;
    let row = row.filter(|row| row.account_id.0 == account);
    if !row.as_ref().is_some_and(|row| is_own(caller, row)) {
        caller.require(Scope::Admin)?;
    }
    let row = row.ok_or_else(|| refuse(Code::NotFound, "The account has no such key."))?;
    revoke_all(&mut mutation, account, vec![row]).await?;
    let committed = mutation.commit(&caller.actor, Some(account), "key.revoke", id).await?;
    app.announce(committed).await;
    Ok(())
}

/// Whether the key is the caller itself, or the user who asks made it.
fn is_own(caller: &Caller, row: &api_keys::Model) -> bool {
    match &caller.principal {
        Principal::Key { key } => row.id.0 == *key,
        Principal::Session { user, .. } => row.user_id.is_some_and(|made_by| made_by.0 == *user),
    }
}

/// Revokes all keys for a function that is deleted.
pub(crate) async fn revoke_of_function(
    mutation: &mut Mutation,
    account: AccountId,
    function: protocol::FunctionId,
) -> Result<(), DbErr> {
    let of = api_keys::Entity::find().filter(api_keys::Column::FunctionId.eq(Col(function)));
    let rows = of.all(mutation.tx()).await?;
    revoke_all(mutation, account, rows).await
}

/// Revokes all keys of an account that is deleted.
pub(crate) async fn revoke_of_account(mutation: &mut Mutation, account: AccountId) -> Result<(), DbErr> {
    let of = api_keys::Entity::find().filter(api_keys::Column::AccountId.eq(Col(account)));
    let rows = of.all(mutation.tx()).await?;
    revoke_all(mutation, account, rows).await
}

async fn revoke_all(mutation: &mut Mutation, account: AccountId, rows: Vec<api_keys::Model>) -> Result<(), DbErr> {
    if rows.is_empty() {
        return Ok(());
    }
    for row in rows {
        api_keys::Entity::delete_by_id(row.id).exec(mutation.tx()).await?;
        let (name, user_id, revoked) = (row.name, row.user_id, mutation.at().into());
        let row_kept = revoked_keys::Model { id: row.id, account_id: account.into(), name, user_id, revoked };
        let kept = revoked_keys::Entity::insert(revoked_keys::ActiveModel::from(row_kept));
        kept.exec_without_returning(mutation.tx()).await?;
        mutation.tell(Some(account), REVOKED, row.sha256, String::new());
    }
    let beyond: Vec<Col<KeyId>> = revoked_keys::Entity::find()
        .select_only()
        .column(revoked_keys::Column::Id)
        .filter(revoked_keys::Column::AccountId.eq(Col(account)))
        .order_by_desc(revoked_keys::Column::Revoked)
        .order_by_desc(revoked_keys::Column::Id)
        .offset(REVOKED_KEPT_MAX)
        .limit(REVOKED_KEPT_MAX)
        .into_tuple()
        .all(mutation.tx())
        .await?;
    if !beyond.is_empty() {
        let forget = revoked_keys::Entity::delete_many().filter(revoked_keys::Column::Id.is_in(beyond));
        forget.exec(mutation.tx()).await?;
    }
    Ok(())
}

/// What is known of a key, also after it was revoked.
#[derive(Debug, Clone)]
pub(crate) struct KnownKey {
    /// What it is called.
    pub(crate) name: String,
    /// Whose it is, or was last.
    pub(crate) user: Option<UserId>,
    /// It is no more.
    pub(crate) revoked: bool,
}

/// What is known of these keys.
pub(crate) async fn known(db: &Db, ids: BTreeSet<KeyId>) -> Result<HashMap<KeyId, KnownKey>> {
    let mut known = HashMap::new();
    let ids: Vec<Col<KeyId>> = ids.into_iter().map(Col).collect();
    for some in ids.chunks(IDS_MAX) {
        let there = api_keys::Entity::find().filter(api_keys::Column::Id.is_in(some.to_vec()));
        for row in there.all(db.read()).await? {
            let user = row.user_id.map(|user| user.0);
            known.insert(row.id.0, KnownKey { name: row.name, user, revoked: false });
        }
        let gone = revoked_keys::Entity::find().filter(revoked_keys::Column::Id.is_in(some.to_vec()));
        for row in gone.all(db.read()).await? {
            let user = row.user_id.map(|user| user.0);
            known.insert(row.id.0, KnownKey { name: row.name, user, revoked: true });
        }
    }
    Ok(known)
}

/// The account's keys of this name, those too that were revoked.
pub(crate) async fn called(db: &Db, account: AccountId, name: &str) -> Result<Vec<KeyId>> {
    let there = api_keys::Entity::find()
        .filter(api_keys::Column::AccountId.eq(Col(account)))
        .filter(api_keys::Column::Name.eq(name));
    let gone = revoked_keys::Entity::find()
        .filter(revoked_keys::Column::AccountId.eq(Col(account)))
        .filter(revoked_keys::Column::Name.eq(name));
    ids(db, there, gone).await
}

/// The keys that are or were a member's.
pub(crate) async fn of_user(db: &Db, account: AccountId, user: UserId) -> Result<Vec<KeyId>> {
    let gone = revoked_keys::Entity::find()
        .filter(revoked_keys::Column::AccountId.eq(Col(account)))
        .filter(revoked_keys::Column::UserId.eq(Col(user)));
    ids(db, of_member(account, user), gone).await
}

async fn ids(
    db: &Db,
    there: sea_orm::Select<api_keys::Entity>,
    gone: sea_orm::Select<revoked_keys::Entity>,
) -> Result<Vec<KeyId>> {
    let there = there.all(db.read()).await?.into_iter().map(|row| row.id.0);
    let gone = gone.all(db.read()).await?.into_iter().map(|row| row.id.0);
    Ok(there.chain(gone).collect())
}

fn of_member(account: AccountId, user: UserId) -> sea_orm::Select<api_keys::Entity> {
    api_keys::Entity::find()
        .filter(api_keys::Column::AccountId.eq(Col(account)))
        .filter(api_keys::Column::UserId.eq(Col(user)))
        .order_by_desc(api_keys::Column::Id)
}

/// The keys that a member made.
pub(crate) async fn made_by(app: &App, account: AccountId, user: UserId) -> Result<Vec<api::Key>> {
    views(app, of_member(account, user).all(app.db.read()).await?).await
}

/// What becomes of a member's keys that are beyond a role; of all, where they have none any more.
pub(crate) async fn left_by(
    mutation: &mut Mutation,
    (account, user): (AccountId, UserId),
    role: Option<Role>,
    left: KeysLeft,
    heir: Option<UserId>,
) -> Result<()> {
    let may = role.map(scopes_of).unwrap_or_default();
    let beyond = |row: &api_keys::Model| !row.scopes.iter().all(|scope| scope.is_in(&may));
    let rows: Vec<_> = of_member(account, user).all(mutation.tx()).await?.into_iter().filter(beyond).collect();
    match (left, heir.filter(|heir| *heir != user)) {
        (KeysLeft::Revoke, _) => revoke_all(mutation, account, rows).await?,
        (KeysLeft::TakeOver, Some(heir)) => {
            api_keys::Entity::update_many()
                .set(api_keys::ActiveModel { user_id: Set(Some(Col(heir))), ..Default::default() })
                .filter(api_keys::Column::Id.is_in(rows.iter().map(|row| row.id)))
                .exec(mutation.tx())
                .await?;
        }
        (KeysLeft::TakeOver, None) => {
            return Err(invalid("keys", "`keys`: nobody is there to take them over; another admin may"));
        }
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
