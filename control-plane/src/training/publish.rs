//! A model is a blob in the store; the bucket says which is the newest. A row refers to each of the last few, so that theirs
//! stay and those of older ones go.

use async_nats::jetstream::kv::{Operation, Store, UpdateErrorKind};
use protocol::Timestamp;
use protocol::model::ModelRecord;
use scheduler::Snapshot;

use super::{TrainingError, Turn};
use crate::App;
use crate::objects;
use crate::routes_outbox::bucket::BucketError;

/// The newest model, and the key's revision.
pub(super) async fn newest(models: &Store) -> Result<(Option<ModelRecord>, u64), BucketError> {
    let Some(entry) = models.entry(ModelRecord::KEY).await.map_err(BucketError::of)? else { return Ok((None, 0)) };
    // One of another form is not ours to judge: it is replaced when its time has come, as if there were none.
    let record = ModelRecord::read(&entry.value).ok().flatten().filter(|_| entry.operation == Operation::Put);
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
    let writing = app.epochs.writing().await?;
    let blob = app.store.put_bytes(writing.epoch(), bytes.into()).await?;
    let tx = app.db.begin_bulk().await?;
    objects::keep_model(app, &tx, &blob, now).await?;
    tx.commit().await?;
    drop(writing);
    let record = ModelRecord {
        v: ModelRecord::VERSION,
        version: u64::try_from(now.0).unwrap_or(0).max(newest.as_ref().map_or(0, |newest| newest.version) + 1),
        blob,
        trained: now,
        runs: snapshot.runs,
        error: snapshot.error,
    };
    let payload = serde_json::to_vec(&record).map_err(|error| form(&error))?;
    match models.update(ModelRecord::KEY, payload.into(), revision).await {
        Ok(_) => {}
        Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => return Ok(Turn::Overtaken),
        Err(error) => return Err(BucketError::of(error).into()),
    }
    Ok(Turn::Trained(record))
}
