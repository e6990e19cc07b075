//! Users: sign-up (with an account, by invitation, as the operator), log-in, password.

use protocol::api::{self, AccountKind, ChangePassword, Login, Signup};
use protocol::route::Principal;
use protocol::{Code, UserId};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use super::caller::Caller;
use super::devices::Device;
use super::limiter::Key;
use super::normal;
use super::passwords::{Passwords, Verdict};
use super::tries::Client;
use super::{accounts, invitations, sessions};
use crate::App;
use crate::db::Actor;
use crate::db::columns::Col;
use crate::db::entities::users;
use crate::error::{Result, invalid, refuse, refuse_field};

/// The longest e-mail address, in bytes (RFC 5321).
const EMAIL_LENGTH_MAX: usize = 254;

/// A user and the token of the session that was made for them.
pub(crate) struct LoggedIn {
    /// The answer.
    pub me: api::Me,
    /// For the cookie.
    pub token: String,
    /// The cookie by which the device is known from now on.
    pub device: String,
}

/// As the API shows it.
pub(crate) fn user_view(row: &users::Model) -> api::User {
    api::User { id: row.id.0, email: row.email.clone(), operator: row.operator, created: row.created.0 }
}

/// An e-mail address as it is kept: trimmed, in its usual form. Only its form is checked.
pub(crate) fn parse_email(text: &str) -> Result<String> {
    // Anything longer is not even looked at.
    let text = if text.len() > EMAIL_LENGTH_MAX { "" } else { text.trim() };
    let email = normal::address(text);
    let parts = email.split_once('@');
    let good = parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if good
        && email.len() <= EMAIL_LENGTH_MAX
        && !email.chars().any(|c| c.is_whitespace() || protocol::text::is_hidden(c, None))
    {
        return Ok(email);
    }
    Err(invalid("email", "`email` is not an e-mail address"))
}

/// The user with this address, in whichever form it is kept.
async fn by_address<C: ConnectionTrait>(connection: &C, typed: &str) -> Result<Option<users::Model>> {
    let forms = normal::kept_addresses(typed.trim());
    let mut found = users::Entity::find().filter(users::Column::Email.is_in(&forms)).all(connection).await?;
    found.sort_by_key(|user| forms.iter().position(|form| *form == user.email));
    Ok(found.into_iter().next())
}

/// The field that names the account of a user who signs up.
const ACCOUNT: &str = "account";
/// Who tries to log in or sign up, as far as the request's head says.
pub(crate) struct Visitor<'a> {
    /// Where it comes from.
    pub client: Client,
    /// The cookie of a device that has logged in before.
    pub device: Option<&'a str>,
    /// What it calls itself.
    pub user_agent: &'a str,
    /// Whether it came over HTTPS.
    pub secure: bool,
}

/// `POST /signup`
pub(crate) async fn sign_up(app: &App, asked: Signup, visitor: &Visitor<'_>) -> Result<LoggedIn> {
    let email = parse_email(&asked.email)?;
    Passwords::check(&asked.password, "password")?;
    let name = match (&asked.account, &asked.invitation) {
        (Some(name), _) => Some(accounts::parse_name(name, ACCOUNT)?),
        (None, Some(_)) => None,
        (None, None) => return Err(invalid(ACCOUNT, "`account` is needed where there is no invitation")),
    };
    app.tries.sign_up(visitor.client)?;
    if let Some(token) = &asked.operator_token {
        app.operator.check(token).map_err(|error| error.at("operator_token"))?;
    }
    // Before anything is looked up: how long the response takes does not say whether the address is known.
    let own = [email.as_str(), asked.account.as_deref().unwrap_or_default()];
    let password = app.passwords.hash(visitor.client.key(), &asked.password, "password", &own).await?;

    let mut mutation = app.db.mutation().await?;
    if by_address(mutation.tx(), &asked.email).await?.is_some() {
        return Err(refuse_field(Code::EmailTaken, "email", format!("There is a user `{email}`.")));
    }
    let operator = asked.operator_token.is_some();
    if operator && crate::operator::exists(mutation.tx()).await? {
        return Err(refuse_field(Code::InvitationInvalid, "operator_token", "The operator's link has been used."));
    }
    let row = users::Model { id: UserId::new().into(), email, password, operator, created: mutation.at().into() };
    users::Entity::insert(users::ActiveModel::from(row.clone())).exec_without_returning(mutation.tx()).await?;
    let mut memberships = Vec::new();
    if let Some(token) = &asked.invitation {
        let (account, role) =
            invitations::accept_in(&mutation, token, row.id.0).await.map_err(|error| error.at("invitation"))?;
        memberships.push(accounts::membership(account, role));
    }
    if let Some(name) = name {
        let kind = asked.kind.unwrap_or(AccountKind::Personal);
        let account = accounts::create_in(&mutation, name, ACCOUNT, kind, row.id.0).await?;
        if operator {
            crate::nodes::records::adopt(&mutation, account.id.0).await?;
        }
        memberships.push(accounts::membership(account, protocol::api::Role::Owner));
    }
    let token = sessions::create(app, &mut mutation, row.id.0, visitor.user_agent).await?;
    let account = memberships.first().map(|membership| membership.account.id);
    let committed = mutation.commit(&Actor(row.id.to_string()), account, "user.signup", row.id.0).await?;
    if operator {
        app.operator.used();
        app.nodes.records_changed();
    }
    app.announce(committed).await;
    let device = app.devices.cookie(&Device::new(), row.id.0, &row.password, visitor.secure);
    Ok(LoggedIn { me: api::Me { user: Some(user_view(&row)), accounts: memberships, scopes: None }, token, device })
}

/// `POST /sessions`
pub(crate) async fn log_in(app: &App, asked: Login, visitor: &Visitor<'_>) -> Result<LoggedIn> {
    let wrong = || refuse(Code::InvalidLogin, "The e-mail address or the password is wrong.");
    // No user has such: nothing is done with them, and nothing is kept.
    let email = parse_email(&asked.email).map_err(|_| wrong())?;
    if !Passwords::may_be_one(&asked.password) {
        return Err(wrong());
    }
    let user = by_address(app.db.read(), &asked.email).await?;
    let device = user.as_ref().and_then(|user| app.devices.known(visitor.device, user));
    let counted = app.tries.log_in(&email, visitor.client, device.as_ref())?;
    let stored = user.as_ref().map(|user| user.password.as_str());
    // On a device that is known it is the user who asks, and nobody else waits in that line.
    let known = device.as_ref().and(user.as_ref());
    let who = known.map_or_else(|| visitor.client.key(), |user| Key::of_user(user.id.0));
    let right = app.passwords.verify(who, stored, &asked.password).await;
    // What could not be checked was no guess either.
    if !matches!(right, Ok(Verdict::Wrong)) {
        counted.give_back();
    }
    let verdict = right?;
    let mut user = user.filter(|_| verdict != Verdict::Wrong).ok_or_else(wrong)?;
    let anew = match verdict {
        // It can wait for the next log-in.
        Verdict::RightAsTyped => app.passwords.hash_anew(who, &asked.password).await.ok(),
        Verdict::Right | Verdict::Wrong => None,
    };
    let mut mutation = app.db.mutation().await?;
    // It may have been changed since it was compared.
    let now = users::Entity::find_by_id(user.id).one(mutation.tx()).await?;
    if now.is_none_or(|now| now.password != user.password) {
        return Err(wrong());
    }
    if let Some(anew) = anew {
        users::Entity::update_many()
            .set(users::ActiveModel { password: Set(anew.clone()), ..Default::default() })
            .filter(users::Column::Id.eq(user.id))
            .exec(mutation.tx())
            .await?;
        user.password = anew;
    }
    let token = sessions::create(app, &mut mutation, user.id.0, visitor.user_agent).await?;
    let committed = mutation.commit(&Actor(user.id.to_string()), None, "session.create", user.id.0).await?;
    app.announce(committed).await;
    let accounts = accounts::of_user(app, user.id.0).await?;
    let device = device.unwrap_or_else(Device::new);
    let device = app.devices.cookie(&device, user.id.0, &user.password, visitor.secure);
    Ok(LoggedIn { me: api::Me { user: Some(user_view(&user)), accounts, scopes: None }, token, device })
}

/// `PUT /me/password`: all other sessions end. Returns the cookie of the device, which is known again.
pub(crate) async fn change_password(
    app: &App,
    caller: &Caller,
    asked: ChangePassword,
    visitor: &Visitor<'_>,
) -> Result<String> {
    let user = caller.user()?;
    let wrong = || refuse_field(Code::InvalidLogin, "current", "`current` is not your password.");
    Passwords::check(&asked.new, "new")?;
    let counted = app.tries.password(user.id.0)?;
    let who = Key::of_user(user.id.0);
    let right = match Passwords::may_be_one(&asked.current) {
        true => app.passwords.verify(who, Some(&user.password), &asked.current).await,
        false => Ok(Verdict::Wrong),
    };
    if !matches!(right, Ok(Verdict::Wrong)) {
        counted.give_back();
    }
    if right? == Verdict::Wrong {
        return Err(wrong());
    }
    let accounts = accounts::of_user(app, user.id.0).await?;
    let names = accounts.iter().map(|membership| membership.account.name.as_str());
    let own: Vec<&str> = names.chain([user.email.as_str()]).collect();
    let password = app.passwords.hash(who, &asked.new, "new", &own).await?;
    let device = app.devices.known(visitor.device, user).unwrap_or_else(Device::new);
    let device = app.devices.cookie(&device, user.id.0, &password, visitor.secure);
    let keep = match &caller.principal {
        Principal::Session { session, .. } => Some(*session),
        Principal::Key { .. } => None,
    };
    let mut mutation = app.db.mutation().await?;
    let changed = users::Entity::update_many()
        .set(users::ActiveModel { password: Set(password), ..Default::default() })
        .filter(users::Column::Id.eq(Col(user.id.0)))
        // Only the one that was compared: of changes at the same time the first alone is right.
        .filter(users::Column::Password.eq(&user.password))
        .exec(mutation.tx())
        .await?;
    if changed.rows_affected != 1 {
        return Err(wrong());
    }
    sessions::end_others(&mut mutation, user.id.0, keep).await?;
    let committed = mutation.commit(&caller.actor, None, "user.password", user.id.0).await?;
    app.announce(committed).await;
    Ok(device)
}
