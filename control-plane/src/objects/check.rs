//! The check: reads every byte of every copy, says what is damaged or missing, and mends it from what is whole.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use protocol::api::{StoreCheckLine, StoreFinding};
use protocol::{BlobId, ByteSize, Code};
use sea_orm::{ConnectionTrait as _, DbErr, EntityTrait as _, Statement};
use store::{Kept, Mended, Segments, Store};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::pace::Pace;
use super::repair::{Row, is_gone};
use super::{Care, CareError, REFERENCES, ReadError, status};
use crate::db::columns::Col;
use crate::db::entities::accounts;
use crate::db::loops;
use crate::error::{Result, refuse};

/// Blobs of one page.
const PAGE: u64 = 200;
/// A line comes so often, whether or not something was found.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// `POST /operator/store/check`: NDJSON, as it goes. It ends where nobody reads on.
pub(crate) async fn stream(care: &Care) -> Result<BoxStream<'static, Result<Bytes, Infallible>>> {
    let busy = |_| refuse(Code::RateLimited, "Another check is under way.");
    let permit = Arc::clone(&care.checks).try_acquire_owned().map_err(busy)?;
    let of = status::count(care.db.read()).await?.blobs;
    let line = StoreCheckLine { blobs: 0, of, bytes: ByteSize(0), found: 0, left: 0, finding: None, done: false };
    let check = Check { checker: Checker::new(care, None), pace: Pace::new(care.rate), line, _permit: permit };
    let lines = futures::stream::unfold(check, |mut check| async move {
        let line = Box::pin(check.next()).await?;
        Some((Ok(line), check))
    });
    Ok(lines.boxed())
}

/// A check that somebody waits for.
struct Check {
    checker: Checker,
    pace: Pace,
    line: StoreCheckLine,
    _permit: OwnedSemaphorePermit,
}

impl Check {
    async fn next(&mut self) -> Option<Bytes> {
        if self.line.done {
            return None;
        }
        let begun = Instant::now();
        self.line.finding = None;
        while begun.elapsed() < LINE_EVERY && self.line.finding.is_none() && !self.line.done {
            match self.checker.step(&mut self.pace).await {
                Ok(Checked::Read(bytes)) => self.line.bytes.0 += bytes.0,
                Ok(Checked::Blob(finding)) => {
                    self.line.blobs += 1;
                    if let Some(finding) = finding {
                        self.line.found += 1;
                        self.line.left += u64::from(finding.unreadable || finding.copies_now < self.checker.wanted());
                        self.line.finding = Some(finding);
                    }
                }
                Ok(Checked::End) => self.line.done = true,
                Err(error) => {
                    tracing::warn!(%error, "the check of the store broke off");
                    return None;
                }
            }
        }
        let mut line = serde_json::to_vec(&self.line).ok()?;
        line.push(b'\n');
        Some(line.into())
    }
}

/// What came of a step.
pub(super) enum Checked {
    /// So many bytes were read of a blob.
    Read(ByteSize),
    /// A blob is done; what was wrong with it.
    Blob(Option<StoreFinding>),
    /// There is no further one.
    End,
}

/// Goes through all blobs, segment by segment.
pub(super) struct Checker {
    care: Care,
    /// On the disks that there were when the page was begun.
    store: Store,
    page: VecDeque<Row>,
    after: Option<BlobId>,
    current: Option<Current>,
    /// Disks that do not answer.
    failing: BTreeSet<usize>,
}

/// The blob that is being read.
struct Current {
    segments: Segments,
    numbers: Range<u32>,
    finding: StoreFinding,
    damaged: BTreeSet<usize>,
    unknown: BTreeSet<usize>,
}

impl Checker {
    /// Begins after this blob.
    pub(super) fn new(care: &Care, after: Option<BlobId>) -> Self {
        let (care, store) = (care.clone(), care.store.as_of_now());
        Self { care, store, page: VecDeque::new(), after, current: None, failing: BTreeSet::new() }
    }

    /// The last blob that was done or begun.
    pub(super) fn after(&self) -> Option<BlobId> {
        self.after
    }

    fn wanted(&self) -> u32 {
        u32::try_from(self.store.copies_wanted()).unwrap_or(u32::MAX)
    }

    /// Reads the next segment, and mends it.
    pub(super) async fn step(&mut self, pace: &mut Pace) -> Result<Checked, CareError> {
        if let Some(current) = &mut self.current {
            if let Some(number) = current.numbers.next() {
                let mended = current.segments.mend(number, &self.failing).await;
                pace.spend(ByteSize(mended.read.0.saturating_add(mended.written.0))).await;
                current.note(&mended);
                return Ok(Checked::Read(mended.read));
            }
            if let Some(current) = self.current.take() {
                return Ok(Checked::Blob(self.judge(current).await?));
            }
        }
        if self.page.is_empty() {
            self.store = self.care.store.as_of_now();
            let disks = self.store.disks().await;
            // Where none is known yet, nobody knows what is missing.
            if disks.is_empty() {
                return Err(store::Error::TooFewDisks { wanted: self.store.copies_wanted(), left: 0 }.into());
            }
            let disks = disks.into_iter().enumerate();
            self.failing = disks.filter(|(_, disk)| disk.space.is_none()).map(|(disk, _)| disk).collect();
            let page = loops::blobs_looked_after(self.after, false, PAGE).into_tuple::<Row>();
            self.page = page.all(self.care.db.read()).await?.into();
        }
        let Some((id, account, size)) = self.page.pop_front() else { return Ok(Checked::End) };
        self.after = Some(id.0);
        let mut finding = StoreFinding {
            blob: id.0,
            owners: Vec::new(),
            account: account.map(|account| account.0),
            account_name: None,
            size: size.0,
            copies: u32::MAX,
            copies_now: u32::MAX,
            damaged_on: Vec::new(),
            unknown_on: Vec::new(),
            unreadable: false,
            lost: false,
        };
        let blob = match self.care.open(id.0).await {
            Ok(blob) => blob,
            // It was deleted just now.
            Err(ReadError::Unknown(_)) => return Ok(Checked::Blob(None)),
            Err(ReadError::NoKey { .. } | ReadError::Sealed(_)) => {
                (finding.copies, finding.copies_now, finding.unreadable) = (0, 0, true);
                self.name_owners(&mut finding).await?;
                return Ok(Checked::Blob(Some(finding)));
            }
            Err(error) => return Err(error.into()),
        };
        let segments = self.store.segments(&blob)?;
        let numbers = segments.numbers();
        let (damaged, unknown) = (BTreeSet::new(), BTreeSet::new());
        self.current = Some(Current { segments, numbers, finding, damaged, unknown });
        Ok(Checked::Read(ByteSize(0)))
    }

    /// What was wrong with a blob that has been read.
    async fn judge(&self, current: Current) -> Result<Option<StoreFinding>, CareError> {
        let Current { mut finding, damaged, unknown, .. } = current;
        if damaged.is_empty() && finding.copies >= self.wanted() {
            return Ok(None);
        }
        // Its copies went while they were read.
        if is_gone(&self.care, finding.blob).await? {
            return Ok(None);
        }
        let names: Vec<String> = self.store.engines().iter().map(|engine| engine.name().to_owned()).collect();
        let named =
            |disks: BTreeSet<usize>| disks.iter().filter_map(|disk| names.get(*disk).cloned()).collect::<Vec<_>>();
        (finding.damaged_on, finding.unknown_on) = (named(damaged), named(unknown));
        self.name_owners(&mut finding).await?;
        Ok(Some(finding))
    }

    /// Whose it is, and what refers to it.
    async fn name_owners(&self, finding: &mut StoreFinding) -> Result<(), DbErr> {
        let connection = self.care.db.read();
        for (table, column) in REFERENCES {
            let sql = format!("SELECT 1 FROM {table} WHERE {column} = $1 LIMIT 1");
            let values = [Col(finding.blob).into()];
            let asked = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
            if connection.query_one_raw(asked).await?.is_some() {
                finding.owners.push(owner(table).to_owned());
            }
        }
        if let Some(account) = finding.account {
            let row = accounts::Entity::find_by_id(Col(account)).one(connection).await?;
            finding.account_name = row.map(|row| row.name.0);
        }
        Ok(())
    }
}

impl Current {
    fn note(&mut self, mended: &Mended) {
        let whole = mended.kept.iter().filter(|kept| **kept == Kept::Whole).count();
        let count = |copies: usize| u32::try_from(copies).unwrap_or(u32::MAX);
        let finding = &mut self.finding;
        finding.copies = finding.copies.min(count(whole));
        finding.copies_now = finding.copies_now.min(count(mended.after.max(whole)));
        finding.lost |= mended.is_lost();
        for (disk, kept) in mended.kept.iter().enumerate() {
            match kept {
                Kept::Damaged => {
                    self.damaged.insert(disk);
                }
                Kept::Unknown => {
                    self.unknown.insert(disk);
                }
                Kept::Whole | Kept::Missing => {}
            }
        }
    }
}

/// What an operator calls the rows of a table.
fn owner(table: &'static str) -> &'static str {
    match table {
        "artifacts" => "artifact",
        "job_inputs" => "job input",
        "job_outputs" => "job output",
        "blocks" => "runs",
        "log_blocks" => "logs",
        "models" => "placement model",
        other => other,
    }
}
