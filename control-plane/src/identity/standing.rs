//! Whether a caller may still do what it was let in for. A request is checked when it comes; what lasts longer (streams,
//! waits) is checked again while it runs, so that it ends within a second of the key's, the log-in's or the membership's
//! end, on whichever control plane that was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use protocol::api::Role;
use protocol::route::{Principal, Scope};
use protocol::{AccountId, Code, Timestamp};
use sea_orm::{ConnectionTrait as _, DbErr, Statement, Value};
use tokio_util::task::AbortOnDropHandle;

use super::caller::{Caller, scopes_of};
use crate::App;
use crate::db::columns::Col;
use crate::error::{Error, Result, refuse};

/// So many checks in a row may fail for the database's sake.
const UNCERTAIN_MAX: u32 = 2;

/// A credential, and what it must still allow: one of these scopes in this account.
pub(crate) struct Standing {
    app: App,
    principal: Principal,
    account: AccountId,
    scopes: &'static [Scope],
    expires: Option<Timestamp>,
    known: Known,
}

/// What a credential's last check found, and when; nothing where it has ended.
type Known = Arc<tokio::sync::Mutex<Option<(Instant, Option<Vec<Scope>>)>>>;

/// The last checks of credentials that are in use: the hundreds of streams that one may have open are checked by one look.
#[derive(Default)]
pub(crate) struct Standings(parking_lot::Mutex<HashMap<(uuid::Uuid, AccountId), Known>>);

/// With more of them, those that nobody uses are forgotten.
const REMEMBERED_MAX: usize = 256;

impl Standings {
    fn of(&self, principal: &Principal, account: AccountId) -> Known {
        let id = match principal {
            Principal::Key { key } => key.uuid(),
            Principal::Session { session, .. } => session.uuid(),
        };
        let mut all = self.0.lock();
        if all.len() >= REMEMBERED_MAX && !all.contains_key(&(id, account)) {
            all.retain(|_, known| Arc::strong_count(known) > 1);
        }
        Arc::clone(all.entry((id, account)).or_default())
    }
}

impl Standing {
    /// Of a caller who was let in for one of these scopes.
    pub(crate) fn of(app: &App, caller: &Caller, scopes: &'static [Scope]) -> Result<Self> {
        let account = caller.account()?.id.0;
        let (principal, expires) = (caller.principal.clone(), caller.expires);
        let known = app.standings.of(&principal, account);
        Ok(Self { app: app.clone(), principal, account, scopes, expires, known })
    }

    /// The stream, until the caller may no longer see it, however slowly it is read.
    pub(crate) fn over<S: Stream>(self, stream: S) -> impl Stream<Item = S::Item> {
        let ended = tokio::spawn(async move { self.ended().await });
        stream.take_until(AbortOnDropHandle::new(ended))
    }

    /// What comes of the work, or a refusal as soon as the caller may no longer wait for it.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.ended() => Err(ended()),
        }
    }

    /// Refuses where the caller may no longer.
    pub(crate) async fn check(&self) -> Result<()> {
        match self.holds().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ended()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the end.
    async fn ended(&self) {
        let mut uncertain = 0;
        while uncertain < UNCERTAIN_MAX {
            tokio::time::sleep(self.every()).await;
            match self.holds().await {
                Ok(true) => uncertain = 0,
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "a stream's caller cannot be checked");
                    uncertain += 1;
                }
            }
        }
    }

    /// The pause between two checks.
    pub(crate) fn every(&self) -> Duration {
        self.app.config.standing_check.duration()
    }

    async fn holds(&self) -> Result<bool, DbErr> {
        if matches!(self.principal, Principal::Key { .. }) && self.expires.is_some_and(|end| end <= Timestamp::now()) {
            return Ok(false);
        }
        let mut known = self.known.lock().await;
        if known.as_ref().is_none_or(|(at, _)| at.elapsed() >= self.every() / 2) {
            *known = None;
            *known = Some((Instant::now(), self.held().await?));
        }
        let held = known.as_ref().and_then(|(_, held)| held.as_ref());
        Ok(held.is_some_and(|held| self.scopes.iter().any(|scope| scope.is_in(held))))
    }

    /// The scopes that the credential has now; none where it has ended.
    async fn held(&self) -> Result<Option<Vec<Scope>>, DbErr> {
        let now = Timestamp::now();
        // A log-in is prolonged by its use: the row says until when.
        let (sql, values, of_key): (_, Vec<Value>, _) = match &self.principal {
            Principal::Key { key } => (
                "SELECT k.scopes FROM api_keys k JOIN accounts a ON a.id = k.account_id WHERE k.id = $1 AND a.id = $2",
                vec![Col(*key).into(), Col(self.account).into()],
                true,
            ),
            Principal::Session { session, user } => (
                "SELECT m.role FROM sessions s JOIN users u ON u.id = s.user_id JOIN members m ON m.user_id = u.id \
                 JOIN accounts a ON a.id = m.account_id \
                 WHERE s.id = $1 AND u.id = $2 AND a.id = $3 AND s.expires > $4",
                vec![Col(*session).into(), Col(*user).into(), Col(self.account).into(), Col(now).into()],
                false,
            ),
        };
        let connection = self.app.db.read();
        let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
        let Some(row) = connection.query_one_raw(statement).await? else { return Ok(None) };
        Ok(Some(match of_key {
            true => row.try_get_by_index::<Col<Vec<Scope>>>(0)?.0,
            false => scopes_of(row.try_get_by_index::<Col<Role>>(0)?.0),
        }))
    }
}

fn ended() -> Error {
    refuse(Code::InvalidKey, "The key, log-in or membership has ended meanwhile.")
}
