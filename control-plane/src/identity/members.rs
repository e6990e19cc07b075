//! Members: a user's role in an account. An account always keeps an owner.

use std::collections::BTreeMap;

use protocol::api::{self, ChangeRole, KeysLeft, Role};
use protocol::{AccountId, Code, UserId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::caller::Caller;
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{members, users};
use crate::db::{Db, Mutation};
use crate::error::{Error, Result, refuse};
use crate::paging::{Paging, page};

/// Adds a user, or raises the role that they have.
pub(crate) async fn add(mutation: &Mutation, account: AccountId, user: UserId, role: Role) -> Result<()> {
    match members::Entity::find_by_id((Col(account), Col(user))).one(mutation.tx()).await? {
        Some(member) if *member.role >= role => {}
        Some(_) => set_role(mutation, account, user, role).await?,
        None => {
            members::Entity::insert(members::ActiveModel {
                account_id: Set(account.into()),
                user_id: Set(user.into()),
                role: Set(role.into()),
                joined: Set(mutation.at().into()),
            })
            .exec_without_returning(mutation.tx())
            .await?;
        }
    }
    Ok(())
}

async fn set_role(mutation: &Mutation, account: AccountId, user: UserId, role: Role) -> Result<()> {
    members::Entity::update_many()
        .set(members::ActiveModel { role: Set(role.into()), ..Default::default() })
        .filter(members::Column::AccountId.eq(Col(account)))
        .filter(members::Column::UserId.eq(Col(user)))
        .exec(mutation.tx())
        .await?;
    Ok(())
}

/// The account's members, in the order of their users' ids.
pub(crate) async fn list(app: &App, caller: &Caller, paging: &Paging) -> Result<api::Page<api::Member>> {
    let account = caller.require(protocol::route::Scope::Read)?;
    let mut query = members::Entity::find()
        .filter(members::Column::AccountId.eq(Col(account)))
        .order_by_asc(members::Column::UserId)
        .limit(paging.fetch());
    if let Some(after) = paging.after::<UserId>()? {
        query = query.filter(members::Column::UserId.gt(Col(after)));
    }
    let rows = page(query.all(app.db.read()).await?, paging, |row| row.user_id.to_string());
    let ids: Vec<_> = rows.items.iter().map(|row| row.user_id).collect();
    let users = users::Entity::find().filter(users::Column::Id.is_in(ids)).all(app.db.read()).await?;
    let view = |row: members::Model| {
        let user = users.iter().find(|user| user.id == row.user_id)?;
        Some(api::Member { user: row.user_id.0, email: user.email.clone(), role: row.role.0, joined: row.joined.0 })
    };
    Ok(api::Page { items: rows.items.into_iter().filter_map(view).collect(), next: rows.next })
}

async fn find(mutation: &Mutation, account: AccountId, user: UserId) -> Result<members::Model> {
    let row = members::Entity::find_by_id((Col(account), Col(user))).one(mutation.tx()).await?;
    row.ok_or_else(|| refuse(Code::NotFound, "The account has no such member."))
}

async fn keep_an_owner(mutation: &Mutation, leaving: &members::Model) -> Result<()> {
    let owners = members::Entity::find()
        .filter(members::Column::AccountId.eq(leaving.account_id))
        .filter(members::Column::Role.eq(Col(Role::Owner)))
        .count(mutation.tx())
        .await?;
    if *leaving.role == Role::Owner && owners == 1 {
        return Err(refuse(Code::LastOwner, "This is the account's only owner."));
    }
    Ok(())
}

/// Who may touch whom: owners everybody, admins everybody below owner.
pub(crate) fn may_change(held: Role, from: Role, to: Role) -> bool {
    held == Role::Owner || (held == Role::Admin && from < Role::Owner && to < Role::Owner)
}

fn held_role(caller: &Caller) -> Result<Role> {
    caller
        .account
        .as_ref()
        .map(|(_, role)| *role)
        .ok_or_else(|| Error::from(protocol::Problem::from(Code::MissingAccount)))
}

/// The addresses of users.
pub(crate) async fn emails(db: &Db, users: impl Iterator<Item = Col<UserId>>) -> Result<BTreeMap<Col<UserId>, String>> {
    let rows = users::Entity::find().filter(users::Column::Id.is_in(users)).all(db.read()).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.email)).collect())
}

/// The members of the account with this address: one, unless earlier releases kept it in several forms.
pub(crate) async fn called(db: &Db, account: AccountId, email: &str) -> Result<Vec<UserId>> {
    let of_address = users::Column::Email.is_in(super::normal::kept_addresses(email.trim()));
    let mut called = Vec::new();
    for user in users::Entity::find().filter(of_address).all(db.read()).await? {
        let member = members::Entity::find_by_id((Col(account), user.id)).one(db.read()).await?;
        called.extend(member.map(|member| member.user_id.0));
    }
    Ok(called)
}

/// `GET /members/{user}/made`: for admins, and the member.
pub(crate) async fn made(app: &App, caller: &Caller, user: UserId) -> Result<api::Made> {
    let own = caller.user.as_ref().is_some_and(|asker| asker.id.0 == user);
    let account = caller.require_role(if own { Role::Member } else { Role::Admin })?;
    let keys = super::keys::made_by(app, account, user).await?;
    let invitations = super::invitations::made_by(app, account, user).await?;
    Ok(api::Made { keys, invitations, triggers: crate::triggers::set_by(app, account, user).await? })
}

/// `PATCH /members/{user}`: keys beyond the new role end or are taken over.
pub(crate) async fn change(app: &App, caller: &Caller, user: UserId, asked: ChangeRole) -> Result<api::Member> {
    let account = caller.require_role(Role::Admin)?;
    let (held, role) = (held_role(caller)?, asked.role);
    let mut mutation = app.db.mutation().await?;
    let member = find(&mutation, account, user).await?;
    if !may_change(held, *member.role, role) {
        return Err(refuse(Code::Forbidden, "Only an owner makes and unmakes owners."));
    }
    if role != Role::Owner {
        keep_an_owner(&mutation, &member).await?;
    }
    set_role(&mutation, account, user, role).await?;
    super::keys::left_by(&mut mutation, (account, user), Some(role), asked.keys, caller.behind).await?;
    super::invitations::left_by(&mutation, account, user, Some(role)).await?;
    let row = users::Entity::find_by_id(Col(user)).one(mutation.tx()).await?;
    let committed = mutation.commit(&caller.actor, Some(account), "member.change", user).await?;
    app.announce(committed).await;
    let email = row.map(|user| user.email).unwrap_or_default();
    Ok(api::Member { user, email, role, joined: member.joined.0 })
}

/// `DELETE /members/{user}`; everybody may leave. The member's keys end or are taken over; triggers are the account's.
pub(crate) async fn remove(app: &App, caller: &Caller, user: UserId, keys: KeysLeft) -> Result<()> {
    let own = caller.user.as_ref().is_some_and(|asker| asker.id.0 == user);
    let account = caller.require_role(if own { Role::Member } else { Role::Admin })?;
    let held = held_role(caller)?;
    let mut mutation = app.db.mutation().await?;
    let member = find(&mutation, account, user).await?;
    if !own && !may_change(held, *member.role, Role::Member) {
        return Err(refuse(Code::Forbidden, "Only an owner removes an owner."));
    }
    keep_an_owner(&mutation, &member).await?;
    members::Entity::delete_by_id((Col(account), Col(user))).exec(mutation.tx()).await?;
    super::keys::left_by(&mut mutation, (account, user), None, keys, caller.behind).await?;
    super::invitations::left_by(&mutation, account, user, None).await?;
    crate::triggers::taken_over(&mutation, (account, user), caller.behind.filter(|heir| *heir != user)).await?;
    let committed = mutation.commit(&caller.actor, Some(account), "member.remove", user).await?;
    app.announce(committed).await;
    Ok(())
}
