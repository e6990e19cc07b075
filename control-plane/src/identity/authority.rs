//! What lets a request have its effect, asked for again while it is worked on. A body may take its time, and a key, a
//! log-in, a membership or a role may end meanwhile: so they are looked at again once the body has come, and in the very
//! transaction that has the effect, where nobody can slip in between.
//!
//! ```text
//! caller is known --claim--> body has come --check--> transaction --check, with the lock held--> effect
//! ```

use std::sync::{Arc, OnceLock};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use protocol::api::Role;
use protocol::route::{Principal, Scope};
use protocol::{AccountId, Code, KeyId, SessionId, Timestamp, UserId};
use sea_orm::{ConnectionTrait, DatabaseTransaction, EntityTrait, QuerySelect as _, Select};

use super::caller::Caller;
use crate::db::columns::Col;
use crate::db::entities::{api_keys, members, sessions};
use crate::error::{Error, Result, refuse};

tokio::task_local! {
    /// Of the request that this task works on; what the platform does by itself has none.
    static CURRENT: Authority;
}

/// What a request goes by, once its caller is known. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Authority(Arc<OnceLock<Claim>>);

/// A credential, and what it allowed when the request came.
#[derive(Debug)]
struct Claim {
    principal: Principal,
    behind: Option<UserId>,
    account: Option<(AccountId, Role)>,
    scopes: Vec<Scope>,
}

/// The middleware of the public API: a place for what the caller turns out to be.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    Authority::default().during(next.run(request)).await
}

/// What this task's request goes by, for another task that works on the same request.
pub(crate) fn current() -> Authority {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// The request of this task is this caller's.
pub(crate) fn claim(caller: &Caller) {
    // Outside of the public API nobody goes by a caller.
    let _ = CURRENT.try_with(|Authority(claim)| {
        claim.get_or_init(|| Claim {
            principal: caller.principal.clone(),
            behind: caller.behind,
            account: caller.account.as_ref().map(|(account, role)| (account.id.0, *role)),
            scopes: caller.scopes.clone(),
        });
    });
}

/// Refuses where the caller of this task's request may no longer do all that it could when the request came.
pub(crate) async fn check<C: ConnectionTrait>(connection: &C) -> Result<()> {
    look(connection, Good::Now).await
}

/// The same for a transaction that nothing else holds off from those that end credentials.
pub(crate) async fn check_until_commit(tx: &DatabaseTransaction) -> Result<()> {
    look(tx, Good::UntilCommit).await
}

/// How long what was found is to stay so.
#[derive(Debug, Clone, Copy)]
enum Good {
    Now,
    UntilCommit,
}

impl Good {
    fn select<E: EntityTrait>(self, query: Select<E>) -> Select<E> {
        match self {
            Self::Now => query,
            Self::UntilCommit => query.lock_shared(),
        }
    }
}

async fn look<C: ConnectionTrait>(connection: &C, good: Good) -> Result<()> {
    let Authority(claim) = current();
    let Some(claim) = claim.get() else { return Ok(()) };
    match &claim.principal {
        Principal::Key { key } => claim.check_key(connection, good, *key).await,
        Principal::Session { session, user } => claim.check_session(connection, good, (*session, *user)).await,
    }
}

impl Authority {
    /// Does work of the request.
    pub(crate) async fn during<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }
}

impl Claim {
    async fn check_key<C: ConnectionTrait>(&self, connection: &C, good: Good, key: KeyId) -> Result<()> {
        let row = good.select(api_keys::Entity::find_by_id(Col(key))).one(connection).await?.ok_or_else(ended)?;
        // Whoever has taken the key over does not answer for what is made of it in the name of another.
        let taken_over = row.user_id.map(|user| user.0) != self.behind;
        if taken_over || row.expires.is_some_and(|expires| *expires <= Timestamp::now()) {
            return Err(ended());
        }
        match self.scopes.iter().all(|scope| scope.is_in(&row.scopes)) {
            true => Ok(()),
            false => Err(lowered()),
        }
    }

    async fn check_session<C: ConnectionTrait>(
        &self,
        connection: &C,
        good: Good,
        (session, user): (SessionId, UserId),
    ) -> Result<()> {
        let row = good.select(sessions::Entity::find_by_id(Col(session))).one(connection).await?.ok_or_else(ended)?;
        if row.user_id.0 != user || *row.expires <= Timestamp::now() {
            return Err(ended());
        }
        let Some((account, role)) = self.account else { return Ok(()) };
        let member = good.select(members::Entity::find_by_id((Col(account), Col(user)))).one(connection).await?;
        match member.is_some_and(|member| *member.role >= role) {
            true => Ok(()),
            false => Err(lowered()),
        }
    }
}

fn ended() -> Error {
    refuse(Code::InvalidKey, "The key or log-in has ended while the request was on its way.")
}

fn lowered() -> Error {
    let detail = "The membership has ended, or its role is a lower one, since the request came. Nothing was done.";
    refuse(Code::Forbidden, detail)
}
