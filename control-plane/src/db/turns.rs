//! Turns at SQLite's one writer. It lets transactions in as they come; so what nobody waits for comes one at a time.
//!
//! ```text
//! prompt: requests, jobs, routes ------------\
//! bulk: cuts, packing, lines, sweeps ---1---> writer, first come, first served
//! ```
//! Whoever is waited for has at most one of the bulk before it, however much of it there is; and the bulk goes on, however
//! much else there is.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::prelude::async_trait;
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Whether somebody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Prompt,
    Bulk,
}

/// Who may write next. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    writer: Arc<Mutex<()>>,
    bulk: Arc<Mutex<()>>,
    patience: Duration,
}

/// A turn, over when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _writer: OwnedMutexGuard<()>,
    _bulk: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Whoever is waited for waits so long at most.
    pub(super) fn new(patience: Duration) -> Self {
        Self { writer: Arc::default(), bulk: Arc::default(), patience }
    }

    pub(super) async fn next(&self, urgency: Urgency) -> Result<Turn, DbErr> {
        let writer = Arc::clone(&self.writer).lock_owned();
        match urgency {
            Urgency::Prompt => {
                let late = |_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout);
                let writer = tokio::time::timeout(self.patience, writer).await.map_err(late)?;
                Ok(Turn { _writer: writer, _bulk: None })
            }
            Urgency::Bulk => {
                let bulk = Some(Arc::clone(&self.bulk).lock_owned().await);
                Ok(Turn { _writer: writer.await, _bulk: bulk })
            }
        }
    }
}

/// An open transaction that may write, and its turn. Dropped, it is rolled back.
pub(crate) struct Writing {
    // Before the turn: whoever comes next finds the connection free.
    tx: DatabaseTransaction,
    _turn: Option<Turn>,
}

impl Writing {
    pub(super) fn new(tx: DatabaseTransaction, turn: Option<Turn>) -> Self {
        Self { tx, _turn: turn }
    }

    /// Commits; the turn is over then.
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        self.tx.commit().await
    }

    /// Undoes all of it.
    #[cfg(test)]
    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        self.tx.rollback().await
    }
}

impl Deref for Writing {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.tx
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Writing {
    fn get_database_backend(&self) -> DbBackend {
        self.tx.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.tx.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.tx.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.tx.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.tx.query_all_raw(statement).await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn whoever_is_waited_for_has_at_most_one_of_the_bulk_before_it() {
        let turns = Turns::new(Duration::from_secs(10));
        let writes = turns.next(Urgency::Bulk).await.unwrap();
        let (mut second, mut third) = (pin!(turns.next(Urgency::Bulk)), pin!(turns.next(Urgency::Bulk)));
        assert!(poll!(second.as_mut()).is_pending());
        assert!(poll!(third.as_mut()).is_pending());
        let mut prompt = pin!(turns.next(Urgency::Prompt));
        assert!(poll!(prompt.as_mut()).is_pending());
        drop(writes);
        drop(prompt.as_mut().await);
        drop(second.await);
        drop(third.await);
    }

    #[tokio::test]
    async fn the_bulk_goes_on_beside_requests_without_end() {
        let turns = Turns::new(Duration::from_secs(10));
        let writes = turns.next(Urgency::Prompt).await.unwrap();
        let mut bulk = pin!(turns.next(Urgency::Bulk));
        assert!(poll!(bulk.as_mut()).is_pending());
        let mut later = pin!(turns.next(Urgency::Prompt));
        assert!(poll!(later.as_mut()).is_pending());
        drop(writes);
        assert!(poll!(later.as_mut()).is_pending(), "who came later goes before the bulk");
        drop(bulk.await);
        drop(later.await);
    }

    #[tokio::test]
    async fn whoever_is_waited_for_does_not_wait_for_ever() {
        let turns = Turns::new(Duration::from_millis(20));
        let _writes = turns.next(Urgency::Bulk).await.unwrap();
        let late = turns.next(Urgency::Prompt).await.unwrap_err();
        assert!(matches!(late, DbErr::ConnectionAcquire(_)), "{late}");
    }

    #[tokio::test]
    async fn whoever_stops_waiting_holds_up_nobody() {
        let turns = Turns::new(Duration::from_secs(10));
        let writes = turns.next(Urgency::Prompt).await.unwrap();
        {
            let mut left = pin!(turns.next(Urgency::Bulk));
            assert!(poll!(left.as_mut()).is_pending());
        }
        drop(writes);
        drop(turns.next(Urgency::Bulk).await.unwrap());
    }
}
