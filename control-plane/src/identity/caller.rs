//! The caller of a request: from a credential to an account, a role and scopes.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::HeaderMap;
use http::request::Parts;
use protocol::api::Role;
use protocol::route::{Principal, Scope};
use protocol::{AccountId, Code, FunctionId, Name, Problem, Timestamp, UserId, headers};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::authority;
use super::credentials::{bearer, cookie, cross_site, sha256_hex};
use crate::App;
use crate::db::Actor;
use crate::db::columns::Col;
use crate::db::entities::{accounts, api_keys, functions, members, sessions, users};
use crate::error::{Error, Result, refuse, refuse_field};
use crate::finite::{Asker, Tenant, Turn};
use crate::functions::rename;
use crate::idempotency;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The credential.
    pub principal: Principal,
    /// Its SHA-256.
    pub sha256: String,
    /// The user behind a session.
    pub user: Option<users::Model>,
    /// The user who answers for it: the session's, or who made the key or has taken it over.
    pub behind: Option<UserId>,
    /// The account that it acts for, and the role there (a key's role follows from its scopes).
    pub account: Option<(accounts::Model, Role)>,
    /// What it may do there.
    pub scopes: Vec<Scope>,
    /// Only for this function.
    pub function: Option<FunctionId>,
    /// Not after.
    pub expires: Option<Timestamp>,
    /// Its name for the audit.
    pub actor: Actor,
    /// Its name for people: a user's address, or a key's name.
    pub label: String,
    /// Its turn at the database, for as long as the request works.
    pub turn: Turn,
}

/// What a role may do.
pub(crate) fn scopes_of(role: Role) -> Vec<Scope> {
    match role {
        Role::Owner | Role::Admin => vec![Scope::Admin],
        Role::Member => vec![Scope::Invoke, Scope::Read, Scope::Deploy],
    }
}

impl Caller {
    /// The account.
    pub(crate) fn account(&self) -> Result<&accounts::Model> {
        let missing = || refuse(Code::MissingAccount, "You are a member of several accounts; name one.");
        self.account.as_ref().map(|(account, _)| account).ok_or_else(missing)
    }

    /// The account's id, where the caller may do this in the whole account.
    pub(crate) fn require(&self, scope: Scope) -> Result<AccountId> {
        let account = self.account()?.id.0;
        if self.function.is_some() {
            return Err(refuse(Code::Forbidden, "This key is for one function only."));
        }
        self.grants(scope)?;
        Ok(account)
    }

    /// Whether the caller may do this, be it in the whole account or with one function.
    pub(crate) fn grants(&self, scope: Scope) -> Result<()> {
        let account = self.account()?.id.0;
        if !scope.is_in(&self.scopes) {
            return Err(refuse(Code::Forbidden, format!("It needs the scope `{}`.", scope_word(scope))));
        }
        idempotency::needed_scope(account, scope);
        Ok(())
    }

    /// The role, at least this high.
    pub(crate) fn require_role(&self, role: Role) -> Result<AccountId> {
        let (account, held) = self.account.as_ref().ok_or_else(|| Error::from(Problem::from(Code::MissingAccount)))?;
        if *held < role || self.function.is_some() {
            return Err(refuse(Code::Forbidden, format!("It needs the role `{}`.", role_word(role))));
        }
        idempotency::needed_role(account.id.0, role);
        Ok(account.id.0)
    }

    /// The function of this name, where the caller may do this with it.
    pub(crate) async fn function(&self, app: &App, name: &str, scope: Scope) -> Result<functions::Model> {
        let account = self.account()?.id;
        let found = match name.parse::<Name>() {
            Ok(name) => {
                functions::Entity::find()
                    .filter(functions::Column::AccountId.eq(account))
                    .filter(functions::Column::Name.eq(Col(name)))
                    .filter(functions::Column::Deleted.is_null())
                    .one(app.db.read())
                    .await?
            }
            Err(_) => None,
        };
        let visible = found.filter(|row| self.function.is_none_or(|only| only == row.id.0));
        self.grants(scope)?;
        match visible {
            Some(row) => Ok(row),
            None => Err(rename::missing(&app.db, account.0, name, self.function).await),
        }
    }

    /// Who is counted for what this request takes.
    fn tenant(&self) -> Option<Tenant> {
        let user = self.user.as_ref().map(|user| Tenant::User(user.id.0));
        self.account.as_ref().map(|(account, _)| Tenant::Account(account.id.0)).or(user)
    }

    /// The user, where it is a session's.
    pub(crate) fn user(&self) -> Result<&users::Model> {
        let key = || refuse(Code::Forbidden, "This needs a log-in; an API key cannot do it.");
        self.user.as_ref().ok_or_else(key)
    }
}

fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Invoke => "invoke",
        Scope::Read => "read",
        Scope::Deploy => "deploy",
        Scope::Admin => "admin",
    }
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

/// Looks a credential up.
pub(crate) async fn authenticate(app: &App, sha256: &str, account: Option<&str>) -> Result<Caller> {
    if let Some(key) = api_keys::Entity::find().filter(api_keys::Column::Sha256.eq(sha256)).one(app.db.read()).await? {
        return with_key(app, key, account).await;
    }
    let session = sessions::Entity::find().filter(sessions::Column::Sha256.eq(sha256)).one(app.db.read()).await?;
    match session {
        Some(session) => with_session(app, session, account).await,
        None => Err(refuse(Code::InvalidKey, "There is no such key or session.")),
    }
}

async fn with_key(app: &App, key: api_keys::Model, account: Option<&str>) -> Result<Caller> {
    let now = Timestamp::now();
    if key.expires.is_some_and(|expires| *expires <= now) {
        return Err(refuse(Code::InvalidKey, "The key has expired."));
    }
    let row = accounts::Entity::find_by_id(key.account_id).one(app.db.read()).await?;
    let row = row.ok_or_else(|| Error::Internal("a key without its account".to_owned()))?;
    if account.is_some_and(|name| name != row.name.as_str()) {
        return Err(refuse(Code::Forbidden, "The key belongs to another account than the request names."));
    }
    super::keys::touch(app, &key, now).await?;
    let role = if key.scopes.contains(&Scope::Admin) { Role::Admin } else { Role::Member };
    Ok(Caller {
        principal: Principal::Key { key: key.id.0 },
        sha256: key.sha256,
        user: None,
        behind: key.user_id.map(|id| id.0),
        account: Some((row, role)),
        scopes: key.scopes.0,
        function: key.function_id.map(|id| id.0),
        expires: key.expires.map(|at| at.0),
        actor: Actor(key.id.to_string()),
        label: format!("the key {}", key.name),
        turn: Turn::default(),
    })
}

async fn with_session(app: &App, session: sessions::Model, account: Option<&str>) -> Result<Caller> {
    let now = Timestamp::now();
    if *session.expires <= now {
        return Err(refuse(Code::InvalidKey, "The log-in has expired."));
    }
    let read = app.db.read();
    let named = async {
        let Some(Ok(name)) = account.map(str::parse::<Name>) else { return Ok(None) };
        accounts::Entity::find().filter(accounts::Column::Name.eq(Col(name))).one(read).await
    };
    let (user, mut memberships, named) = tokio::try_join!(
        users::Entity::find_by_id(session.user_id).one(read),
        members::Entity::find().filter(members::Column::UserId.eq(session.user_id)).all(read),
        named,
    )?;
    let user = user.ok_or_else(|| Error::Internal("a session without its user".to_owned()))?;
    let account = match account {
        Some(name) => {
            let member = named.and_then(|row| {
                let role = memberships.iter().find(|member| member.account_id == row.id)?.role.0;
                Some((row, role))
            });
            let missing = || format!("You have no account `{}`.", name.escape_debug());
            Some(member.ok_or_else(|| refuse_field(Code::NotFound, headers::ACCOUNT, missing()))?)
        }
        None if memberships.len() == 1 => {
            let only = memberships.remove(0);
            let row = accounts::Entity::find_by_id(only.account_id).one(app.db.read()).await?;
            row.map(|row| (row, only.role.0))
        }
        None => None,
    };
    let expires = super::sessions::touch(&app.db, &app.config, &session, now).await?;
    Ok(Caller {
        principal: Principal::Session { session: session.id.0, user: user.id.0 },
        sha256: session.sha256,
        scopes: account.as_ref().map(|(_, role)| scopes_of(*role)).unwrap_or_default(),
        account,
        function: None,
        expires: Some(expires),
        actor: Actor(user.id.to_string()),
        label: user.email.clone(),
        behind: Some(user.id.0),
        turn: Turn::default(),
        user: Some(user),
    })
}

/// The named account of a request.
pub(crate) fn account_header(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get(headers::ACCOUNT) else { return Ok(None) };
    let wrong = |_| refuse_field(Code::InvalidRequest, headers::ACCOUNT, "x-crowdcloud-account is not a name.");
    value.to_str().map(Some).map_err(wrong)
}

/// Refuses what a browser sends from another site, where a cookie would give it power.
pub(crate) fn same_site(parts: &Parts) -> Result<()> {
    if cross_site(&parts.method, &parts.headers) {
        return Err(refuse(Code::CrossSite, "The browser says that another site sends this."));
    }
    Ok(())
}

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let token = match (bearer(&parts.headers), cookie(&parts.headers)) {
            (Some(token), _) => token,
            (None, Some(token)) => {
                same_site(parts)?;
                token
            }
            (None, None) => return Err(refuse(Code::Unauthenticated, "The request carries neither key nor session.")),
        };
        let sha256 = sha256_hex(token.as_bytes());
        let account = account_header(&parts.headers)?;
        let asker = Asker::of(&sha256, account);
        app.bounds.refuse_again(&asker)?;
        let mut caller = authenticate(app, &sha256, account).await?;
        authority::claim(&caller);
        if let Some(tenant) = caller.tenant() {
            caller.turn = app.bounds.request_of(asker, tenant).await?;
            // Whoever reads the body gives it up meanwhile.
            parts.extensions.insert(caller.turn.clone());
        }
        Ok(caller)
    }
}

impl OptionalFromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>> {
        match <Self as FromRequestParts<App>>::from_request_parts(parts, app).await {
            Ok(caller) => Ok(Some(caller)),
            Err(Error::Refused(problem)) if problem.status == 401 => Ok(None),
            Err(error) => Err(error),
        }
    }
}
