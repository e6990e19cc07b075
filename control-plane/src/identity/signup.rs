//! Users: sign-up (with an account, by invitation, as the operator), log-in, password.

use protocol::api::{self, AccountKind, ChangePassword, Login, LoginCode, Signup};
use protocol::route::Principal;
use protocol::{Code, Timestamp, UserId};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use super::caller::Caller;
use super::codes::{self, Challenge, Proof};
use super::devices::Device;
use super::limiter::Key;
use super::normal;
use super::passwords::{Passwords, Verdict};
use super::second_factor::wrong_code;
use super::tries::Client;
use super::{accounts, invitations, resets, sessions};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{second_factors, users};
use crate::db::{Actor, Mutation};
use crate::error::{Error, Result, invalid, refuse, refuse_field};

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

/// What came of the first step of a log-in.
pub(crate) enum FirstStep {
    /// A session.
    LoggedIn(LoggedIn),
    /// The second factor is asked for: the cookie that the second step needs.
    CodeNeeded(String),
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
pub(super) async fn by_address<C: ConnectionTrait>(connection: &C, typed: &str) -> Result<Option<users::Model>> {
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
    /// The cookie of a log-in that waits for its second step.
    pub challenge: Option<&'a str>,
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
    let needs_code = app.resets.asks_for_codes() && asked.operator_token.is_none();
    match asked.code.as_deref().filter(|_| needs_code) {
        Some(code) => {
            let counted = app.tries.email_code(visitor.client)?;
            if !app.resets.is_code(&email, code) {
                return Err(refuse_field(
                    Code::EmailCodeNeeded,
                    "code",
                    "This is no code of this address, or it is too old.",
                ));
            }
            counted.give_back();
        }
        None => app.tries.sign_up(visitor.client)?,
    }
    if let Some(token) = &asked.operator_token {
        app.operator.check(token).map_err(|error| error.at("operator_token"))?;
    }
    // Before anything is looked up: how long the response takes does not say whether the address is known.
    let own = [email.as_str(), asked.account.as_deref().unwrap_or_default()];
    let password = app.passwords.hash(visitor.client.key(), &asked.password, "password", &own).await?;
    if needs_code && asked.code.is_none() {
        app.resets.ask_code(&app.tries, &asked.email)?;
        let sent = "A code was sent to the address: sign up again with it.";
        return Err(refuse_field(Code::EmailCodeNeeded, "code", sent));
    }

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
    let token = sessions::create(&app.config, &mut mutation, row.id.0, visitor.user_agent).await?;
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
pub(crate) async fn log_in(app: &App, asked: Login, visitor: &Visitor<'_>) -> Result<FirstStep> {
    let wrong = || refuse(Code::InvalidLogin, "The e-mail address or the password is wrong.");
    // No user has such: nothing is done with them, and nothing is kept.
    let email = parse_email(&asked.email).map_err(|_| wrong())?;
    if !Passwords::may_be_one(&asked.password) {
        return Err(wrong());
    }
    // Who shows no device waits in the client's line.
    if visitor.device.is_none() {
        app.passwords.refuse_early(visitor.client.key())?;
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
    // Now, because a second factor comes with another request, which has no password. Where it fails it can wait for the
    // next log-in.
    if verdict == Verdict::RightToRenew
        && let Ok(anew) = app.passwords.hash_anew(who, &asked.password).await
        && renew_hash(app, &user, &anew).await?
    {
        user.password = anew;
    }
    let mutation = app.db.mutation().await?;
    // It may have been changed since it was compared.
    let now = users::Entity::find_by_id(user.id).one(mutation.tx()).await?;
    if now.is_none_or(|now| now.password != user.password) {
        return Err(wrong());
    }
    if let Some(factor) = codes::confirmed(mutation.tx(), user.id.0).await? {
        let cookie = app.codes.challenge_cookie(&user, &factor, mutation.at(), visitor.secure);
        return Ok(FirstStep::CodeNeeded(cookie));
    }
    enter(app, mutation, (&user, device), visitor, "session.create").await.map(FirstStep::LoggedIn)
}

/// Keeps another hash of the same password; false where that has been changed meanwhile.
async fn renew_hash(app: &App, user: &users::Model, anew: &str) -> Result<bool> {
    let renewed = users::Entity::update_many()
        .set(users::ActiveModel { password: Set(anew.to_owned()), ..Default::default() })
        .filter(users::Column::Id.eq(user.id))
        .filter(users::Column::Password.eq(user.password.as_str()))
        .exec(app.db.write())
        .await?;
    Ok(renewed.rows_affected == 1)
}

/// `POST /sessions/code`: the second step of a log-in.
pub(crate) async fn log_in_with_code(app: &App, asked: LoginCode, visitor: &Visitor<'_>) -> Result<LoggedIn> {
    let over = || refuse(Code::InvalidLogin, "This log-in has taken too long, or is over: begin with the password.");
    let challenge = visitor.challenge.and_then(Challenge::read).ok_or_else(over)?;
    let (user, _) = challenged(app, app.db.read(), &challenge).await?.ok_or_else(over)?;
    let device = app.devices.known(visitor.device, &user);
    let counted = app.tries.code(user.id.0, device.as_ref())?;
    let mutation = app.db.mutation().await?;
    let (user, factor) = challenged(app, mutation.tx(), &challenge).await?.ok_or_else(over)?;
    let proof = app.codes.spend(&mutation, &factor, &asked.code).await?.ok_or_else(wrong_code)?;
    counted.give_back();
    let action = match proof {
        Proof::App => "session.create",
        Proof::Recovery => "session.create_by_recovery_code",
    };
    enter(app, mutation, (&user, device), visitor, action).await
}

/// Whose log-in waits for a code, where password and second factor are still those of its first step.
async fn challenged<C: ConnectionTrait>(
    app: &App,
    connection: &C,
    challenge: &Challenge<'_>,
) -> Result<Option<(users::Model, second_factors::Model)>> {
    let Some(user) = users::Entity::find_by_id(Col(challenge.user)).one(connection).await? else { return Ok(None) };
    let factor = codes::confirmed(connection, challenge.user).await?;
    let now = Timestamp::now();
    Ok(factor.filter(|factor| app.codes.is_challenge(challenge, &user, factor, now)).map(|factor| (user, factor)))
}

/// Makes the session, in the mutation in which it is sure who the user is.
async fn enter(
    app: &App,
    mut mutation: Mutation,
    (user, device): (&users::Model, Option<Device>),
    visitor: &Visitor<'_>,
    action: &'static str,
) -> Result<LoggedIn> {
    let token = sessions::create(&app.config, &mut mutation, user.id.0, visitor.user_agent).await?;
    let committed = mutation.commit(&Actor(user.id.to_string()), None, action, user.id.0).await?;
    app.announce(committed).await;
    let accounts = accounts::of_user(app, user.id.0).await?;
    let device = device.unwrap_or_else(Device::new);
    let device = app.devices.cookie(&device, user.id.0, &user.password, visitor.secure);
    Ok(LoggedIn { me: api::Me { user: Some(user_view(user)), accounts, scopes: None }, token, device })
}

/// Refuses what is not the password of this user, who is logged in; wrong ones are counted.
pub(crate) async fn check_password(app: &App, user: &users::Model, typed: &str, field: &'static str) -> Result<()> {
    let counted = app.tries.password(user.id.0)?;
    let right = match Passwords::may_be_one(typed) {
        true => app.passwords.verify(Key::of_user(user.id.0), Some(&user.password), typed).await,
        false => Ok(Verdict::Wrong),
    };
    if !matches!(right, Ok(Verdict::Wrong)) {
        counted.give_back();
    }
    match right? {
        Verdict::Wrong => Err(wrong_password(field)),
        Verdict::Right | Verdict::RightToRenew => Ok(()),
    }
}

fn wrong_password(field: &'static str) -> Error {
    refuse_field(Code::InvalidLogin, field, format!("`{field}` is not your password."))
}

/// The field that has the password of before.
const CURRENT: &str = "current";

/// `PUT /me/password`: all other sessions end, and so does a link for a new password. Returns the cookie of the device, which
/// is known again.
pub(crate) async fn change_password(
    app: &App,
    caller: &Caller,
    asked: ChangePassword,
    visitor: &Visitor<'_>,
) -> Result<String> {
    let user = caller.user()?;
    Passwords::check(&asked.new, "new")?;
    check_password(app, user, &asked.current, CURRENT).await?;
    let accounts = accounts::of_user(app, user.id.0).await?;
    let names = accounts.iter().map(|membership| membership.account.name.as_str());
    let own: Vec<&str> = names.chain([user.email.as_str()]).collect();
    let password = app.passwords.hash(Key::of_user(user.id.0), &asked.new, "new", &own).await?;
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
        return Err(wrong_password(CURRENT));
    }
    resets::forget(&mutation, user.id.0).await?;
    sessions::end_others(&mut mutation, user.id.0, keep).await?;
    let committed = mutation.commit(&caller.actor, None, "user.password", user.id.0).await?;
    app.announce(committed).await;
    Ok(device)
}
