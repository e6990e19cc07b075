//! The thread that writes: takes what has come, appends it in one write, and seals segments.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use protocol::receipt::{Checkpoint, NodeReceipt};
use protocol::wire::Written;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

use super::{IN_MEMORY_MAX, Kept, Numbering, OnDisk, Sealed, segment};

/// A segment is sealed when it is this old, or full.
const SEAL_AFTER: Duration = Duration::from_secs(1);
/// Receipts of so long are one write: to wake a thread for each run, and to write for each, costs more than the receipt. A
/// crash of the process loses at most these; their runs are settled by what the gateways saw of them.
const GATHER: Duration = Duration::from_millis(2);
/// After a failure of the disk.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Where segments go.
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) numbering: Numbering,
    /// The next segment's number.
    pub(super) next: u64,
}

pub(super) struct Writer {
    place: Place,
    open: Option<(segment::Writer, Instant)>,
    /// What is in the open segment.
    written: Vec<Written<NodeReceipt>>,
    /// For sealed segments in memory.
    room: Arc<Semaphore>,
    sealed: UnboundedSender<Sealed>,
    waiting: Arc<AtomicUsize>,
    on_disk: OnDisk,
}

impl Writer {
    pub(super) fn new(
        place: Place,
        sealed: UnboundedSender<Sealed>,
        waiting: Arc<AtomicUsize>,
        on_disk: OnDisk,
    ) -> Self {
        let room = Arc::new(Semaphore::new(IN_MEMORY_MAX));
        Self { place, open: None, written: Vec::new(), room, sealed, waiting, on_disk }
    }

    /// Until no run can leave a receipt any more.
    pub(super) fn run(mut self, receipts: &Receiver<NodeReceipt>) {
        loop {
            let wait = self.open.as_ref().map_or(SEAL_AFTER, |(_, since)| SEAL_AFTER.saturating_sub(since.elapsed()));
            let first = receipts.recv_timeout(wait);
            let ended = first == Err(RecvTimeoutError::Disconnected);
            if let Ok(first) = first {
                let room = Checkpoint::RECEIPTS_MAX - self.open.as_ref().map_or(0, |(segment, _)| segment.count);
                self.write(gather(first, receipts, room, || std::thread::sleep(GATHER)));
            }
            let due = self.open.as_ref().is_some_and(|(segment, since)| {
                ended || segment.count >= Checkpoint::RECEIPTS_MAX || since.elapsed() >= SEAL_AFTER
            });
            if due {
                self.seal();
            }
            if ended {
                return;
            }
        }
    }

    /// Tries for as long as it takes: while the disk is full, runs are refused because receipts wait.
    fn write(&mut self, batch: Vec<NodeReceipt>) {
        let count = batch.len();
        let batch: Vec<_> = batch.into_iter().filter_map(|receipt| Written::new(receipt).ok()).collect();
        while let Err(error) = self.try_write(&batch) {
            tracing::error!(%error, "receipts cannot be written");
            // The batch goes to a new segment.
            self.seal();
            std::thread::sleep(RETRY_AFTER);
        }
        self.written.extend(batch);
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    fn try_write(&mut self, batch: &[Written<NodeReceipt>]) -> std::io::Result<()> {
        if self.open.is_none() {
            let Place { folder, numbering, next } = &mut self.place;
            self.open = Some((numbering.create(folder, *next)?, Instant::now()));
            *next += 1;
        }
        match &mut self.open {
            Some((segment, _)) => segment.append(batch).map(|bytes| self.on_disk.add(bytes)),
            None => Ok(()),
        }
    }

    fn seal(&mut self) {
        if let Some((segment, _)) = self.open.take() {
            if let Err(error) = segment.sync() {
                tracing::error!(%error, "a journal segment cannot be synced");
            }
            let receipts = std::mem::take(&mut self.written);
            let room = Arc::clone(&self.room).try_acquire_owned().ok();
            let kept = room.filter(|_| !receipts.is_empty()).map(|room| Kept { receipts, _room: room });
            // Without a sender the segment waits for the next start.
            self.sealed.send(Sealed { sequence: self.place.next - 1, kept }).ok();
        }
    }
}

/// What belongs into one write: all that waits, and, where there is room for more, what comes during a pause.
fn gather(first: NodeReceipt, receipts: &Receiver<NodeReceipt>, room: usize, pause: impl FnOnce()) -> Vec<NodeReceipt> {
    let mut batch = vec![first];
    batch.extend(receipts.try_iter().take(room - 1));
    if batch.len() < room {
        pause();
        batch.extend(receipts.try_iter().take(room - batch.len()));
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::super::tests::receipt;
    use super::*;

    #[test]
    fn receipts_of_a_moment_are_one_write() {
        let (sender, receipts) = std::sync::mpsc::channel();
        let add = |count: usize| (0..count).for_each(|_| sender.send(receipt()).unwrap());
        add(3);
        assert_eq!(gather(receipt(), &receipts, 256, || add(20)).len(), 24);
        add(10);
        assert_eq!(gather(receipt(), &receipts, 5, || panic!("there is no room for more")).len(), 5);
        assert_eq!(gather(receipt(), &receipts, 8, || add(20)).len(), 8);
    }
}
