//! Blocks: the history of an account's runs. Rows are the waiting room and the newest minutes.
//!
//! ```text
//! settled rows --pack--> object in the store, then one transaction: index row, rows marked, samples for training
//!                          |
//!   some minutes later     |  read: rows, then blocks        late halves: is the run in a block?
//!   the rows are evicted --+  download: headers and lines    retention: bodies go, headers stay for 13 months
//! ```
//! Runs are packed in the order of their ids, so that an account's blocks hardly overlap. What settles after a block has
//! passed it, because it ran for long or a half was late, goes into blocks of stragglers: few, and wide.
//!
//! A kill between object and transaction leaves a blob that nothing names, which goes; the next turn packs the same rows again.
//! Several control planes may pack the same account: whose transaction finds that another block came first changes nothing.

mod cache;
mod download;
mod late;
mod line;
mod merge;
mod pack;
mod read;
mod samples;
mod summary;

use std::time::Duration;

use protocol::{AccountId, BlobId, ByteSize, Digest, RunId};
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::App;
use crate::config::Config;
use crate::db::columns::{Col, signed};
use crate::error::Error;
use crate::objects::{self, Address, ReadError};

use cache::Cache;
pub(crate) use download::{ReceiptsQuery, download};
pub(super) use late::packed_among;
pub(crate) use late::{Looked, SettleError};
pub(super) use pack::{evict, pack_due};
pub(super) use read::{Found, Known, find, list};
pub(crate) use samples::Sample;

/// What all readers and writers of the history share.
pub(crate) struct History {
    cache: Cache,
    pub(super) settings: Settings,
}

/// What is set of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Runs of a full block.
    block_runs: u64,
    /// Runs wait for a block at most so long.
    block_age_max: Duration,
    /// Rows of packed runs are kept for so long after the runs began.
    rows_age: Duration,
    /// No run goes on for longer, in milliseconds.
    longest_ms: u64,
    /// Samples that are kept.
    samples_max: u64,
    /// Runs that a page looks at.
    pub(super) scanned_max: u64,
    /// Between two downloads that pack.
    receipts_pause: Duration,
}

/// Why a block cannot be read, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum BlockError {
    /// Its object is lost or damaged.
    #[error(transparent)]
    Object(#[from] ReadError),
    /// What the object holds is no body, or another one.
    #[error(transparent)]
    Body(#[from] books::Error),
}

impl BlockError {
    /// Whether it may be there again in a moment: the store is away.
    fn passes(&self) -> bool {
        matches!(self, Self::Object(error) if error.passes())
    }

    /// For those whose block it is.
    fn why(&self) -> &'static str {
        match self {
            Self::Object(error) if error.passes() => "the store does not answer",
            Self::Object(error) if error.is_missing() => "its object is missing",
            Self::Object(_) => "its object is damaged",
            Self::Body(_) => "its object cannot be read",
        }
    }
}

/// Where a block is, and which runs it spans.
#[derive(Debug, Clone, FromQueryResult)]
pub(super) struct Place {
    number: i64,
    first_run: Col<RunId>,
    last_run: Col<RunId>,
    corrects: bool,
    summary: String,
    root: Option<Col<Digest>>,
    blob: Option<Col<BlobId>>,
}

impl Place {
    fn number(&self) -> u64 {
        crate::db::columns::unsigned(self.number)
    }

    /// Where its body is, while it is kept.
    fn address(&self) -> Option<Address> {
        Address::of(self.blob, self.root)
    }
}

impl History {
    pub(crate) fn new(config: &Config) -> Self {
        let settings = Settings {
            block_runs: config.block_runs,
            block_age_max: config.block_age_max.duration(),
            rows_age: config.rows_age.duration(),
            longest_ms: config.job_timeout_max.0,
            samples_max: config.training_samples_max,
            scanned_max: config.runs_scanned_max,
            receipts_pause: config.receipts_pause.duration(),
        };
        Self { cache: Cache::new(config.block_cache), settings }
    }
}

/// The body of an account's block of this number, which its index row gives this object. It is looked up over this
/// connection: whoever has a transaction waits for no second connection meanwhile.
async fn body<C: ConnectionTrait>(
    app: &App,
    connection: &C,
    (account, number): (AccountId, u64),
    address: Address,
) -> Result<books::Body, BlockError> {
    let cache = &app.history.cache;
    if let Some(body) = cache.get(address) {
        return Ok(body);
    }
    let bytes = objects::read_whole(app, connection, address, ByteSize(books::BODY_BYTES_MAX as u64)).await?;
    let body = books::Body::open(bytes)?;
    if (body.account(), body.number()) != (account, number) {
        let why = "it is the body of another block".to_owned();
        return Err(books::Error::Damaged { block: number, frame: None, why }.into());
    }
    cache.put(address, body.clone());
    Ok(body)
}

/// A block that cannot be read, as the log says it.
fn lost(account: AccountId, block: u64, error: &dyn std::fmt::Display) {
    tracing::error!(%account, block, %error, "a block of the history cannot be read");
}

/// Off the async threads.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))
}

fn millis(duration: Duration) -> i64 {
    signed(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
