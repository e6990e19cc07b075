//! The task that sends: each sealed segment as a signed checkpoint, in order, until it is committed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesOrdered, StreamExt as _};
use protocol::receipt::Checkpoint;
use protocol::wire::Written;
use protocol::{Digest, NodeId};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Kept, Numbering, OnDisk, Sealed, segment};
use crate::given::ReceiptKey;

/// Between two attempts.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Checkpoints on their way at once: at 256 receipts each more than one control plane settles in the second that an
/// acknowledgement may take.
const IN_FLIGHT_MAX: usize = 32;

/// Where the hash chain stands, and what signs it.
pub(crate) struct Chain {
    pub(crate) node: NodeId,
    pub(crate) key: ReceiptKey,
    /// The digest of the last committed checkpoint.
    pub(crate) previous: Digest,
}

/// Why a checkpoint is not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undelivered {
    /// The control plane has other checkpoints than this one's predecessors, or another one of its number.
    #[error("it is out of place: {0}")]
    OutOfPlace(String),
    /// It may be tried again as it is.
    #[error("{0}")]
    Failed(String),
    /// The same: nobody takes any just now, as when another control plane is about to lead.
    #[error("{0}")]
    Absent(String),
}

/// The last checkpoint that the control plane has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) sequence: u64,
    pub(crate) digest: Digest,
}

/// The control plane, as it takes checkpoints.
pub(crate) trait Deliver: Send + Sync {
    /// `Ok` once it has committed all up to the number that comes back.
    fn deliver(&self, checkpoint: &Checkpoint) -> impl Future<Output = Result<u64, Undelivered>> + Send;
    /// How far it is.
    fn stand(&self) -> impl Future<Output = Result<Stand, String>> + Send;
}

/// A checkpoint on its way, and the segment that it is made of.
struct Sent {
    segment: u64,
    checkpoint: Arc<Checkpoint>,
}

/// Sends what is sealed, for as long as there is a writer: several checkpoints at once, since the control plane may wait for
/// the gateways' halves before it acknowledges one; and where one fails, that one until it is committed, before the others.
pub(crate) async fn deliver(
    folder: PathBuf,
    mut sealed: UnboundedReceiver<Sealed>,
    chain: Chain,
    to: impl Deliver,
    (on_disk, numbering): (OnDisk, Numbering),
) {
    let mut sender = Sender { folder, newest: chain.previous, chain, to: &to, on_disk, numbering };
    let mut line: VecDeque<Sent> = VecDeque::new();
    let mut answers = FuturesOrdered::new();
    let mut writes = true;
    while writes || !line.is_empty() {
        let done = tokio::select! {
            next = sealed.recv(), if writes && line.len() < IN_FLIGHT_MAX => match next {
                None => {
                    writes = false;
                    Ok(())
                }
                Some(sealed) => sender.sign(sealed).await.map(|sent| {
                    answers.push_back(answer(&to, Arc::clone(&sent.checkpoint)));
                    line.push_back(sent);
                }),
            },
            Some(answer) = answers.next(), if !answers.is_empty() => {
                let Some(first) = line.pop_front() else { continue };
                if matches!(answer, Ok(committed) if committed >= first.checkpoint.sequence) {
                    sender.committed(&first).await;
                    Ok(())
                } else {
                    answers = FuturesOrdered::new();
                    match sender.insist(first, answer).await {
                        Ok(()) => sender.follow_all(&mut line).await.map(|()| {
                            answers.extend(line.iter().map(|sent| self::answer(&to, Arc::clone(&sent.checkpoint))));
                        }),
                        failed => failed,
                    }
                }
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "the journal cannot be read, renumbered or signed; receipts stay on disk");
            return;
        }
    }
}

async fn answer(to: &impl Deliver, checkpoint: Arc<Checkpoint>) -> Result<u64, Undelivered> {
    to.deliver(&checkpoint).await
}

struct Sender<'a, D> {
    folder: PathBuf,
    /// Up to the last committed checkpoint.
    chain: Chain,
    /// The digest of the newest that is signed.
    newest: Digest,
    to: &'a D,
    on_disk: OnDisk,
    numbering: Numbering,
}

impl<D: Deliver> Sender<'_, D> {
    /// Makes the next checkpoint.
    async fn sign(&mut self, Sealed { sequence: segment, kept }: Sealed) -> io::Result<Sent> {
        let sequence = self.numbering.of(segment);
        let checkpoint = Arc::new(load(&self.folder, (sequence, self.newest), kept, &self.chain).await?);
        self.newest = checkpoint.digest;
        Ok(Sent { segment, checkpoint })
    }

    async fn follow_all(&mut self, line: &mut VecDeque<Sent>) -> io::Result<()> {
        for sent in line {
            self.follow(sent).await?;
        }
        Ok(())
    }

    /// The same receipts, after what is the newest now.
    async fn follow(&mut self, sent: &mut Sent) -> io::Result<()> {
        let sequence = self.numbering.of(sent.segment);
        if (sent.checkpoint.sequence, sent.checkpoint.previous) != (sequence, self.newest) {
            let receipts = sent.checkpoint.receipts.clone();
            let (node, previous, key) = (self.chain.node, self.newest, self.chain.key.clone());
            let sign = move || Checkpoint::signed_by(node, sequence, previous, receipts, |digest| key.sign(digest));
            sent.checkpoint = Arc::new(tokio::task::spawn_blocking(sign).await.map_err(io::Error::other)??);
        }
        self.newest = sent.checkpoint.digest;
        Ok(())
    }

    /// It is committed, and its file goes.
    async fn committed(&mut self, sent: &Sent) {
        fabric::fault::point("journal.delivered");
        self.chain.previous = sent.checkpoint.digest;
        let path = segment::path(&self.folder, self.numbering.of(sent.segment));
        let bytes = tokio::fs::metadata(&path).await.map_or(0, |file| file.len());
        self.on_disk.take(bytes);
        if let Err(error) = tokio::fs::remove_file(path).await {
            let sequence = sent.checkpoint.sequence;
            tracing::warn!(%error, sequence, "a committed journal segment cannot be removed");
        }
    }

    /// Sends one that has got this answer until it is committed, if need be under the number at which the control plane is.
    async fn insist(&mut self, mut sent: Sent, mut answer: Result<u64, Undelivered>) -> io::Result<()> {
        let mut wait = RETRY.0;
        loop {
            let sequence = sent.checkpoint.sequence;
            match answer {
                Ok(committed) if committed >= sequence => break,
                Ok(committed) => tracing::warn!(sequence, committed, "a checkpoint is not committed yet"),
                Err(error @ Undelivered::Failed(_)) => {
                    tracing::warn!(%error, sequence, "a checkpoint cannot be delivered");
                }
                Err(error @ Undelivered::Absent(_)) => {
                    tracing::debug!(%error, sequence, "a checkpoint waits for the control plane");
                }
                Err(error @ Undelivered::OutOfPlace(_)) => {
                    tracing::warn!(%error, sequence, "a checkpoint cannot be delivered; the node asks how far it is");
                    if self.resume(&mut sent).await? {
                        break;
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
            answer = self.to.deliver(&sent.checkpoint).await;
        }
        self.committed(&sent).await;
        self.newest = sent.checkpoint.digest;
        Ok(())
    }

    /// Goes on where the control plane is; whether that has committed this one already.
    async fn resume(&mut self, sent: &mut Sent) -> io::Result<bool> {
        let (sequence, digest) = (sent.checkpoint.sequence, sent.checkpoint.digest);
        match self.to.stand().await {
            Ok(stand) if stand == (Stand { sequence, digest }) => return Ok(true),
            Ok(stand) if stand != (Stand { sequence: sequence.wrapping_sub(1), digest: self.chain.previous }) => {
                self.chain.previous = stand.digest;
                let (folder, numbering, segment) = (self.folder.clone(), self.numbering.clone(), sent.segment);
                let put = move || numbering.put(&folder, segment, stand.sequence + 1);
                tokio::task::spawn_blocking(put).await.map_err(io::Error::other)??;
                self.newest = stand.digest;
                self.follow(sent).await?;
                let now = sent.checkpoint.sequence;
                tracing::info!(sequence, now, "receipts go on where the control plane is");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the control plane does not say how far it is"),
        }
        Ok(false)
    }
}

async fn load(
    folder: &Path,
    (sequence, previous): (u64, Digest),
    kept: Option<Kept>,
    chain: &Chain,
) -> io::Result<Checkpoint> {
    let (folder, node, key) = (folder.to_owned(), chain.node, chain.key.clone());
    let work = move || {
        let receipts = match kept {
            Some(Kept { receipts, .. }) => receipts,
            None => segment::read(&folder, sequence)?.into_iter().filter_map(|one| Written::new(one).ok()).collect(),
        };
        Checkpoint::signed_by(node, sequence, previous, receipts, |digest| key.sign(digest))
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
