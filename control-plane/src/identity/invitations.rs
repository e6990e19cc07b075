//! Invitations: a link that makes its bearer a member, once.

use protocol::api::{self, CreateInvitation, Role};
use protocol::{AccountId, Code, InvitationId, Timestamp, UserId, text};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::caller::Caller;
use super::credentials::{secret, sha256_hex};
use crate::App;
use crate::db::Mutation;
use crate::db::columns::Col;
use crate::db::entities::{accounts, invitations, members};
use crate::db::loops;
use crate::error::{Error, Result, invalid, refuse};
use crate::paging::{Paging, page};

const EMAIL_LENGTH_MAX: usize = 254;
/// Milliseconds that an invitation is kept after its end, whether or not it was used: 30 days.
const ENDED_KEPT_MS: i64 = 30 * 86_400_000;

/// `POST /invitations`
pub(crate) async fn create(app: &App, caller: &Caller, asked: CreateInvitation) -> Result<api::Invitation> {
    let account = caller.require_role(Role::Admin)?;
    if asked.role == Role::Owner {
        caller.require_role(Role::Owner)?;
    }
    if asked.email.as_ref().is_some_and(|email| email.len() > EMAIL_LENGTH_MAX) {
        return Err(invalid("email", format!("`email` has at most {EMAIL_LENGTH_MAX} bytes")));
    }
    asked.email.as_ref().map_or(Ok(()), |email| text::check("email", email))?;
    let token = secret();
    let mutation = app.db.mutation().await?;
    let open = open(account, mutation.at()).count(mutation.tx()).await?;
    if open >= u64::from(app.config.invitations_max) {
        let open = protocol::words::count(open, "open invitation");
        return Err(refuse(Code::LimitReached, format!("The account has {open}, the most that it may have.")));
    }
    let row = invitations::Model {
        id: InvitationId::new().into(),
        account_id: account.into(),
        sha256: sha256_hex(token.as_bytes()),
        role: asked.role.into(),
        email: asked.email,
        created: mutation.at().into(),
        expires: mutation.at().plus(app.config.invitation_age_max.duration()).into(),
        used_by: None,
        user_id: caller.behind.map(Col),
    };
    invitations::Entity::insert(invitations::ActiveModel::from(row.clone()))
        .exec_without_returning(mutation.tx())
        .await?;
    let committed = mutation.commit(&caller.actor, Some(account), "invitation.create", row.id.0).await?;
    app.announce(committed).await;
    Ok(api::Invitation { path: Some(format!("/invite/{token}")), ..view(row) })
}

/// What whoever repeats the request sees of an invitation that was made: never its link.
pub(crate) fn again(invitation: &api::Invitation) -> api::Invitation {
    let help = "The invitation's link was shown once, with the first answer. Where that was lost, revoke this \
                invitation, and make another with a new Idempotency-Key.";
    api::Invitation { path: None, help: Some(help.to_owned()), ..invitation.clone() }
}

fn view(row: invitations::Model) -> api::Invitation {
    api::Invitation {
        id: row.id.0,
        role: row.role.0,
        email: row.email,
        path: None,
        help: None,
        expires: row.expires.0,
        created: row.created.0,
    }
}

fn open(account: AccountId, now: Timestamp) -> sea_orm::Select<invitations::Entity> {
    invitations::Entity::find()
        .filter(invitations::Column::AccountId.eq(Col(account)))
        .filter(invitations::Column::UsedBy.is_null())
        .filter(invitations::Column::Expires.gt(Col(now)))
}

/// The account's open invitations, the newest first.
pub(crate) async fn list(app: &App, caller: &Caller, paging: &Paging) -> Result<api::Page<api::Invitation>> {
    let account = caller.require_role(Role::Admin)?;
    let mut query = open(account, Timestamp::now()).order_by_desc(invitations::Column::Id).limit(paging.fetch());
    if let Some(before) = paging.after::<InvitationId>()? {
        query = query.filter(invitations::Column::Id.lt(Col(before)));
    }
    let rows = page(query.all(app.db.read()).await?, paging, |row| row.id.to_string());
    Ok(api::Page { items: rows.items.into_iter().map(view).collect(), next: rows.next })
}

/// The open invitations that a member made.
pub(crate) async fn made_by(app: &App, account: AccountId, user: UserId) -> Result<Vec<api::Invitation>> {
    let made = open(account, Timestamp::now()).filter(invitations::Column::UserId.eq(Col(user)));
    let rows = made.order_by_desc(invitations::Column::Id).all(app.db.read()).await?;
    Ok(rows.into_iter().map(view).collect())
}

/// Whether somebody of this role may make an invitation to that one.
fn may_invite(held: Role, to: Role) -> bool {
    held >= Role::Admin && held >= to
}

/// Revokes those that a member could not make any more, with this role or with none: they know the links.
pub(crate) async fn left_by(mutation: &Mutation, account: AccountId, user: UserId, held: Option<Role>) -> Result<()> {
    let roles = [Role::Member, Role::Admin, Role::Owner];
    let beyond = roles.into_iter().filter(|to| !held.is_some_and(|held| may_invite(held, *to))).map(Col);
    invitations::Entity::delete_many()
        .filter(invitations::Column::AccountId.eq(Col(account)))
        .filter(invitations::Column::UserId.eq(Col(user)))
        .filter(invitations::Column::UsedBy.is_null())
        .filter(invitations::Column::Role.is_in(beyond))
        .exec(mutation.tx())
        .await?;
    Ok(())
}

/// Deletes those that ended long ago.
pub(crate) async fn prune(app: &App) -> Result<(), DbErr> {
    let before = Timestamp(Timestamp::now().0.saturating_sub(ENDED_KEPT_MS));
    loops::delete_in_steps(&app.db, |most| loops::invitations_too_old(before, most)).await
}

/// `DELETE /invitations/{id}`
pub(crate) async fn revoke(app: &App, caller: &Caller, id: InvitationId) -> Result<()> {
    let account = caller.require_role(Role::Admin)?;
    let mutation = app.db.mutation().await?;
    let deleted = invitations::Entity::delete_many()
        .filter(invitations::Column::Id.eq(Col(id)))
        .filter(invitations::Column::AccountId.eq(Col(account)))
        .exec(mutation.tx())
        .await?;
    if deleted.rows_affected == 0 {
        return Err(refuse(Code::NotFound, "The account has no such invitation."));
    }
    let committed = mutation.commit(&caller.actor, Some(account), "invitation.revoke", id).await?;
    app.announce(committed).await;
    Ok(())
}

fn invalid_link() -> Error {
    refuse(Code::InvitationInvalid, "This invitation is unknown, used or expired.")
}

async fn find<C: ConnectionTrait>(connection: &C, token: &str) -> Result<(invitations::Model, accounts::Model)> {
    let row = invitations::Entity::find()
        .filter(invitations::Column::Sha256.eq(sha256_hex(token.as_bytes())))
        .one(connection)
        .await?
        .filter(|row| row.used_by.is_none() && *row.expires > Timestamp::now())
        .ok_or_else(invalid_link)?;
    let account = accounts::Entity::find_by_id(row.account_id).one(connection).await?;
    Ok((row, account.ok_or_else(|| Error::Internal("an invitation without its account".to_owned()))?))
}

/// What the invited sees.
pub(crate) async fn preview(app: &App, token: &str) -> Result<api::InvitationPreview> {
    let (row, account) = find(app.db.read(), token).await?;
    Ok(api::InvitationPreview { account: account.name.0, role: row.role.0 })
}

/// Uses the invitation up for this user.
pub(crate) async fn accept_in(mutation: &Mutation, token: &str, user: UserId) -> Result<(accounts::Model, Role)> {
    let (row, account) = find(mutation.tx(), token).await?;
    // Earlier releases let invitations outlive the role that they were made with.
    if let Some(maker) = row.user_id {
        let maker = members::Entity::find_by_id((row.account_id, maker)).one(mutation.tx()).await?;
        if !maker.is_some_and(|maker| may_invite(*maker.role, *row.role)) {
            return Err(invalid_link());
        }
    }
    super::members::add(mutation, row.account_id.0, user, row.role.0).await?;
    invitations::Entity::update_many()
        .set(invitations::ActiveModel { used_by: Set(Some(user.into())), ..Default::default() })
        .filter(invitations::Column::Id.eq(row.id))
        .exec(mutation.tx())
        .await?;
    Ok((account, row.role.0))
}

/// `POST /invitations/accept`
pub(crate) async fn accept(app: &App, caller: &Caller, token: &str) -> Result<api::Membership> {
    let user = caller.user()?.id.0;
    let mutation = app.db.mutation().await?;
    let (account, role) = accept_in(&mutation, token, user).await.map_err(|error| error.at("token"))?;
    let committed = mutation.commit(&caller.actor, Some(account.id.0), "invitation.accept", user).await?;
    app.announce(committed).await;
    Ok(super::accounts::membership(account, role))
}
