//! Users: sign-up (with an account, by invitation, as the operator), log-in, password.

use std::time::Instant;

use protocol::api::{self, AccountKind, ChangePassword, Login, Signup};
use protocol::route::Principal;
use protocol::{Code, UserId};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::caller::Caller;
use super::passwords::Passwords;
use super::{accounts, invitations, sessions};
use crate::App;
use crate::db::Actor;
use crate::db::columns::Col;
use crate::db::entities::users;
use crate::error::{Result, invalid, refuse, refuse_field};

/// A user and the token of the session that was made for them.
pub(crate) struct LoggedIn {
    /// The answer.
    pub me: api::Me,
    /// For the cookie.
    pub token: String,
}

/// As the API shows it.
pub(crate) fn user_view(row: &users::Model) -> api::User {
    api::User { id: row.id.0, email: row.email.clone(), operator: row.operator, created: row.created.0 }
}

/// An e-mail address as it is kept: trimmed, in lower case. Only its form is checked.
pub(crate) fn parse_email(text: &str) -> Result<String> {
    let email = text.trim().to_lowercase();
    let parts = email.split_once('@');
    let good = parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if good && email.len() <= 254 && !email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Ok(email);
    }
    Err(invalid("email", "`email` is not an e-mail address"))
}

/// The field that names the account of a user who signs up.
const ACCOUNT: &str = "account";

/// `POST /signup`
pub(crate) async fn sign_up(app: &App, asked: Signup, user_agent: &str) -> Result<LoggedIn> {
    let email = parse_email(&asked.email)?;
    Passwords::check(&asked.password, "password")?;
    let name = match (&asked.account, &asked.invitation) {
        (Some(name), _) => Some(accounts::parse_name(name, ACCOUNT)?),
        (None, Some(_)) => None,
        (None, None) => return Err(invalid(ACCOUNT, "`account` is needed where there is no invitation")),
    };
    if let Some(token) = &asked.operator_token {
        app.operator.check(token).map_err(|error| error.at("operator_token"))?;
    }
    // Cheap refusals come before the dear hash.
    if users::Entity::find().filter(users::Column::Email.eq(&email)).one(app.db.read()).await?.is_some() {
        return Err(refuse_field(Code::EmailTaken, "email", format!("There is a user `{email}`.")));
    }
    let password = app.passwords.hash(&asked.password).await?;

    let mutation = app.db.mutation().await?;
    if users::Entity::find().filter(users::Column::Email.eq(&email)).one(mutation.tx()).await?.is_some() {
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
        let (account, role) = invitations::accept_in(&mutation, token, row.id.0).await.map_err(|error| error.at("invitation"))?;
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
    let token = sessions::create(app, &mutation, row.id.0, user_agent).await?;
    let account = memberships.first().map(|membership| membership.account.id);
    let committed = mutation.commit(&Actor(row.id.to_string()), account, "user.signup", row.id.0).await?;
    if operator {
        app.operator.used();
        app.nodes.records_changed();
    }
    app.announce(committed).await;
    Ok(LoggedIn { me: api::Me { user: Some(user_view(&row)), accounts: memberships, scopes: None }, token })
}

/// `POST /sessions`
pub(crate) async fn log_in(app: &App, asked: Login, user_agent: &str) -> Result<LoggedIn> {
    let email = asked.email.trim().to_lowercase();
    let (failures_max, window) = (app.config.login_failures_max, app.config.login_window.duration());
    if let Some(wait) = app.logins.wait(&email, failures_max, window, Instant::now()) {
        let seconds = wait.as_secs() + 1;
        return Err(refuse(Code::RateLimited, format!("Too many failed log-ins; wait {seconds} s.")));
    }
    let user = users::Entity::find().filter(users::Column::Email.eq(&email)).one(app.db.read()).await?;
    let stored = user.as_ref().map(|user| user.password.as_str());
    let right = asked.password.len() <= 4 * super::passwords::LENGTH_MAX
        && app.passwords.verify(stored, &asked.password).await?;
    let Some(user) = user.filter(|_| right) else {
        app.logins.failed(&email, window, Instant::now());
        return Err(refuse(Code::InvalidLogin, "The e-mail address or the password is wrong."));
    };
    app.logins.succeeded(&email);
    let mutation = app.db.mutation().await?;
    let token = sessions::create(app, &mutation, user.id.0, user_agent).await?;
    let committed = mutation.commit(&Actor(user.id.to_string()), None, "session.create", user.id.0).await?;
    app.announce(committed).await;
    let accounts = accounts::of_user(app, user.id.0).await?;
    Ok(LoggedIn { me: api::Me { user: Some(user_view(&user)), accounts, scopes: None }, token })
}

/// `PUT /me/password`: all other sessions end.
pub(crate) async fn change_password(app: &App, caller: &Caller, asked: ChangePassword) -> Result<()> {
    let user = caller.user()?;
    Passwords::check(&asked.new, "new")?;
    if !app.passwords.verify(Some(&user.password), &asked.current).await? {
        return Err(refuse_field(Code::InvalidLogin, "current", "`current` is not your password."));
    }
    let password = app.passwords.hash(&asked.new).await?;
    let keep = match &caller.principal {
        Principal::Session { session, .. } => Some(*session),
        Principal::Key { .. } => None,
    };
    let mut mutation = app.db.mutation().await?;
    users::Entity::update_many()
        .set(users::ActiveModel { password: Set(password), ..Default::default() })
        .filter(users::Column::Id.eq(Col(user.id.0)))
        .exec(mutation.tx())
        .await?;
    sessions::end_others(&mut mutation, user.id.0, keep).await?;
    let committed = mutation.commit(&caller.actor, None, "user.password", user.id.0).await?;
    app.announce(committed).await;
    Ok(())
}
