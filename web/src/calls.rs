//! Every call that the portal makes, with its path and types: one place to compare with the API document.

pub(crate) mod jobs;
pub(crate) mod nodes;
pub(crate) mod queues;
pub(crate) mod second_factor;
pub(crate) mod store;
pub(crate) mod usage;

use protocol::api::{
    AcceptInvitation, Alias, AskPasswordReset, AuditEntry, ChangeFunction, ChangePassword, ChangeRole, CreateAccount,
    CreateInvitation, CreateKey, CreateVersion, Function, Invitation, InvitationPreview, Invocation, InvocationPage,
    Key, KeysLeft, LogPage, Login, LoginCode, Made, Me, Member, Membership, Page, PlatformLimits, Rollback, Session,
    SetAlias, Signup, TestAnswer, TestCall, UsePasswordReset, Version,
};
use protocol::{InvitationId, KeyId, RunId, SessionId, UserId, headers};

use crate::api::{Call, Result};
use crate::nav::encode;

/// Rows that a list asks for at once.
pub(crate) const ROWS_MAX: u32 = 100;
/// Functions on a page, the most that there may be; and pages that are asked for: 10 000 functions.
const FUNCTION_ROWS: u32 = 200;
pub(crate) const FUNCTION_PAGES_MAX: usize = 50;
/// Rows of a list of the newest, beside which all are a link away.
pub(crate) const NEWEST_ROWS: u32 = 10;
/// Rows of a live list.
pub(crate) const LIVE_ROWS: u32 = 50;

pub(crate) async fn limits() -> Result<PlatformLimits> {
    Call::get("/limits").send().await
}

pub(crate) async fn me() -> Result<Me> {
    Call::get("/me").send().await
}

pub(crate) async fn signup(body: &Signup) -> Result<Me> {
    Call::post("/signup").json(body).await
}

pub(crate) async fn login(body: &Login) -> Result<Me> {
    Call::post("/sessions").json(body).await
}

pub(crate) async fn login_with_code(body: &LoginCode) -> Result<Me> {
    Call::post("/sessions/code").json(body).await
}

pub(crate) async fn ask_password_reset(body: &AskPasswordReset) -> Result<()> {
    Call::post("/password-resets").json(body).await
}

pub(crate) async fn use_password_reset(body: &UsePasswordReset) -> Result<()> {
    Call::post("/password-resets/use").json(body).await
}

pub(crate) async fn logout() -> Result<()> {
    Call::delete("/sessions/current").send().await
}

pub(crate) async fn sessions() -> Result<Page<Session>> {
    Call::get(&format!("/sessions?limit={ROWS_MAX}")).send().await
}

pub(crate) async fn end_session(id: SessionId) -> Result<()> {
    Call::delete(&format!("/sessions/{id}")).send().await
}

pub(crate) async fn change_password(body: &ChangePassword) -> Result<()> {
    Call::put("/me/password").json(body).await
}

pub(crate) async fn create_account(body: &CreateAccount) -> Result<Membership> {
    Call::post("/accounts").json(body).await
}

pub(crate) async fn members(account: &str) -> Result<Page<Member>> {
    Call::get(&format!("/members?limit={ROWS_MAX}")).of(account).send().await
}

pub(crate) async fn change_role(account: &str, user: UserId, body: &ChangeRole) -> Result<Member> {
    Call::patch(&format!("/members/{user}")).of(account).json(body).await
}

pub(crate) async fn made_by(account: &str, user: UserId) -> Result<Made> {
    Call::get(&format!("/members/{user}/made")).of(account).send().await
}

pub(crate) async fn remove_member(account: &str, user: UserId, keys: KeysLeft) -> Result<()> {
    let keys = match keys {
        KeysLeft::Revoke => "revoke",
        KeysLeft::TakeOver => "take_over",
    };
    Call::delete(&format!("/members/{user}?keys={keys}")).of(account).send().await
}

pub(crate) async fn invitations(account: &str) -> Result<Page<Invitation>> {
    Call::get(&format!("/invitations?limit={ROWS_MAX}")).of(account).send().await
}

pub(crate) async fn invite(account: &str, body: &CreateInvitation) -> Result<Invitation> {
    Call::post("/invitations").of(account).json(body).await
}

pub(crate) async fn withdraw_invitation(account: &str, id: InvitationId) -> Result<()> {
    Call::delete(&format!("/invitations/{id}")).of(account).send().await
}

pub(crate) async fn invitation(token: &str) -> Result<InvitationPreview> {
    Call::get(&format!("/invitations/by-token/{}", encode(token))).send().await
}

pub(crate) async fn accept_invitation(body: &AcceptInvitation) -> Result<Membership> {
    Call::post("/invitations/accept").json(body).await
}

pub(crate) async fn keys(account: &str) -> Result<Page<Key>> {
    Call::get(&format!("/keys?limit={ROWS_MAX}")).of(account).send().await
}

pub(crate) async fn create_key(account: &str, body: &CreateKey) -> Result<Key> {
    Call::post("/keys").of(account).json(body).await
}

pub(crate) async fn revoke_key(account: &str, id: KeyId) -> Result<()> {
    Call::delete(&format!("/keys/{id}")).of(account).send().await
}

/// A page of who changed what. `query` is what of it is asked for, such as `&action=function`.
pub(crate) async fn audit(account: &str, query: &str) -> Result<Page<AuditEntry>> {
    Call::get(&format!("/audit?limit={ROWS_MAX}{query}")).of(account).send().await
}

/// All functions, as far as pages go.
pub(crate) async fn functions(account: &str) -> Result<Page<Function>> {
    let mut whole = functions_page(account, "").await?;
    for _ in 1..FUNCTION_PAGES_MAX {
        let Some(cursor) = whole.next.take() else { break };
        let page = functions_page(account, &cursor).await?;
        whole.items.extend(page.items);
        whole.next = page.next;
    }
    Ok(whole)
}

/// One page of them; `cursor` is the page's, empty for the first.
pub(crate) async fn functions_page(account: &str, cursor: &str) -> Result<Page<Function>> {
    let cursor = if cursor.is_empty() { String::new() } else { format!("&cursor={}", encode(cursor)) };
    Call::get(&format!("/functions?limit={FUNCTION_ROWS}{cursor}")).of(account).send().await
}

/// Those that were deleted and are still kept, the newest.
pub(crate) async fn deleted_functions(account: &str) -> Result<Page<Function>> {
    Call::get(&format!("/functions?deleted=true&limit={ROWS_MAX}")).of(account).send().await
}

/// Whether there is a function.
pub(crate) async fn any_function(account: &str) -> Result<bool> {
    let page: Page<Function> = Call::get("/functions?limit=1").of(account).send().await?;
    Ok(!page.items.is_empty())
}

pub(crate) async fn function(account: &str, name: &str) -> Result<Function> {
    Call::get(&format!("/functions/{}", encode(name))).of(account).send().await
}

pub(crate) async fn change_function(account: &str, name: &str, body: &ChangeFunction) -> Result<Function> {
    Call::patch(&format!("/functions/{name}")).of(account).json(body).await
}

pub(crate) async fn delete_function(account: &str, name: &str) -> Result<()> {
    Call::delete(&format!("/functions/{name}")).of(account).send().await
}

pub(crate) async fn restore_function(account: &str, name: &str) -> Result<Function> {
    Call::post(&format!("/functions/{}/restore", encode(name))).of(account).send().await
}

pub(crate) async fn versions(account: &str, function: &str) -> Result<Page<Version>> {
    Call::get(&format!("/functions/{function}/versions?limit={ROWS_MAX}")).of(account).send().await
}

pub(crate) async fn version(account: &str, function: &str, number: u32) -> Result<Version> {
    Call::get(&format!("/functions/{function}/versions/{number}")).of(account).send().await
}

pub(crate) async fn create_version(account: &str, function: &str, body: &CreateVersion) -> Result<Version> {
    Call::post(&format!("/functions/{function}/versions")).of(account).json(body).await
}

pub(crate) async fn rollback(account: &str, function: &str, body: &Rollback) -> Result<Alias> {
    Call::post(&format!("/functions/{function}/rollback")).of(account).json(body).await
}

pub(crate) async fn set_alias(
    account: &str,
    function: &str,
    alias: &str,
    etag: Option<&str>,
    body: &SetAlias,
) -> Result<Alias> {
    let call = Call::put(&format!("/functions/{function}/aliases/{alias}")).of(account);
    let call = match etag {
        Some(etag) => call.if_match(etag),
        None => call,
    };
    call.json(body).await
}

pub(crate) async fn delete_alias(account: &str, function: &str, alias: &str) -> Result<()> {
    Call::delete(&format!("/functions/{function}/aliases/{alias}")).of(account).send().await
}

pub(crate) async fn test(account: &str, function: &str, body: &TestCall) -> Result<TestAnswer> {
    Call::post(&format!("/functions/{function}/test")).of(account).json(body).await
}

pub(crate) async fn invocations(account: &str, function: Option<&str>) -> Result<InvocationPage> {
    let filter = function.map(|name| format!("&function={name}")).unwrap_or_default();
    Call::get(&format!("/invocations?limit={NEWEST_ROWS}{filter}")).of(account).send().await
}

pub(crate) async fn invocation(account: &str, run: RunId) -> Result<Invocation> {
    Call::get(&format!("/invocations/{run}")).of(account).send().await
}

/// The newest lines that a function's runs wrote.
pub(crate) async fn logs(account: &str, function: &str) -> Result<LogPage> {
    let call = Call::get(&format!("/functions/{function}/logs")).of(account);
    let (since, items) = call.lines(headers::LOGS_SINCE).await?;
    Ok(LogPage { items, next: None, since: since.and_then(|since| since.parse().ok()) })
}

/// What one run wrote: nothing, before the run itself is known.
pub(crate) async fn run_logs(account: &str, run: RunId) -> Result<LogPage> {
    match Call::get(&format!("/invocations/{run}/logs")).of(account).send().await {
        Err(trouble) if trouble.status == 404 => Ok(LogPage { items: Vec::new(), next: None, since: None }),
        answer => answer,
    }
}
