//! Handlers: sign-up, sessions, the user, accounts, members, invitations, keys.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use protocol::api::{
    AcceptInvitation, ChangePassword, ChangeRole, CreateAccount, CreateInvitation, CreateKey, Invitation,
    InvitationPreview, Key, KeysLeft, Login, LoginCode, Made, Me, Member, Membership, Page, Session, Signup,
};
use protocol::headers::CHALLENGE_COOKIE;
use protocol::route::Principal;
use protocol::{Code, InvitationId, KeyId, SessionId, UserId};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, Query, created, created_once, text, user_agent};
use crate::App;
use crate::erasure;
use crate::error::{Result, refuse};
use crate::identity::caller::Caller;
use crate::identity::codes::clear_challenge;
use crate::identity::credentials::{clear_cookie, cookie_named, cross_site, set_cookie};
use crate::identity::signup::{FirstStep, LoggedIn, Visitor};
use crate::identity::tries::Client;
use crate::identity::{accounts, devices, invitations, keys, members, sessions, signup};
use crate::paging::{Paging, whole};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(log_in, list_sessions))
        .routes(routes!(log_in_with_code))
        .routes(routes!(end_current_session))
        .routes(routes!(end_session))
        .routes(routes!(me))
        .routes(routes!(change_password))
        .routes(routes!(create_account, list_accounts))
        .routes(routes!(show_account, delete_account))
        .routes(routes!(list_members))
        .routes(routes!(change_member, remove_member))
        .routes(routes!(member_made))
        .routes(routes!(create_invitation, list_invitations))
        .routes(routes!(revoke_invitation))
        .routes(routes!(preview_invitation))
        .routes(routes!(accept_invitation))
        .routes(routes!(create_key, list_keys))
        .routes(routes!(revoke_key))
}

fn check_site(headers: &HeaderMap) -> Result<()> {
    match cross_site(&Method::POST, headers) {
        true => Err(refuse(Code::CrossSite, "The browser says that another site sends this.")),
        false => Ok(()),
    }
}

fn visitor(headers: &HeaderMap) -> Visitor<'_> {
    Visitor {
        client: Client::of(headers),
        device: devices::cookie(headers),
        challenge: cookie_named(headers.get_all(header::COOKIE), CHALLENGE_COOKIE),
        user_agent: user_agent(headers),
        secure: text(headers, &HeaderName::from_static("x-forwarded-proto")) == Some("https"),
    }
}

fn with_cookies(response: impl IntoResponse, cookies: impl IntoIterator<Item = String>) -> Response {
    let mut response = response.into_response();
    for value in cookies.into_iter().filter_map(|cookie| HeaderValue::try_from(cookie).ok()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

fn logged_in(app: &App, visitor: &Visitor<'_>, who: LoggedIn) -> Response {
    let session = set_cookie(&who.token, app.config.session_age_max.duration(), visitor.secure);
    with_cookies((StatusCode::CREATED, Json(who.me)), [session, who.device])
}

/// Makes a user, with an account of their own or by invitation, and logs them in.
#[utoipa::path(post, path = "/signup", tag = "users", request_body = Signup, responses((status = 201, body = Me)))]
async fn sign_up(State(app): State<App>, headers: HeaderMap, Json(asked): Json<Signup>) -> Result<Response> {
    check_site(&headers)?;
    let visitor = visitor(&headers);
    let who = signup::sign_up(&app, asked, &visitor).await?;
    Ok(logged_in(&app, &visitor, who))
}

/// Logs in: sets the session's cookie. Where the user has a second factor it is refused with `code_needed`, and sets a
/// cookie for the second step.
#[utoipa::path(post, path = "/sessions", tag = "users", request_body = Login, responses((status = 201, body = Me)))]
async fn log_in(State(app): State<App>, headers: HeaderMap, Json(asked): Json<Login>) -> Result<Response> {
    check_site(&headers)?;
    let visitor = visitor(&headers);
    Ok(match signup::log_in(&app, asked, &visitor).await? {
        FirstStep::LoggedIn(who) => logged_in(&app, &visitor, who),
        FirstStep::CodeNeeded(challenge) => {
            let refused = refuse(Code::CodeNeeded, "The password is right; a code of the second factor is needed.");
            with_cookies(refused, [challenge])
        }
    })
}

/// The second step of a log-in: with a code that the app shows, or a recovery code.
#[utoipa::path(post, path = "/sessions/code", tag = "users", request_body = LoginCode, responses((status = 201, body = Me)))]
async fn log_in_with_code(
    State(app): State<App>,
    headers: HeaderMap,
    Json(asked): Json<LoginCode>,
) -> Result<Response> {
    check_site(&headers)?;
    let visitor = visitor(&headers);
    let who = signup::log_in_with_code(&app, asked, &visitor).await?;
    Ok(with_cookies(logged_in(&app, &visitor, who), [clear_challenge()]))
}

fn session_of(caller: &Caller) -> Option<SessionId> {
    match caller.principal {
        Principal::Session { session, .. } => Some(session),
        Principal::Key { .. } => None,
    }
}

/// The user's log-ins.
#[utoipa::path(get, path = "/sessions", tag = "users", params(Paging), responses((status = 200, body = Page<Session>)))]
async fn list_sessions(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Session>>> {
    let user = caller.user()?.id.0;
    Ok(Json(sessions::list(&app.db, user, session_of(&caller), &paging).await?))
}

async fn end(app: &App, caller: &Caller, session: SessionId) -> Result<()> {
    let user = caller.user()?.id.0;
    let mut mutation = app.db.mutation().await?;
    sessions::end(&mut mutation, user, session).await?;
    let committed = mutation.commit(&caller.actor, None, "session.end", session).await?;
    app.announce(committed).await;
    Ok(())
}

/// Logs out.
#[utoipa::path(delete, path = "/sessions/current", tag = "users", responses((status = 204)))]
async fn end_current_session(State(app): State<App>, caller: Caller) -> Result<Response> {
    let session = session_of(&caller).ok_or_else(|| refuse(Code::Forbidden, "A key has no session."))?;
    end(&app, &caller, session).await?;
    Ok(with_cookies(StatusCode::NO_CONTENT, [clear_cookie()]))
}

/// Ends a log-in of the user.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "users", params(("id" = SessionId, Path)), responses((status = 204)))]
async fn end_session(State(app): State<App>, caller: Caller, Path(id): Path<SessionId>) -> Result<StatusCode> {
    end(&app, &caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who asks.
#[utoipa::path(get, path = "/me", tag = "users", responses((status = 200, body = Me)))]
async fn me(State(app): State<App>, caller: Caller) -> Result<Json<Me>> {
    Ok(Json(accounts::me(&app, &caller).await?))
}

/// Changes the user's password; other log-ins end.
#[utoipa::path(put, path = "/me/password", tag = "users", request_body = ChangePassword, responses((status = 204)))]
async fn change_password(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Json(asked): Json<ChangePassword>,
) -> Result<Response> {
    let device = signup::change_password(&app, &caller, asked, &visitor(&headers)).await?;
    Ok(with_cookies(StatusCode::NO_CONTENT, [device]))
}

/// Makes an account that the user owns.
#[utoipa::path(post, path = "/accounts", tag = "accounts", request_body = CreateAccount, responses((status = 201, body = Membership)))]
async fn create_account(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<CreateAccount>,
) -> Result<(StatusCode, Json<Membership>)> {
    Ok(created(accounts::create(&app, &caller, asked).await?))
}

/// The user's accounts.
#[utoipa::path(get, path = "/accounts", tag = "accounts", responses((status = 200, body = Page<Membership>)))]
async fn list_accounts(State(app): State<App>, caller: Caller) -> Result<Json<Page<Membership>>> {
    Ok(Json(whole(accounts::list(&app, &caller).await?)))
}

/// One of the user's accounts.
#[utoipa::path(get, path = "/accounts/{name}", tag = "accounts", params(("name" = String, Path)), responses((status = 200, body = Membership)))]
async fn show_account(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<Membership>> {
    let found = accounts::list(&app, &caller).await?.into_iter().find(|row| row.account.name.as_str() == name);
    found.map(Json).ok_or_else(|| refuse(Code::NotFound, format!("You have no account `{name}`.")))
}

/// Deletes an account, with all that it has: for its owners, logged in. Its functions answer no more, its keys and triggers
/// end, its jobs are cancelled, its nodes leave; functions, jobs, queues, logs and history are erased within a day. Sums of
/// usage stay, under an id that leads to nobody. The name is free again after 30 days.
#[utoipa::path(delete, path = "/accounts/{name}", tag = "accounts", params(("name" = String, Path)), responses((status = 204)))]
async fn delete_account(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<StatusCode> {
    erasure::delete(&app, &caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The account's members.
#[utoipa::path(get, path = "/members", tag = "accounts", params(Paging), responses((status = 200, body = Page<Member>)))]
async fn list_members(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Member>>> {
    Ok(Json(members::list(&app, &caller, &paging).await?))
}

/// Changes a member's role.
#[utoipa::path(patch, path = "/members/{user}", tag = "accounts", params(("user" = UserId, Path)), request_body = ChangeRole, responses((status = 200, body = Member)))]
async fn change_member(
    State(app): State<App>,
    caller: Caller,
    Path(user): Path<UserId>,
    Json(asked): Json<ChangeRole>,
) -> Result<Json<Member>> {
    Ok(Json(members::change(&app, &caller, user, asked).await?))
}

/// What a member made: what becomes of it is to be decided before they are removed.
#[utoipa::path(get, path = "/members/{user}/made", tag = "accounts", params(("user" = UserId, Path)), responses((status = 200, body = Made)))]
async fn member_made(State(app): State<App>, caller: Caller, Path(user): Path<UserId>) -> Result<Json<Made>> {
    Ok(Json(members::made(&app, &caller, user).await?))
}

/// What becomes of what a member made.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Leaving {
    /// Their keys: `revoke` (where it is left out), or `take_over`.
    #[serde(default)]
    keys: KeysLeft,
}

/// Removes a member; everybody may remove themselves.
#[utoipa::path(delete, path = "/members/{user}", tag = "accounts", params(("user" = UserId, Path), Leaving), responses((status = 204)))]
async fn remove_member(
    State(app): State<App>,
    caller: Caller,
    Path(user): Path<UserId>,
    Query(leaving): Query<Leaving>,
) -> Result<StatusCode> {
    members::remove(&app, &caller, user, leaving.keys).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a link that makes its bearer a member, once.
#[utoipa::path(post, path = "/invitations", tag = "accounts", request_body = CreateInvitation, responses((status = 201, body = Invitation)))]
async fn create_invitation(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<CreateInvitation>,
) -> Result<Response> {
    let made = invitations::create(&app, &caller, asked).await?;
    let again = invitations::again(&made);
    Ok(created_once(made, &again))
}

/// The account's open invitations.
#[utoipa::path(get, path = "/invitations", tag = "accounts", params(Paging), responses((status = 200, body = Page<Invitation>)))]
async fn list_invitations(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Invitation>>> {
    Ok(Json(invitations::list(&app, &caller, &paging).await?))
}

/// Takes an invitation back.
#[utoipa::path(delete, path = "/invitations/{id}", tag = "accounts", params(("id" = InvitationId, Path)), responses((status = 204)))]
async fn revoke_invitation(State(app): State<App>, caller: Caller, Path(id): Path<InvitationId>) -> Result<StatusCode> {
    invitations::revoke(&app, &caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an invitation is for. Needs no log-in.
#[utoipa::path(get, path = "/invitations/by-token/{token}", tag = "accounts", params(("token" = String, Path)), responses((status = 200, body = InvitationPreview)))]
async fn preview_invitation(State(app): State<App>, Path(token): Path<String>) -> Result<Json<InvitationPreview>> {
    Ok(Json(invitations::preview(&app, &token).await?))
}

/// Joins the account that invites.
#[utoipa::path(post, path = "/invitations/accept", tag = "accounts", request_body = AcceptInvitation, responses((status = 201, body = Membership)))]
async fn accept_invitation(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<AcceptInvitation>,
) -> Result<(StatusCode, Json<Membership>)> {
    Ok(created(invitations::accept(&app, &caller, &asked.token).await?))
}

/// Makes an API key; its secret is shown only here.
#[utoipa::path(post, path = "/keys", tag = "keys", request_body = CreateKey, responses((status = 201, body = Key)))]
async fn create_key(State(app): State<App>, caller: Caller, Json(asked): Json<CreateKey>) -> Result<Response> {
    let made = keys::create(&app, &caller, asked).await?;
    let again = keys::again(&made);
    Ok(created_once(made, &again))
}

/// The account's keys.
#[utoipa::path(get, path = "/keys", tag = "keys", params(Paging), responses((status = 200, body = Page<Key>)))]
async fn list_keys(State(app): State<App>, caller: Caller, Query(paging): Query<Paging>) -> Result<Json<Page<Key>>> {
    Ok(Json(keys::list(&app, &caller, &paging).await?))
}

/// Revokes a key.
#[utoipa::path(delete, path = "/keys/{id}", tag = "keys", params(("id" = KeyId, Path)), responses((status = 204)))]
async fn revoke_key(State(app): State<App>, caller: Caller, Path(id): Path<KeyId>) -> Result<StatusCode> {
    keys::revoke(&app, &caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
