//! The `disk` engine: a file for each segment, `blobs/<2 hex digits of the random part>/<name>`.
//!
//! A segment is written to `incoming/`, flushed, and renamed: its name never stands for half of it. The file `store.id` says
//! whose the segments are.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use protocol::ByteSize;
use protocol::node::Mark;
use tokio::sync::Semaphore;

use super::pages::{Pages, Smallest};
use super::{Engine, EngineError, Listed, Space, Trouble};
use crate::SegmentName;

/// A file in `incoming/` this old belongs to a process that died.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(3600);

/// Calls of one disk at once: what a disk that hangs can hold of memory and threads.
const CALLS_MAX: usize = 32;

/// Left free: the database may be on the same disk.
const RESERVE: ByteSize = ByteSize::mib(64);

/// The file that says whose segments these are.
const MARK: &str = "store.id";

/// Segments in a folder. Several processes may share it.
pub struct Disk {
    name: String,
    domain: OnceLock<String>,
    place: Arc<Place>,
    calls: Arc<Semaphore>,
}

struct Place {
    folder: PathBuf,
    mark: PathBuf,
    /// Whether all folders in it have been made.
    is_prepared: AtomicBool,
    /// The mark that has been seen. Where there is another one, or none, another folder stands in this one's place.
    seen: Mutex<Option<Mark>>,
    blobs: PathBuf,
    incoming: PathBuf,
    reserve: ByteSize,
    pages: Pages,
}

impl Disk {
    /// Opens the folder, makes it where it is missing, and clears what dead processes left behind. Its failure domain is
    /// the machine and the device.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self, EngineError> {
        let disk = Self::at(folder);
        disk.place.prepare().map_err(|error| failed(&disk.name, "open", error))?;
        Ok(disk)
    }

    /// The folder, of which nothing is made before it is marked: where a disk is not mounted, or is dead, it fails later.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        let name = format!("disk {}", folder.display());
        let place = Place {
            folder: folder.to_owned(),
            is_prepared: AtomicBool::new(false),
            mark: folder.join(MARK),
            seen: Mutex::new(None),
            blobs: folder.join("blobs"),
            incoming: folder.join("incoming"),
            reserve: RESERVE,
            pages: Pages::default(),
        };
        Self { name, domain: OnceLock::new(), place: Arc::new(place), calls: Arc::new(Semaphore::new(CALLS_MAX)) }
    }

    /// In this failure domain instead: for what the operating system cannot know.
    #[must_use]
    pub fn in_domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = OnceLock::from(domain.into());
        self
    }

    /// With so much left free.
    #[cfg(test)]
    pub(crate) fn reserving(mut self, reserve: ByteSize) -> Self {
        Arc::get_mut(&mut self.place).unwrap().reserve = reserve;
        self
    }

    /// File calls block: they run on a thread of their own, a few at once.
    fn run<T: Send + 'static>(
        &self,
        verb: &'static str,
        work: impl FnOnce(&Place) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, EngineError>> {
        let (place, calls) = (Arc::clone(&self.place), Arc::clone(&self.calls));
        async move {
            let call = calls.acquire_owned().await.map_err(io::Error::other);
            let call = call.map_err(|error| failed(&self.name, verb, error))?;
            let task = tokio::task::spawn_blocking(move || {
                let done = work(&place);
                drop(call);
                done
            });
            task.await.map_err(io::Error::other).flatten().map_err(|error| failed(&self.name, verb, error))
        }
        .boxed()
    }
}

impl Engine for Disk {
    fn name(&self) -> &str {
        &self.name
    }

    fn domain(&self) -> &str {
        let is_there = self.place.is_prepared.load(Ordering::Acquire) || self.place.seen.lock().is_some();
        match self.domain.get() {
            Some(domain) => domain,
            // Where it is not mounted, the device would be another one's.
            None if is_there => self.domain.get_or_init(|| format!("{}/{}", machine(), self.place.device())),
            None => &self.name,
        }
    }

    fn put(&self, name: SegmentName, segment: Bytes) -> BoxFuture<'_, Result<(), EngineError>> {
        self.run("put", move |place| place.put(name, &segment))
    }

    fn read(&self, name: SegmentName, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>> {
        self.run("read", move |place| {
            let file = place.there(File::open(place.path(name)))?;
            file.map(|file| read(&file, range)).transpose()
        })
    }

    fn has(&self, name: SegmentName) -> BoxFuture<'_, Result<Option<u64>, EngineError>> {
        self.run("find", move |place| Ok(place.there(fs::metadata(place.path(name)))?.map(|meta| meta.len())))
    }

    fn delete(&self, name: SegmentName) -> BoxFuture<'_, Result<(), EngineError>> {
        self.run("delete", move |place| place.there(fs::remove_file(place.path(name))).map(drop))
    }

    fn list(&self, after: Option<SegmentName>, most: usize) -> BoxFuture<'_, Result<Vec<Listed>, EngineError>> {
        self.run("list", move |place| place.list(after, most))
    }

    fn mark(&self) -> BoxFuture<'_, Result<Option<Mark>, EngineError>> {
        self.run("say whose it is", Place::mark)
    }

    fn set_mark(&self, mark: Mark) -> BoxFuture<'_, Result<Mark, EngineError>> {
        self.run("be marked", move |place| place.set_mark(mark))
    }

    fn space(&self) -> BoxFuture<'_, Result<Space, EngineError>> {
        self.run("measure", Place::space)
    }
}

impl Place {
    /// The device that the folder is on, or will be.
    fn device(&self) -> u64 {
        let mut known = self.folder.ancestors().filter_map(|folder| fs::metadata(folder).ok());
        known.next().map_or(0, |meta| meta.dev())
    }

    /// Whether it can be used: its mark is there, or somebody has opened it without.
    fn ready(&self) -> io::Result<()> {
        let is_prepared = self.is_prepared.load(Ordering::Acquire);
        // Somebody may have destroyed what was in it, and marked it again.
        if !is_prepared || (self.seen.lock().is_some() && fs::metadata(&self.blobs).is_err()) {
            fs::metadata(&self.mark)?;
            self.prepare()?;
        }
        Ok(())
    }

    /// Makes the folders, and clears what dead processes left behind.
    fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(&self.blobs)?;
        fs::create_dir_all(&self.incoming)?;
        // All of them now: of two who first put into one at once, only one would know that its name is not durable yet.
        for first in 0..=u8::MAX {
            unless_exists(fs::create_dir(self.shard(first)))?;
        }
        sync_folder(&self.blobs)?;
        for entry in fs::read_dir(&self.incoming)? {
            let entry = entry?;
            // Another process may clear at the same time.
            let Some(meta) = unless_missing(entry.metadata())? else { continue };
            if meta.modified()?.elapsed().is_ok_and(|age| age > LEFT_BEHIND_AFTER) {
                unless_missing(fs::remove_file(entry.path()))?;
            }
        }
        self.is_prepared.store(true, Ordering::Release);
        Ok(())
    }

    /// The folder of the blobs whose random part begins so.
    fn shard(&self, first: u8) -> PathBuf {
        self.blobs.join(format!("{first:02x}"))
    }

    fn shard_of(&self, name: SegmentName) -> PathBuf {
        let [first, ..] = name.blob.random();
        self.shard(first)
    }

    fn path(&self, name: SegmentName) -> PathBuf {
        self.shard_of(name).join(name.to_string())
    }

    /// None where the file is missing; an error where the whole folder is, so that nobody takes its blobs for lost.
    fn there<T>(&self, result: io::Result<T>) -> io::Result<Option<T>> {
        let found = unless_missing(result)?;
        if found.is_none() {
            self.stands()?;
        }
        Ok(found)
    }

    /// Fails where the disk has gone, though somebody else may have made the folders anew.
    fn stands(&self) -> io::Result<()> {
        let Some(seen) = *self.seen.lock() else { return fs::metadata(&self.blobs).map(drop) };
        let found = fs::read_to_string(&self.mark)?.parse::<Mark>().map_err(io::Error::other)?;
        if found == seen { Ok(()) } else { Err(io::Error::other("another disk is in its place")) }
    }

    fn put(&self, name: SegmentName, segment: &[u8]) -> io::Result<()> {
        self.ready()?;
        self.stands()?;
        if self.space()?.free < self.reserve.0.saturating_add(segment.len() as u64) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, format!("less than {} is free", self.reserve)));
        }
        let incoming = self.write(&name, segment)?;
        fs::rename(&incoming.0, self.path(name))?;
        // The name must outlive a power cut too.
        sync_folder(&self.shard_of(name))
    }

    /// Writes a file that is renamed, or linked, when all of it is there.
    fn write(&self, name: &dyn std::fmt::Display, bytes: &[u8]) -> io::Result<Incoming> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let incoming = Incoming(self.incoming.join(format!("{name}.{}.{count}", std::process::id())));
        let mut file = OpenOptions::new().write(true).create_new(true).open(&incoming.0)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(incoming)
    }

    fn mark(&self) -> io::Result<Option<Mark>> {
        let Some(text) = unless_missing(fs::read_to_string(&self.mark))? else {
            // Whatever may be there is to be taken anew.
            *self.seen.lock() = None;
            self.is_prepared.store(false, Ordering::Release);
            return Ok(None);
        };
        let mark = text.parse::<Mark>().map_err(io::Error::other)?;
        *self.seen.lock() = Some(mark);
        Ok(Some(mark))
    }

    fn set_mark(&self, mark: Mark) -> io::Result<Mark> {
        self.prepare()?;
        let incoming = self.write(&MARK, mark.to_string().as_bytes())?;
        unless_exists(fs::hard_link(&incoming.0, &self.mark))?;
        if let Some(folder) = self.mark.parent() {
            sync_folder(folder)?;
        }
        self.mark()?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, mut after: Option<SegmentName>, most: usize) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        while listed.len() < most {
            let wanted = most - listed.len();
            let page = match self.pages.next(after, wanted) {
                Some(page) => page,
                None => self.pages.begin(self.scan(after, wanted)?, wanted),
            };
            let Some(&last) = page.last() else { break };
            for name in page {
                // What was deleted since the scan is no more.
                if let Some(meta) = self.there(fs::metadata(self.path(name)))? {
                    listed.push(Listed { name, bytes: meta.len() });
                }
            }
            after = Some(last);
        }
        Ok(listed)
    }

    fn scan(&self, after: Option<SegmentName>, most: usize) -> io::Result<Smallest> {
        let mut smallest = Smallest::after(after, most);
        let is_new = !self.is_prepared.load(Ordering::Acquire) && unless_missing(fs::metadata(&self.blobs))?.is_none();
        // Whoever is about to mark it asks.
        if is_new && unless_missing(fs::metadata(&self.mark))?.is_none() {
            return Ok(smallest);
        }
        self.stands()?;
        for shard in fs::read_dir(&self.blobs)? {
            let shard = shard?;
            if !shard.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(shard.path())? {
                if let Some(name) = file?.file_name().to_str().and_then(|name| name.parse().ok()) {
                    smallest.see(name);
                }
            }
        }
        Ok(smallest)
    }

    fn space(&self) -> io::Result<Space> {
        self.ready()?;
        self.stands()?;
        let about = rustix::fs::statvfs(&self.blobs)?;
        let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
        Ok(Space { free: bytes(about.f_bavail), total: bytes(about.f_blocks) })
    }
}

/// The file, or as much of the range as it has.
fn read(file: &File, range: Option<Range<u64>>) -> io::Result<Bytes> {
    let size = file.metadata()?.len();
    let range = range.unwrap_or(0..size);
    let (start, end) = (range.start.min(size), range.end.min(size));
    let length = usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes.into())
}

/// A file that is not there yet: removed unless it was renamed.
struct Incoming(PathBuf);

impl Drop for Incoming {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// What no other machine is called.
fn machine() -> String {
    match fs::read_to_string("/etc/machine-id") {
        Ok(id) if !id.trim().is_empty() => id.trim().to_owned(),
        _ => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn unless_exists(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn failed(engine: &str, verb: &'static str, error: io::Error) -> EngineError {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let trouble = if full { Trouble::Full } else { Trouble::Failed };
    EngineError { engine: engine.to_owned(), verb, trouble, source: error.into() }
}
