//! Moving in: what earlier releases have put is put again as blobs, and rows refer to these instead.
//!
//! ```text
//! next root of a table --> read from the old store --> put --> one transaction: kept, and the account's rows switched
//!        |                        |
//!        |                        +--> missing or damaged: named in the log, and left
//!        +--> none in any table: a day later the old store is removed, if this database ever had roots
//! ```
//! It can be interrupted anywhere: a row either has its root or its blob, and what was put for a row that was not switched
//! goes as whatever no row refers to. Two who move the same do it once: the second one finds no row to switch.
//!
//! Why nothing is removed that a row needs: nobody writes new roots but jobs, which take them over from artifacts, under a lock
//! on the artifact's row. Artifacts come first, so that once they have none, there is no such job that is not seen.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::{AccountId, BlobId, ByteSize, Digest};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, Statement, Value};
use store::{Legacy, Space};
use tokio_util::sync::CancellationToken;

use super::epochs::HORIZON;
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{artifacts, store_horizon};
use crate::db::loops::{self, Raw};
use crate::error::Error;
use crate::leader::{Lease, Office};

#[cfg(test)]
mod tests;

/// Roots of one page.
const ROOTS_AT_ONCE: u64 = 50;
/// Between two pages: others use the store, too.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two looks whether this instance is to do it.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// After a failure of the database or a store.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// An object whose file the old store fails to read is left after so many tries, and the next ones are moved.
const TRIES_MAX: u32 = 5;
/// What could not be read is tried again so much later: somebody may have brought it back.
const PASS_EVERY: Duration = Duration::from_secs(3600);
/// The old store is removed when for so long no row had a root: control planes of the release before may still be at work.
const KEPT_FOR: Duration = Duration::from_secs(86_400);

/// On each disk that keeps an object that is moved, at least so much stays free, or a tenth of it: what others put has a
/// place then, although everything is there twice for a while.
const FREE_MIN: u64 = 1 << 30;
const FREE_PART: u64 = 10;

/// Why a step was not done; it is done again later.
#[derive(Debug, thiserror::Error)]
enum MovingError {
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Index(#[from] Error),
    /// The old store is away, or this file of it.
    #[error(transparent)]
    Old(store::Error),
    /// Others need what is left.
    #[error("{missing} are missing on the store's disks")]
    NoRoom { missing: ByteSize },
}

/// A table whose rows have roots.
struct Owner {
    table: &'static str,
    /// The next roots after one.
    roots: fn(String, u64) -> Raw,
    /// The accounts whose rows have this root.
    accounts: &'static str,
    /// Gives such rows of an account this blob.
    switch: &'static str,
    /// Its bytes may be an upload of the account as well.
    of_uploads: bool,
}

/// In this order; see above.
static OWNERS: [Owner; 5] = [
    Owner {
        table: "artifacts",
        roots: loops::artifacts_to_move,
        accounts: "SELECT DISTINCT account_id FROM artifacts WHERE root = $1",
        switch: "UPDATE artifacts SET blob = $1, root = NULL WHERE root = $2 AND account_id = $3",
        of_uploads: false,
    },
    Owner {
        table: "job_inputs",
        roots: loops::job_inputs_to_move,
        accounts: "SELECT DISTINCT jobs.account_id FROM job_inputs JOIN jobs ON jobs.id = job_inputs.job_id \
                   WHERE job_inputs.root = $1",
        switch: "UPDATE job_inputs SET blob = $1, root = NULL WHERE root = $2 AND EXISTS \
                 (SELECT 1 FROM jobs WHERE jobs.id = job_inputs.job_id AND jobs.account_id = $3)",
        of_uploads: true,
    },
    Owner {
        table: "job_outputs",
        roots: loops::job_outputs_to_move,
        accounts: "SELECT DISTINCT jobs.account_id FROM job_outputs JOIN jobs ON jobs.id = job_outputs.job_id \
                   WHERE job_outputs.root = $1",
        switch: "UPDATE job_outputs SET blob = $1, root = NULL WHERE root = $2 AND EXISTS \
                 (SELECT 1 FROM jobs WHERE jobs.id = job_outputs.job_id AND jobs.account_id = $3)",
        of_uploads: false,
    },
    Owner {
        table: "blocks",
        roots: loops::blocks_to_move,
        accounts: "SELECT DISTINCT account_id FROM blocks WHERE root = $1",
        switch: "UPDATE blocks SET blob = $1, root = NULL WHERE root = $2 AND account_id = $3",
        of_uploads: false,
    },
    Owner {
        table: "log_blocks",
        roots: loops::log_blocks_to_move,
        accounts: "SELECT DISTINCT account_id FROM log_blocks WHERE root = $1",
        switch: "UPDATE log_blocks SET blob = $1, root = NULL WHERE root = $2 AND account_id = $3",
        of_uploads: false,
    },
];

/// Moves while this instance leads, until it is stopped. When all is moved it still looks: a control plane of the release
/// before may write further roots.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let Some(legacy) = app.objects.legacy().cloned() else { return stop.cancelled().await };
    let mut moving = Moving::new(app, legacy);
    let moves = async {
        loop {
            let pause = moving.turn().await;
            tokio::time::sleep(pause).await;
        }
    };
    stop.run_until_cancelled(Box::pin(moves)).await;
}

/// What came of a step.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There is more.
    More,
    /// All tables have been gone through, and so many objects could not be read.
    Passed { left: usize },
}

/// How far it has come; nothing is lost with that.
struct Moving {
    app: App,
    legacy: Legacy,
    owner: usize,
    after: String,
    left: usize,
    /// How often the old store has failed for roots of this page.
    failed: HashMap<Digest, u32>,
    /// No row has had a root since then.
    clear_since: Option<Instant>,
    kept_for: Duration,
    /// That the old store is another database's was said.
    told: bool,
    /// How much stays free on an engine.
    reserve: fn(Space) -> u64,
}

impl Moving {
    fn new(app: App, legacy: Legacy) -> Self {
        Self {
            app,
            legacy,
            owner: 0,
            after: String::new(),
            left: 0,
            failed: HashMap::new(),
            clear_since: None,
            kept_for: KEPT_FOR,
            told: false,
            reserve: kept_free,
        }
    }

    /// A step, and the pause after it.
    async fn turn(&mut self) -> Duration {
        let step = match self.leads().await {
            Ok(false) => {
                // Whoever leads decides.
                self.clear_since = None;
                return LOOK_EVERY;
            }
            Ok(true) => self.step().await,
            Err(error) => Err(error.into()),
        };
        let done = match step {
            Ok(Step::More) => return PAUSE,
            Ok(Step::Passed { left: 0 }) => self.passed().await,
            Ok(Step::Passed { left }) => {
                tracing::warn!(left, "objects of an earlier release cannot be read; they are left, and tried again");
                Ok(())
            }
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => PASS_EVERY,
            Err(MovingError::NoRoom { missing }) => {
                tracing::warn!(
                    %missing,
                    "the store has too little room to take over the objects of an earlier release; they can be read where \
                     they are, and moving them goes on when there is more"
                );
                PASS_EVERY
            }
            Err(error) => {
                tracing::warn!(%error, "objects of an earlier release could not be moved; retrying");
                RETRY_AFTER
            }
        }
    }

    /// A pass has left nothing: the old store is removed when that stays so.
    async fn passed(&mut self) -> Result<(), MovingError> {
        let since = *self.clear_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.kept_for {
            self.remove().await?;
        }
        Ok(())
    }

    async fn leads(&self) -> Result<bool, DbErr> {
        let app = &self.app;
        let lease = Lease::take(&app.db, Office::Store, app.instance, app.config.lease.duration()).await?;
        Ok(lease.is_some())
    }

    /// Moves a page of objects.
    async fn step(&mut self) -> Result<Step, MovingError> {
        let Some(owner) = OWNERS.get(self.owner) else {
            self.owner = 0;
            return Ok(Step::Passed { left: std::mem::take(&mut self.left) });
        };
        let roots = self.roots(owner, self.after.clone(), ROOTS_AT_ONCE).await?;
        let Some(last) = roots.last().copied() else {
            (self.owner, self.after) = (self.owner + 1, String::new());
            return Ok(Step::More);
        };
        self.clear_since = None;
        let mut left = 0;
        for root in roots {
            for account in self.accounts(owner, root).await? {
                let moved = match self.object(owner, account, root).await {
                    Err(MovingError::Old(error)) if self.is_given_up(root) => {
                        named(owner, account, root, &error);
                        false
                    }
                    moved => moved?,
                };
                left += usize::from(!moved);
            }
        }
        (self.after, self.left) = (last.to_string(), self.left + left);
        self.failed.clear();
        Ok(Step::More)
    }

    /// The old store has failed for this one: whether that was often enough.
    fn is_given_up(&mut self, root: Digest) -> bool {
        let tries = self.failed.entry(root).or_default();
        *tries += 1;
        *tries >= TRIES_MAX
    }

    /// Removes the old store, where no row has a root any more; whether it did.
    async fn remove(&mut self) -> Result<bool, MovingError> {
        // What has just been moved cannot be read without it.
        if !self.app.objects.keys.is_whole() {
            return Ok(false);
        }
        for owner in &OWNERS {
            if !self.roots(owner, String::new(), 1).await?.is_empty() {
                return Ok(false);
            }
        }
        let was_there = !self.legacy.is_empty().await?;
        if !self.had_roots().await? {
            if was_there && !std::mem::replace(&mut self.told, true) {
                tracing::warn!("the store of an earlier release belongs to another database; it is left as it is");
            }
            return Ok(false);
        }
        self.legacy.remove().await?;
        fabric::fault::point("moving.removed");
        if was_there {
            tracing::info!("the store of earlier releases is moved and removed");
        }
        Ok(true)
    }

    /// Whether this database is the one that the old store belonged to.
    async fn had_roots(&self) -> Result<bool, DbErr> {
        let row = store_horizon::Entity::find_by_id(HORIZON).one(self.app.db.read()).await?;
        Ok(row.is_some_and(|row| row.rooted))
    }

    async fn roots(&self, owner: &Owner, after: String, most: u64) -> Result<Vec<Digest>, DbErr> {
        let connection = self.app.db.read();
        let roots = (owner.roots)(after, most).statement(connection.get_database_backend());
        let rows = connection.query_all_raw(roots).await?;
        rows.iter().map(|row| row.try_get_by_index::<Col<Digest>>(0).map(|root| root.0)).collect()
    }

    async fn accounts(&self, owner: &Owner, root: Digest) -> Result<Vec<AccountId>, DbErr> {
        let connection = self.app.db.read();
        let values = [Col(root).into()];
        let accounts = Statement::from_sql_and_values(connection.get_database_backend(), owner.accounts, values);
        let rows = connection.query_all_raw(accounts).await?;
        rows.iter().map(|row| row.try_get_by_index::<Col<AccountId>>(0).map(|account| account.0)).collect()
    }

    /// Moves an account's object of a table. False: it cannot be read.
    async fn object(&self, owner: &Owner, account: AccountId, root: Digest) -> Result<bool, MovingError> {
        let app = &self.app;
        let object = match self.legacy.get(root).await {
            Ok(object) => object,
            Err(error) => return unreadable(owner, account, root, error),
        };
        if owner.of_uploads && self.take_upload(owner, account, root, object.digest()).await? {
            return Ok(true);
        }
        let size = object.size();
        let missing = app.store.missing_room(size, self.reserve).await?;
        if missing.0 > 0 {
            return Err(MovingError::NoRoom { missing });
        }
        // Never within a transaction; and held until its end.
        let writing = app.epochs.writing().await?;
        let blob = match Box::pin(app.store.put_stream(writing.epoch(), object, size)).await {
            Ok(blob) => blob,
            // The old store's fault, or the new one's.
            Err(store::Error::Source(source)) => match source.downcast::<store::Error>() {
                Ok(error) => return unreadable(owner, account, root, *error),
                Err(source) => return Err(store::Error::Source(source).into()),
            },
            // An engine has less than it says.
            Err(store::Error::NoRoom { .. }) => return Err(MovingError::NoRoom { missing: size }),
            Err(error) => return Err(error.into()),
        };
        fabric::fault::point("moving.put");
        let tx = app.db.begin_bulk().await?;
        let id = super::keep(app, &tx, Some(account), &blob).await?;
        let switched = switch(&tx, owner, account, root, id).await?;
        fabric::fault::point("moving.switched");
        if switched {
            tx.commit().await?;
        }
        fabric::fault::point("moving.moved");
        drop(writing);
        Ok(true)
    }

    /// Takes the blob of the account's upload that is the same; false where it has none.
    async fn take_upload(
        &self,
        owner: &Owner,
        account: AccountId,
        root: Digest,
        digest: Digest,
    ) -> Result<bool, MovingError> {
        let tx = self.app.db.begin_bulk().await?;
        let row = artifacts::Entity::find_by_id((Col(account), Col(digest))).one(&tx).await?;
        let Some(blob) = row.and_then(|row| row.blob) else { return Ok(false) };
        match super::refer(&tx, blob.0).await {
            Ok(()) => {}
            // It was uploaded again just now.
            Err(Error::Refused(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        switch(&tx, owner, account, root, blob.0).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn kept_free(space: Space) -> u64 {
    FREE_MIN.max(space.total / FREE_PART)
}

/// Whether there were rows to switch: others may have been faster, or have deleted them.
async fn switch(
    tx: &DatabaseTransaction,
    owner: &Owner,
    account: AccountId,
    root: Digest,
    blob: BlobId,
) -> Result<bool, DbErr> {
    let values: [Value; 3] = [Col(blob).into(), Col(root).into(), Col(account).into()];
    let switch = Statement::from_sql_and_values(tx.get_database_backend(), owner.switch, values);
    Ok(tx.execute_raw(switch).await?.rows_affected() > 0)
}

/// An object that is lost is left; an old store that is away for a while is no such thing.
fn unreadable(owner: &Owner, account: AccountId, root: Digest, error: store::Error) -> Result<bool, MovingError> {
    if matches!(error, store::Error::Engine(_)) {
        return Err(MovingError::Old(error));
    }
    named(owner, account, root, &error);
    Ok(false)
}

fn named(owner: &Owner, account: AccountId, root: Digest, error: &store::Error) {
    let table = owner.table;
    tracing::error!(table, %account, %root, %error, "an object of an earlier release cannot be read, and is left");
}

/// Sweeps twice, with a day in between, and says which blobs the store has left. Nobody writes meanwhile.
#[cfg(test)]
pub(crate) async fn left_after_sweeps(app: &App) -> std::collections::BTreeSet<BlobId> {
    app.epochs.close().await.unwrap();
    for hours in [2, 30] {
        let now = protocol::Timestamp::now().plus(Duration::from_secs(hours * 3600));
        super::sweep::Sweep::new(app).whole(now).await.unwrap();
    }
    app.store.list(None, 10_000).await.unwrap().into_iter().map(|listed| listed.name.blob).collect()
}
