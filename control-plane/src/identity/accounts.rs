//! Accounts: made by users, seen by their members.

use std::collections::{BTreeSet, HashSet};

use protocol::api::{self, AccountKind, CreateAccount, Role};
use protocol::{AccountId, Code, Name, Timestamp, UserId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QuerySelect as _,
};

use super::caller::Caller;
use crate::App;
use crate::db::Mutation;
use crate::db::columns::Col;
use crate::db::entities::{accounts, members};
use crate::error::{Error, Result, refuse, refuse_field};

/// A name that stands in this field, or why it cannot be one.
pub(crate) fn parse_name(text: &str, field: &str) -> Result<Name> {
    let detail = |error| format!("`{}`: {error}.", text.escape_debug());
    text.parse::<Name>().map_err(|error| refuse_field(Code::InvalidName, field, detail(error)))
}

/// Ids in one statement: a bound on its parameters.
const IDS_MAX: usize = 500;

/// Those of these accounts that are erased: what comes late for them is void.
pub(crate) async fn erased_among<C: ConnectionTrait>(
    connection: &C,
    ids: impl Iterator<Item = AccountId>,
) -> std::result::Result<HashSet<AccountId>, DbErr> {
    let ids: Vec<Col<AccountId>> = ids.collect::<BTreeSet<_>>().into_iter().map(Col).collect();
    let mut erased = HashSet::new();
    for some in ids.chunks(IDS_MAX) {
        let among = accounts::Entity::find()
            .select_only()
            .column(accounts::Column::Id)
            .filter(accounts::Column::Id.is_in(some.iter().copied()))
            .filter(accounts::Column::Erased.is_not_null());
        let found: Vec<Col<AccountId>> = among.into_tuple().all(connection).await?;
        erased.extend(found.into_iter().map(|id| id.0));
    }
    Ok(erased)
}

/// Makes an account, whose name stands in this field, and its first owner.
pub(crate) async fn create_in(
    mutation: &Mutation,
    name: Name,
    field: &str,
    kind: AccountKind,
    owner: UserId,
) -> Result<accounts::Model> {
    let taken =
        accounts::Entity::find().filter(accounts::Column::Name.eq(Col(name.clone()))).one(mutation.tx()).await?;
    if let Some(taken) = taken {
        free_name(mutation, &taken, field).await?;
    }
    let row = accounts::Model {
        id: AccountId::new().into(),
        name: name.into(),
        kind: kind.into(),
        created: mutation.at().into(),
        deleted: None,
        erased: None,
        vouched: None,
    };
    accounts::Entity::insert(accounts::ActiveModel::from(row.clone())).exec_without_returning(mutation.tx()).await?;
    super::members::add(mutation, row.id.0, owner, Role::Owner).await?;
    Ok(row)
}

/// For so long nobody else may take the name of an account that was deleted, in milliseconds: addresses of functions begin
/// with it, and whoever had it at once would get what callers still send there.
const NAME_KEPT_MS: i64 = 30 * 86_400_000;

/// Frees the name of an account that was deleted long enough ago, or refuses.
async fn free_name(mutation: &Mutation, row: &accounts::Model, field: &str) -> Result<()> {
    let name = &row.name.0;
    let Some(deleted) = row.deleted else {
        return Err(refuse_field(Code::NameTaken, field, format!("There is an account `{name}`.")));
    };
    let free = Timestamp(deleted.0.0.saturating_add(NAME_KEPT_MS));
    if mutation.at() < free {
        let detail = format!("`{name}` was an account that has been deleted; the name is free again from {free} on.");
        return Err(refuse_field(Code::NameTaken, field, detail));
    }
    // What is left of that account goes by its id.
    let (_, low) = row.id.uuid().as_u64_pair();
    let other: Name = format!("gone-{low:016x}").parse().map_err(|error| Error::Internal(format!("{error}")))?;
    accounts::Entity::update_many()
        .set(accounts::ActiveModel { name: Set(other.into()), ..Default::default() })
        .filter(accounts::Column::Id.eq(row.id))
        .exec(mutation.tx())
        .await?;
    Ok(())
}

/// The field that names an account.
const NAME: &str = "name";

/// `POST /accounts`
pub(crate) async fn create(app: &App, caller: &Caller, asked: CreateAccount) -> Result<api::Membership> {
    let user = caller.user()?.id.0;
    let name = parse_name(&asked.name, NAME)?;
    let mutation = app.db.mutation().await?;
    let owned = members::Entity::find()
        .filter(members::Column::UserId.eq(Col(user)))
        .filter(members::Column::Role.eq(Col(Role::Owner)))
        .count(mutation.tx())
        .await?;
    if owned >= u64::from(app.config.accounts_max) {
        let owned = protocol::words::count(owned, "account");
        return Err(refuse(Code::LimitReached, format!("You own {owned}, the most that one user may own.")));
    }
    let row = create_in(&mutation, name, NAME, asked.kind, user).await?;
    let committed = mutation.commit(&caller.actor, Some(row.id.0), "account.create", &row.name.0).await?;
    app.announce(committed).await;
    Ok(membership(row, Role::Owner))
}

/// As the API shows it.
pub(crate) fn membership(row: accounts::Model, role: Role) -> api::Membership {
    let account = api::Account { id: row.id.0, name: row.name.0, kind: row.kind.0, created: row.created.0 };
    api::Membership { account, role }
}

/// The caller's accounts: the user's, or the key's one.
pub(crate) async fn list(app: &App, caller: &Caller) -> Result<Vec<api::Membership>> {
    match (&caller.user, &caller.account) {
        (Some(user), _) => of_user(app, user.id.0).await,
        (None, Some((row, role))) => Ok(vec![membership(row.clone(), *role)]),
        (None, None) => Ok(Vec::new()),
    }
}

/// The accounts of a user, by name.
pub(crate) async fn of_user(app: &App, user: UserId) -> Result<Vec<api::Membership>> {
    let roles = members::Entity::find().filter(members::Column::UserId.eq(Col(user))).all(app.db.read()).await?;
    let ids: Vec<_> = roles.iter().map(|member| member.account_id).collect();
    let mut rows = accounts::Entity::find().filter(accounts::Column::Id.is_in(ids)).all(app.db.read()).await?;
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let role_in = |row: &accounts::Model| roles.iter().find(|m| m.account_id == row.id).map(|m| m.role.0);
    Ok(rows.into_iter().filter_map(|row| role_in(&row).map(|role| membership(row, role))).collect())
}

/// `GET /me`
pub(crate) async fn me(app: &App, caller: &Caller) -> Result<api::Me> {
    Ok(api::Me {
        user: caller.user.as_ref().map(super::signup::user_view),
        accounts: list(app, caller).await?,
        scopes: caller.user.is_none().then(|| caller.scopes.clone()),
    })
}
