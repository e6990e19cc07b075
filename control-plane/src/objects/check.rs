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
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

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
/// A line that is not read in this time is the last one: nobody else can have a check meanwhile.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// `POST /operator/store/check`: NDJSON, as it goes. It ends where nobody reads on.
pub(crate) async fn stream(care: &Care) -> Result<BoxStream<'static, Result<Bytes, Infallible>>> {
    let busy = |_| refuse(Code::RateLimited, "Another check is under way.");
    let permit = Arc::clone(&care.checks).try_acquire_owned().map_err(busy)?;
    let of = status::count(care.db.read()).await?.blobs;
    let line = StoreCheckLine { blobs: 0, of, bytes: ByteSize(0), found: 0, left: 0, finding: None, done: false };
    let (reader, lines) = mpsc::channel(1);
    let check = Check { checker: Checker::new(care, None), pace: Pace::new(care.rate), line, _permit: permit, reader };
    // By itself: where nobody asks for lines, nothing else would see how long that has been so.
    tokio::spawn(async move {
        if let Err(error) = check.run().await {
            tracing::warn!(%error, "the check of the store broke off");
        }
    });
    let lines = futures::stream::unfold(lines, |mut lines| async move { Some((Ok(lines.recv().await?), lines)) });
    Ok(lines.boxed())
}

/// A check that somebody waits for.
struct Check {
    checker: Checker,
    pace: Pace,
    line: StoreCheckLine,
    /// Given back before the reader sees the end, who may ask for the next check then.
    _permit: OwnedSemaphorePermit,
    reader: mpsc::Sender<Bytes>,
}

impl Check {
    /// Goes on to the end, or until nobody reads.
    async fn run(mut self) -> Result<(), CareError> {
        let mut due = Instant::now() + LINE_EVERY;
        while !self.line.done {
            let mut step = Box::pin(self.checker.step(&mut self.pace));
            let checked = loop {
                match timeout_at(due, &mut step).await {
                    Ok(checked) => break checked?,
                    Err(_) if self.reader.is_closed() => return Ok(()),
                    Err(_) => {
                        // The pace, or a disk, takes its time. Whoever has not read the last line needs no other.
                        drop(self.reader.try_send(written(&self.line)));
                        due = Instant::now() + LINE_EVERY;
                    }
                }
            };
            drop(step);
            self.note(checked);
            if self.line.done || self.line.finding.is_some() || due <= Instant::now() {
                if !sent(&self.reader, written(&self.line)).await {
                    return Ok(());
                }
                self.line.finding = None;
                due = Instant::now() + LINE_EVERY;
            }
        }
        Ok(())
    }

    fn note(&mut self, checked: Checked) {
        match checked {
            Checked::Read(bytes) => self.line.bytes.0 += bytes.0,
            Checked::Blob(finding) => {
                self.line.blobs += 1;
                if let Some(finding) = finding {
                    self.line.found += 1;
                    self.line.left += u64::from(finding.unreadable || finding.copies_now < self.checker.wanted());
                    self.line.finding = Some(finding);
                }
            }
            Checked::End => self.line.done = true,
        }
    }
}

fn written(line: &StoreCheckLine) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// Whether somebody reads on.
async fn sent(reader: &mpsc::Sender<Bytes>, line: Bytes) -> bool {
    match timeout(READ_WITHIN, reader.send(line)).await {
        Ok(sent) => sent.is_ok(),
        Err(_) => {
            tracing::warn!("the check of the store is ended: nobody reads what it says");
            false
        }
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
            if self.store.engines().is_empty() {
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
        let mut names: Vec<String> = self.store.engines().iter().map(|engine| engine.name().to_owned()).collect();
        let absent: Vec<String> = self.store.absent().into_keys().collect();
        if !absent.is_empty() {
            names.push(absent.join(", "));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_does_not_read_is_given_up() {
        let (reader, mut lines) = mpsc::channel(1);
        assert!(sent(&reader, Bytes::from_static(b"1")).await);
        let begun = Instant::now();
        assert!(!sent(&reader, Bytes::from_static(b"2")).await);
        assert!(begun.elapsed() >= READ_WITHIN && begun.elapsed() < 2 * READ_WITHIN);
        assert_eq!(lines.recv().await.unwrap(), "1");
        assert!(sent(&reader, Bytes::from_static(b"3")).await, "one who reads is told more");
        drop(lines);
        assert!(!sent(&reader, Bytes::from_static(b"4")).await);
    }
}
