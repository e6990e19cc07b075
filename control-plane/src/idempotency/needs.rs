//! What a request had to be allowed to do. Whoever repeats it later must still be allowed to, to see its answer.

use std::sync::{Arc, Mutex, PoisonError};

use protocol::api::Role;
use protocol::route::Scope;
use protocol::{AccountId, Code};
use sea_orm::EntityTrait as _;
use serde::{Deserialize, Serialize};

use crate::App;
use crate::db::columns::Col;
use crate::db::entities::members;
use crate::error::{Result, refuse};
use crate::identity::caller::{Caller, scopes_of};

tokio::task_local! {
    /// What the request of this task has needed so far.
    static NEEDS: Arc<Mutex<Needs>>;
}

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Need {
    account: AccountId,
    scope: Option<Scope>,
    role: Option<Role>,
}

/// All permissions that a request used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Needs(Vec<Need>);

/// Runs a request, and says what it has needed.
pub(super) async fn noted<T>(work: impl Future<Output = T>) -> (T, Needs) {
    let needs = Arc::new(Mutex::new(Needs::default()));
    let done = NEEDS.scope(Arc::clone(&needs), work).await;
    let needs = needs.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (done, needs)
}

fn note(need: Need) {
    // Elsewhere nobody can repeat the request.
    let _ = NEEDS.try_with(|needs| {
        let Needs(list) = &mut *needs.lock().unwrap_or_else(PoisonError::into_inner);
        if !list.contains(&need) {
            list.push(need);
        }
    });
}

/// The caller was allowed this in this account.
pub(crate) fn needed_scope(account: AccountId, scope: Scope) {
    note(Need { account, scope: Some(scope), role: None });
}

/// The caller has this role in this account, at least.
pub(crate) fn needed_role(account: AccountId, role: Role) {
    note(Need { account, scope: None, role: Some(role) });
}

/// The request was about this account.
pub(crate) fn needed_account(account: AccountId) {
    note(Need { account, scope: None, role: None });
}

impl Needs {
    /// Refuses a caller who may not do all of it now.
    pub(super) async fn check(&self, app: &App, caller: &Caller) -> Result<()> {
        for need in &self.0 {
            let Some((role, scopes)) = held(app, caller, need.account).await? else {
                return Err(refuse(Code::Forbidden, "You are no longer a member of the account of that request."));
            };
            let scope = need.scope.is_none_or(|scope| scope.is_in(&scopes));
            if !scope || need.role.is_some_and(|needed| role < needed) {
                return Err(refuse(Code::Forbidden, "You may no longer do what that request did."));
            }
        }
        Ok(())
    }
}

/// What the caller may do in an account, be it the one of the request or another of the user.
async fn held(app: &App, caller: &Caller, account: AccountId) -> Result<Option<(Role, Vec<Scope>)>> {
    if let Some((row, role)) = &caller.account
        && row.id.0 == account
    {
        return Ok(Some((*role, caller.scopes.clone())));
    }
    let Some(user) = &caller.user else { return Ok(None) };
    let member = members::Entity::find_by_id((Col(account), user.id)).one(app.db.read()).await?;
    Ok(member.map(|member| (member.role.0, scopes_of(member.role.0))))
}
