//! What runs have written, of their rows and of blocks. Rows are asked first and how far they are cleared after them: what
//! has lost its rows by then is in a block that is asked for next, so that no line is missed while others pack and clear.
//! A block that cannot be read is named by a line of the platform's, and the rest goes on.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use protocol::node::{LogLine, LogStream};
use protocol::{AccountId, BlobId, ByteSize, Digest, FunctionId, RunId, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _};

use super::block::{self, Line, TEXT_BYTES_MAX};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{log_accounts, log_blocks, run_logs};
use crate::db::{Db, loops};
use crate::error::{Error, Result};
use crate::objects::{self, Address, ReadError};

/// Blocks that are kept as they were read: whoever follows a run or looks at a page asks for the same ones again and again.
const CACHED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);
/// Index rows of blocks that are read at once.
pub(super) const BLOCKS: u64 = 64;

/// Blocks that were read last.
pub(super) struct Blocks(Mutex<LruCache<Address, Arc<Vec<Line>>>>);

impl Default for Blocks {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(CACHED)))
    }
}

/// Why a block cannot be read.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("its bytes are missing")]
    Missing,
    #[error("its bytes are damaged")]
    Damaged,
    #[error("the store does not answer")]
    Unavailable,
}

impl From<ReadError> for Unreadable {
    fn from(error: ReadError) -> Self {
        match error {
            error if error.is_missing() => Self::Missing,
            error if error.passes() => Self::Unavailable,
            _ => Self::Damaged,
        }
    }
}

/// Where a block is, and what may be in it.
#[derive(Debug, Clone, FromQueryResult)]
pub(super) struct Place {
    number: i64,
    pub(super) first_line: i64,
    pub(super) last_line: i64,
    pub(super) first_run: Col<RunId>,
    began: Col<Timestamp>,
    ended: Col<Timestamp>,
    lines: i64,
    root: Option<Col<Digest>>,
    blob: Option<Col<BlobId>>,
    functions: Option<Col<Vec<FunctionId>>>,
}

impl From<log_blocks::Model> for Place {
    fn from(row: log_blocks::Model) -> Self {
        let log_blocks::Model {
            number,
            first_line,
            last_line,
            first_run,
            began,
            ended,
            lines,
            root,
            blob,
            functions,
            ..
        } = row;
        Self { number, first_line, last_line, first_run, began, ended, lines, root, blob, functions }
    }
}

impl Place {
    /// Whether it may have lines of the function since a time.
    pub(super) fn may_hold(&self, function: FunctionId, since: Option<Timestamp>) -> bool {
        let named = self.functions.as_ref().is_none_or(|functions| functions.contains(&function));
        named && since.is_none_or(|since| self.ended.0 >= since)
    }

    /// Its lines; or the line that says why they are not there, as one of this run's.
    pub(super) async fn lines(&self, app: &App, run: RunId) -> Result<Result<Arc<Vec<Line>>, LogLine>> {
        let Some(address) = Address::of(self.blob, self.root) else {
            return Ok(Err(self.notice(&Unreadable::Missing, run)));
        };
        let blocks = &app.logs.blocks.0;
        let known = blocks.lock().get(&address).cloned();
        if let Some(lines) = known {
            return Ok(Ok(lines));
        }
        match self.fetch(app, address).await? {
            Ok(lines) => {
                let lines = Arc::new(lines);
                blocks.lock().put(address, Arc::clone(&lines));
                Ok(Ok(lines))
            }
            Err(why) => {
                tracing::error!(block = self.number, ?address, %why, "a block of logs cannot be read");
                Ok(Err(self.notice(&why, run)))
            }
        }
    }

    async fn fetch(&self, app: &App, address: Address) -> Result<Result<Vec<Line>, Unreadable>> {
        let bytes = match objects::read(app, address).await {
            // Compressed text is never much longer than it was.
            Ok(object) => {
                let most = ByteSize(2 * u64::try_from(TEXT_BYTES_MAX).unwrap_or(u64::MAX));
                object.collect(most).await.map_err(ReadError::from)
            }
            Err(error) => Err(error),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error.into())),
        };
        let lines = usize::try_from(self.lines).unwrap_or(0);
        let unpacked = tokio::task::spawn_blocking(move || block::unpack(&bytes, lines)).await;
        let unpacked = unpacked.map_err(|error| Error::Internal(error.to_string()))?;
        Ok(unpacked.map_err(|_| Unreadable::Damaged))
    }

    fn notice(&self, why: &Unreadable, run: RunId) -> LogLine {
        let Self { number, lines, began, ended, .. } = self;
        let text = format!(
            "Block {number} of the account's logs cannot be read: {why}. It has {lines} lines, from {} to {}.",
            began.0, ended.0
        );
        LogLine { run, sequence: 0, at: began.0, stream: LogStream::Platform, text }
    }
}

/// How far the account's rows are cleared: lines up to this one are read from blocks.
pub(super) async fn cleared(db: &Db, account: AccountId) -> Result<i64> {
    let row = log_accounts::Entity::find_by_id(Col(account)).one(db.read()).await?;
    Ok(row.map_or(0, |row| row.cleared))
}

/// The time from which the account's lines are complete.
pub(super) async fn since(db: &Db, account: AccountId) -> Result<Timestamp> {
    let row = log_accounts::Entity::find_by_id(Col(account)).one(db.read()).await?;
    Ok(row.map_or(Timestamp(0), |row| row.since.0))
}

/// What a run has written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) lines: Vec<Line>,
    /// What could not be read.
    pub(super) notices: Vec<LogLine>,
}

/// The lines of one of the account's runs, in their order.
pub(super) async fn of_run(app: &App, account: AccountId, run: RunId) -> Result<Written> {
    let db = &app.db;
    let rows = run_logs::Entity::find()
        .filter(run_logs::Column::RunId.eq(Col(run)))
        .filter(run_logs::Column::AccountId.eq(Col(account)))
        .order_by_asc(run_logs::Column::Sequence)
        .all(db.read())
        .await?;
    let mut lines: BTreeMap<u32, Line> = BTreeMap::new();
    for line in rows.into_iter().map(Line::from) {
        lines.insert(line.sequence, line);
    }
    let cleared = cleared(db, account).await?;
    let (mut notices, mut after) = (Vec::new(), 0);
    loop {
        let found = loops::log_blocks_of_run(account, run, after, BLOCKS).all(db.read()).await?;
        let more = u64::try_from(found.len()).is_ok_and(|found| found == BLOCKS);
        for row in found {
            after = row.number;
            // What is not cleared had all its rows.
            if row.last_line > cleared || !block::may_hold(&row.run_filter, run) {
                continue;
            }
            match Place::from(row).lines(app, run).await? {
                Ok(found) => {
                    for line in found.iter().filter(|line| line.run == run) {
                        lines.entry(line.sequence).or_insert_with(|| line.clone());
                    }
                }
                Err(notice) => notices.push(notice),
            }
        }
        if !more {
            return Ok(Written { lines: lines.into_values().collect(), notices });
        }
    }
}
