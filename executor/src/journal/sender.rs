//! The task that sends: each sealed segment as a signed checkpoint, in order, until it is committed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use protocol::receipt::Checkpoint;
use protocol::{Digest, NodeId};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Kept, OnDisk, Sealed, segment};

/// Between two attempts.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Where the hash chain stands, and the key that signs it.
pub(crate) struct Chain {
    pub(crate) node: NodeId,
    pub(crate) key: SigningKey,
    /// The digest of the last committed checkpoint.
    pub(crate) previous: Digest,
}

/// Takes a checkpoint to the control plane; `Ok` once that has committed all up to the number that comes back.
pub(crate) trait Deliver: Send {
    fn deliver(&mut self, checkpoint: &Checkpoint) -> impl Future<Output = Result<u64, String>> + Send;
}

/// Sends what is sealed, for as long as there is a writer.
pub(crate) async fn deliver(
    folder: PathBuf,
    mut sealed: UnboundedReceiver<Sealed>,
    mut chain: Chain,
    mut to: impl Deliver,
    on_disk: OnDisk,
) {
    while let Some(Sealed { sequence, kept }) = sealed.recv().await {
        let checkpoint = match load(&folder, sequence, kept, &chain).await {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                tracing::error!(%error, sequence, "a journal segment cannot be read; receipts stay on disk");
                return;
            }
        };
        let mut wait = RETRY.0;
        loop {
            match to.deliver(&checkpoint).await {
                Ok(committed) if committed >= sequence => break,
                Ok(committed) => tracing::warn!(sequence, committed, "a checkpoint is not committed yet"),
                Err(error) => tracing::warn!(%error, sequence, "a checkpoint cannot be delivered"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
        fabric::fault::point("journal.delivered");
        chain.previous = checkpoint.digest;
        let path = segment::path(&folder, sequence);
        let bytes = tokio::fs::metadata(&path).await.map_or(0, |file| file.len());
        on_disk.take(bytes);
        if let Err(error) = tokio::fs::remove_file(path).await {
            tracing::warn!(%error, sequence, "a committed journal segment cannot be removed");
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
