//! A mutation: one transaction with its revision, its audit row and its outbox rows. There is no way to commit
//! without saying who did what.

use protocol::{AccountId, Timestamp};
use sea_orm::{ActiveValue::Set, DatabaseTransaction, DbErr, EntityTrait as _};

use super::columns::{Col, unsigned};
use super::entities::{audit, outbox};
use super::{Db, Writing, count};
use crate::error::Result;
use crate::idempotency;
use crate::identity::authority;

/// An outbox row with a function's new route.
pub(crate) const ROUTE: &str = "route";

/// Who changes something, as the audit names them.
#[derive(Debug, Clone)]
pub(crate) struct Actor(pub String);

impl Actor {
    /// The platform itself.
    pub(crate) fn platform() -> Self {
        Self("platform".to_owned())
    }
}

/// An open transaction that holds the revision's lock.
pub(crate) struct Mutation {
    tx: Writing,
    revision: i64,
    events: Vec<Event>,
    at: Timestamp,
}

struct Event {
    account: Option<AccountId>,
    kind: &'static str,
    key: String,
    payload: String,
}

/// What came of a mutation.
#[derive(Debug, Clone, Copy)]
#[must_use = "changes of routes must be waited for, see `App::announce`"]
pub(crate) struct Committed {
    /// Its revision.
    pub revision: u64,
    /// Whether something was put into the outbox.
    pub events: bool,
    /// Whether a route was among it.
    pub routes: bool,
}

impl Db {
    /// Begins a mutation; others wait until it ends. Refuses where it is a request's whose caller may no longer.
    pub(crate) async fn mutation(&self) -> Result<Mutation> {
        let tx = self.begin().await?;
        let revision = count(&tx, "revision", 1).await?;
        authority::check(&tx).await?;
        Ok(Mutation { tx, revision, events: Vec::new(), at: Timestamp::now() })
    }

    /// A transaction of a request that writes no audit. Refuses where its caller may no longer.
    pub(crate) async fn begin_asked(&self) -> Result<Writing> {
        let tx = self.begin().await?;
        authority::check_until_commit(&tx).await?;
        Ok(tx)
    }
}

impl Mutation {
    /// The transaction.
    pub(crate) fn tx(&self) -> &DatabaseTransaction {
        &self.tx
    }

    /// Its place in the order of all mutations.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// When it happens.
    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    /// Adds an event to the outbox.
    pub(crate) fn tell(&mut self, account: Option<AccountId>, kind: &'static str, key: String, payload: String) {
        self.events.push(Event { account, kind, key, payload });
    }

    /// Writes audit and outbox, and commits.
    pub(crate) async fn commit(
        self,
        actor: &Actor,
        account: Option<AccountId>,
        action: &'static str,
        target: impl std::fmt::Display,
    ) -> Result<Committed, DbErr> {
        audit::Entity::insert(audit::ActiveModel {
            revision: Set(self.revision),
            account_id: Set(account.map(Col)),
            actor: Set(actor.0.clone()),
            action: Set(action.to_owned()),
            target: Set(target.to_string()),
            at: Set(self.at.into()),
        })
        .exec_without_returning(&self.tx)
        .await?;
        let events = !self.events.is_empty();
        let routes = self.events.iter().any(|event| event.kind == ROUTE);
        if events {
            let rows = self.events.into_iter().zip(0..).map(|(event, part)| outbox::ActiveModel {
                revision: Set(self.revision),
                part: Set(part),
                account_id: Set(event.account.map(Col)),
                kind: Set(event.kind.to_owned()),
                key: Set(event.key),
                payload: Set(event.payload),
                at: Set(self.at.into()),
            });
            outbox::Entity::insert_many(rows).exec_without_returning(&self.tx).await?;
        }
        if let Some(account) = account {
            idempotency::needed_account(account);
        }
        idempotency::mark_effect(&self.tx).await?;
        self.tx.commit().await?;
        fabric::fault::point("mutation.committed");
        Ok(Committed { revision: unsigned(self.revision), events, routes })
    }
}
