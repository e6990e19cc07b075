//! A model is an object in the store; the bucket says which is the newest. Older ones stay: whether a chunk of theirs is
//! also another object's, only a sweep over all objects can tell.

use async_nats::jetstream::kv::{Operation, Store, UpdateErrorKind};
use protocol::Timestamp;
use protocol::model::ModelRecord;
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
    Ok(Turn::Trained(record))
}
