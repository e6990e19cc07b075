//! The epochs that this process writes under: one at a time, each for an hour, and longer while something is still being
//! written under it.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Epoch, InstanceId, Millis};
use sea_orm::DbErr;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::epochs;
use crate::db::Db;
use crate::error::Result;

/// A new epoch is opened so often: what is below the oldest one can be swept.
const LASTS: Duration = Duration::from_secs(3600);
/// Renewals in the time of a lease.
const RENEWALS: u32 = 4;

/// This process's epochs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Epochs(Arc<Inner>);

struct Inner {
    db: Db,
    holder: String,
    lease: Millis,
    /// Those that are open, the newest last.
    held: Mutex<Vec<Arc<Held>>>,
}

struct Held {
    epoch: Epoch,
    opened: Instant,
    /// Until when it is surely open: by our own clock, and never later than by the database's.
    ends: parking_lot::Mutex<Instant>,
}

/// Something is being written under an epoch. It is to be held from before the first byte until after the commit.
#[must_use = "what is put is in no epoch's care without it"]
pub(crate) struct Writing(Arc<Held>);

impl Writing {
    /// The epoch, for the store.
    pub(crate) fn epoch(&self) -> Epoch {
        self.0.epoch
    }
}

impl Epochs {
    pub(crate) fn new(db: Db, instance: InstanceId, lease: Millis) -> Self {
        Self(Arc::new(Inner { db, holder: instance.to_string(), lease, held: Mutex::default() }))
    }

    /// For whoever is about to put something. Never within a transaction: it may have to write a row of its own.
    pub(crate) async fn writing(&self) -> Result<Writing> {
        let Inner { db, holder, lease, held } = &*self.0;
        let mut held = held.lock().await;
        // What has half a lease left will be renewed in time.
        let lasting = Instant::now() + lease.duration() / 2;
        if let Some(newest) = held.last().filter(|newest| !newest.is_old() && *newest.ends.lock() > lasting) {
            return Ok(Writing(Arc::clone(newest)));
        }
        let asked = Instant::now();
        let epoch = epochs::open(db, holder, *lease).await?;
        let ends = parking_lot::Mutex::new(asked + lease.duration());
        let opened = Arc::new(Held { epoch, opened: asked, ends });
        held.push(Arc::clone(&opened));
        Ok(Writing(opened))
    }

    /// Renews them, and closes those that are done, until it is stopped.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let pause = self.0.lease.duration() / RENEWALS;
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            if let Err(error) = self.tend().await {
                tracing::warn!(%error, "the store's epochs could not be renewed; retrying");
            }
        }
    }

    /// Renews those that are open, and closes those that nobody will write under any more.
    pub(crate) async fn tend(&self) -> Result<(), DbErr> {
        let all = self.0.held.lock().await.clone();
        for held in all {
            let asked = Instant::now();
            let renewed = epochs::renew(&self.0.db, held.epoch, self.0.lease).await?;
            // Whoever writes under one that was closed is refused: nobody begins to any more.
            *held.ends.lock() = if renewed { asked + self.0.lease.duration() } else { asked };
        }
        self.close_where(|held, is_newest| !is_newest || held.is_old() || *held.ends.lock() <= Instant::now()).await
    }

    /// This process stops: what is still being written is refused once the lease has ended.
    pub(crate) async fn close(&self) -> Result<(), DbErr> {
        self.close_where(|_, _| true).await
    }

    /// Closes such epochs that nobody writes under.
    async fn close_where(&self, may_close: fn(&Held, bool) -> bool) -> Result<(), DbErr> {
        let mut done = Vec::new();
        {
            let mut held = self.0.held.lock().await;
            let newest = held.last().map(|newest| newest.epoch);
            // Only under this lock does anybody begin to write.
            held.retain(|held| {
                let closes = Arc::strong_count(held) == 1 && may_close(held, Some(held.epoch) == newest);
                if closes {
                    done.push(held.epoch);
                }
                !closes
            });
        }
        for epoch in done {
            epochs::close(&self.0.db, epoch).await?;
        }
        Ok(())
    }
}

impl Held {
    fn is_old(&self) -> bool {
        self.opened.elapsed() >= LASTS
    }
}
