//! The task that sends: each sealed segment as a signed checkpoint, in order, until it is committed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use protocol::receipt::Checkpoint;
use protocol::{Digest, NodeId};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Kept, Numbering, OnDisk, Sealed, segment};

/// Between two attempts.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Where the hash chain stands, and the key that signs it.
pub(crate) struct Chain {
    pub(crate) node: NodeId,
    pub(crate) key: SigningKey,
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
}

/// The last checkpoint that the control plane has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) sequence: u64,
    pub(crate) digest: Digest,
}

/// The control plane, as it takes checkpoints.
pub(crate) trait Deliver: Send {
    /// `Ok` once it has committed all up to the number that comes back.
    fn deliver(&mut self, checkpoint: &Checkpoint) -> impl Future<Output = Result<u64, Undelivered>> + Send;
    /// How far it is.
    fn stand(&mut self) -> impl Future<Output = Result<Stand, String>> + Send;
}

/// Sends what is sealed, for as long as there is a writer.
pub(crate) async fn deliver(
    folder: PathBuf,
    mut sealed: UnboundedReceiver<Sealed>,
    mut chain: Chain,
    mut to: impl Deliver,
    (on_disk, numbering): (OnDisk, Numbering),
) {
    while let Some(Sealed { sequence: segment, kept }) = sealed.recv().await {
        let sequence = numbering.of(segment);
        let mut checkpoint = match load(&folder, sequence, kept, &chain).await {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                tracing::error!(%error, sequence, "a journal segment cannot be read; receipts stay on disk");
                return;
            }
        };
        let mut wait = RETRY.0;
        loop {
            let sequence = checkpoint.sequence;
            match to.deliver(&checkpoint).await {
                Ok(committed) if committed >= sequence => break,
                Ok(committed) => tracing::warn!(sequence, committed, "a checkpoint is not committed yet"),
                Err(error @ Undelivered::Failed(_)) => {
                    tracing::warn!(%error, sequence, "a checkpoint cannot be delivered")
                }
                Err(error @ Undelivered::OutOfPlace(_)) => {
                    tracing::warn!(%error, sequence, "a checkpoint cannot be delivered; the node asks how far it is");
                    match to.stand().await {
                        Ok(stand) if stand == (Stand { sequence, digest: checkpoint.digest }) => break,
                        Ok(stand)
                            if stand != (Stand { sequence: sequence.wrapping_sub(1), digest: chain.previous }) =>
                        {
                            chain.previous = stand.digest;
                            let resumed = resume(&folder, &numbering, (segment, stand), checkpoint, &chain).await;
                            checkpoint = match resumed {
                                Ok(checkpoint) => checkpoint,
                                Err(error) => {
                                    tracing::error!(%error, sequence, "the journal cannot be renumbered; receipts stay on disk");
                                    return;
                                }
                            };
                            tracing::info!(
                                sequence,
                                now = checkpoint.sequence,
                                "receipts go on where the control plane is"
                            );
                        }
                        Ok(_) => {}
                        Err(error) => tracing::warn!(%error, "the control plane does not say how far it is"),
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
        fabric::fault::point("journal.delivered");
        chain.previous = checkpoint.digest;
        let path = segment::path(&folder, numbering.of(segment));
        let bytes = tokio::fs::metadata(&path).await.map_or(0, |file| file.len());
        on_disk.take(bytes);
        if let Err(error) = tokio::fs::remove_file(path).await {
            tracing::warn!(%error, sequence = checkpoint.sequence, "a committed journal segment cannot be removed");
        }
    }
}

async fn load(folder: &Path, sequence: u64, kept: Option<Kept>, chain: &Chain) -> std::io::Result<Checkpoint> {
    let (folder, node, previous, key) = (folder.to_owned(), chain.node, chain.previous, chain.key.clone());
    let work = move || match kept {
        Some(Kept { receipts, .. }) => Ok(Checkpoint::sign_written(node, sequence, previous, receipts, &key)),
        None => Ok(Checkpoint::sign(node, sequence, previous, segment::read(&folder, sequence)?, &key)),
    };
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// The same receipts as the checkpoint that comes after the last committed one; and what is left in the folder after it.
async fn resume(
    folder: &Path,
    numbering: &Numbering,
    (segment, stand): (u64, Stand),
    checkpoint: Checkpoint,
    chain: &Chain,
) -> std::io::Result<Checkpoint> {
    let (folder, numbering, node, key) = (folder.to_owned(), numbering.clone(), chain.node, chain.key.clone());
    let work = move || {
        let next = stand.sequence + 1;
        numbering.put(&folder, segment, next)?;
        Ok(Checkpoint::sign_written(node, next, stand.digest, checkpoint.receipts, &key))
    };
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
