//! Which model is the newest, as its bucket says.

use std::sync::Arc;

use placing::Learning;
use protocol::model::ModelRecord;

use crate::mirror::Sink;

/// Tells what learns of it.
pub(crate) struct Models(pub(crate) Arc<Learning>);

impl Sink for Models {
    fn begin(&self) {}

    fn put(&self, key: &str, value: &[u8]) {
        if key != ModelRecord::KEY {
            return;
        }
        match ModelRecord::read(value) {
            Ok(Some(record)) => self.0.offer(record),
            Ok(None) => tracing::debug!(key, "the model is of an earlier release; the next one is read"),
            Err(error) => tracing::error!(key, %error, "a model's record is not understood"),
        }
    }

    // The last good model stays.
    fn remove(&self, _: &str) {}

    fn complete(&self) {}
}
