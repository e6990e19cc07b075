//! The journal: what this node claims, kept until the control plane has committed it.
//!
//! ```text
//! run ends ─► queue ─► segment N (open) ─► sealed: 256 receipts or a second ─► checkpoint N ─► ack ─► removed
//! ```
//! A segment becomes the checkpoint of its number, receipt for receipt, and signing is deterministic: after a crash
//! the same checkpoint is sent again, so nothing is lost or counted twice. The newest segments are signed from memory, and
//! read again only where too many wait, or after a new start. Files and their order are a thread's
//! work, the network a task's; neither is on the run path.
//!
//! Where the control plane stands elsewhere than this node thought, as after its database was restored from a backup, the
//! segments that are left go on from where it stands ([`numbering`]). What it had committed after that backup is gone with
//! it; nothing counts twice, because a run is settled once, whichever checkpoint brings it.

mod numbering;
mod segment;
mod sender;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use protocol::ByteSize;
use protocol::receipt::NodeReceipt;
use protocol::wire::Written;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

pub(crate) use self::numbering::Numbering;
pub(crate) use self::sender::{Chain, Deliver, Stand, Undelivered, deliver};

/// Sealed segments that stay in memory until they are sent.
const IN_MEMORY_MAX: usize = 4;

/// Where runs leave their receipts.
#[derive(Clone)]
pub(crate) struct Journal {
    queue: std::sync::mpsc::Sender<NodeReceipt>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
    on_disk: OnDisk,
    disk_max: u64,
}

/// Bytes of segments that are not committed yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct OnDisk(Arc<AtomicU64>);

impl OnDisk {
    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: u64) {
        let less = |all: u64| Some(all.saturating_sub(bytes));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A segment that is whole.
pub(crate) struct Sealed {
    /// Its place among the segments of this start of the node: its checkpoint has this number, unless the numbering was
    /// changed.
    pub(crate) sequence: u64,
    /// What is in it; none where it has to be read.
    kept: Option<Kept>,
}

/// The receipts of a segment, in memory.
struct Kept {
    receipts: Vec<Written<NodeReceipt>>,
    _room: OwnedSemaphorePermit,
}

/// A journal's two ends: where receipts go in, and where sealed segments come out.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) sealed: mpsc::UnboundedReceiver<Sealed>,
    pub(crate) folder: PathBuf,
    pub(crate) on_disk: OnDisk,
    pub(crate) numbering: Numbering,
}

/// Opens the journal; `committed` is the last checkpoint that the control plane has. What was committed is removed,
/// what was not is sealed, and numbered on from there.
///
/// It is full with so many receipts that wait for the disk, or so many bytes there.
pub(crate) fn open(folder: &Path, committed: u64, waiting_max: usize, disk_max: ByteSize) -> io::Result<Opened> {
    std::fs::create_dir_all(folder)?;
    let (sealed_in, sealed) = mpsc::unbounded_channel();
    let next = recover(folder, committed, &sealed_in)?;
    let on_disk = OnDisk::default();
    for sequence in segment::list(folder)? {
        on_disk.add(std::fs::metadata(segment::path(folder, sequence))?.len());
    }
    let (queue, receipts) = std::sync::mpsc::channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let numbering = Numbering::default();
    let place = writer::Place { folder: folder.to_owned(), numbering: numbering.clone(), next };
    let writer = writer::Writer::new(place, sealed_in, Arc::clone(&waiting), on_disk.clone());
    std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(&receipts))?;
    let journal = Journal { queue, waiting, waiting_max, on_disk: on_disk.clone(), disk_max: disk_max.0 };
    Ok(Opened { journal, sealed, folder: folder.to_owned(), on_disk, numbering })
}

/// Brings the folder in line with what is committed; the number of the next segment.
fn recover(folder: &Path, committed: u64, sealed: &mpsc::UnboundedSender<Sealed>) -> io::Result<u64> {
    let mut next = committed + 1;
    let mut kept = Vec::new();
    for sequence in segment::list(folder)? {
        if sequence <= committed || segment::read(folder, sequence)?.is_empty() {
            std::fs::remove_file(segment::path(folder, sequence))?;
        } else {
            kept.push(sequence);
        }
    }
    // Ascending and above `committed`: moving down never meets a segment that has not moved.
    for sequence in kept {
        if sequence != next {
            std::fs::rename(segment::path(folder, sequence), segment::path(folder, next))?;
        }
        sealed.send(Sealed { sequence: next, kept: None }).ok();
        next += 1;
    }
    Ok(next)
}

impl Journal {
    /// Leaves a receipt. Never waits.
    pub(crate) fn add(&self, receipt: NodeReceipt) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.send(receipt).is_err() {
            tracing::error!("the journal's thread has ended: a receipt is lost");
        }
    }

    /// More receipts wait to be written, or to be committed, than may: no new runs for now.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= self.waiting_max || self.on_disk.bytes() >= self.disk_max
    }
}

#[cfg(test)]
mod tests;
