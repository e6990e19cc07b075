//! A model is an object in the store; the bucket says which is the newest, and the two before it are cleared away.

use std::collections::HashSet;

use async_nats::jetstream::kv::{Operation, Store, UpdateErrorKind};
use protocol::model::ModelRecord;
use protocol::{Digest, Timestamp};
use scheduler::Snapshot;

use super::{TrainingError, Turn};
use crate::App;
use crate::routes_outbox::bucket::BucketError;

/// The newest model, and the key's revision.
pub(super) async fn newest(models: &Store) -> Result<(Option<ModelRecord>, u64), BucketError> {
    let Some(entry) = models.entry(ModelRecord::KEY).await.map_err(BucketError::of)? else { return Ok((None, 0)) };
    // One of a newer form is not ours to judge: it is replaced when its time has come, as if there were none.
    let record = serde_json::from_slice(&entry.value).ok().filter(|_| entry.operation == Operation::Put);
    Ok((record, entry.revision))
}

/// Stores it and says so, unless another has done so since.
pub(super) async fn publish(
    app: &App,
    models: &Store,
    (newest, revision): (Option<ModelRecord>, u64),
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Turn, TrainingError> {
    let form = |error: &dyn std::fmt::Display| TrainingError::Form(error.to_string());
    let bytes = snapshot.encode().map_err(|error| form(&error))?;
    let stored = app.store.put_bytes(bytes.into()).await?;
    let record = ModelRecord {
        v: ModelRecord::VERSION,
        version: u64::try_from(now.0).unwrap_or(0).max(newest.map_or(0, |newest| newest.version) + 1),
        digest: stored.digest,
        root: stored.root,
        size: stored.size,
        trained: now,
        runs: snapshot.runs,
        error: snapshot.error,
        previous: newest.map(|newest| newest.root),
    };
    let payload = serde_json::to_vec(&record).map_err(|error| form(&error))?;
    match models.update(ModelRecord::KEY, payload.into(), revision).await {
        Ok(_) => {}
        Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => return Ok(Turn::Overtaken),
        Err(error) => return Err(BucketError::of(error).into()),
    }
    if let Some(old) = newest.and_then(|newest| newest.previous) {
        let kept = [Some(record.root), record.previous];
        if let Err(error) = clear(app, old, kept.into_iter().flatten()).await {
            tracing::warn!(%error, "an old model stays in the store");
        }
    }
    Ok(Turn::Trained(record))
}

/// Deletes a model's chunks, but not those that a newer one has too.
async fn clear(app: &App, old: Digest, kept: impl Iterator<Item = Digest>) -> Result<(), store::Error> {
    let mut needed = HashSet::new();
    for root in kept {
        needed.insert(root);
        needed.extend(app.store.manifest(root).await?.chunks.into_iter().map(|chunk| chunk.digest));
    }
    // The manifest goes last: what breaks off can be taken up again.
    let chunks = app.store.manifest(old).await?.chunks.into_iter().map(|chunk| chunk.digest);
    for digest in chunks.chain([old]).filter(|digest| !needed.contains(digest)) {
        app.store.delete(digest).await?;
    }
    Ok(())
}
