//! Where the scheduler's model is: a snapshot lies in the store, and a key of the `cc-models` bucket says which one.

use serde::{Deserialize, Serialize};

use crate::blob::Blob;
use crate::units::Timestamp;
use crate::wire::{self, WireError};

/// The value of [`ModelRecord::KEY`] in the models' bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// The form's version.
    pub v: u8,
    /// Of two models, the one with the higher number is the newer.
    pub version: u64,
    /// The snapshot in the store.
    pub blob: Blob,
    /// When it was trained.
    pub trained: Timestamp,
    /// From how many runs.
    pub runs: u64,
    /// The mean error of held-out runs, of the logarithm of time.
    pub error: f64,
}

impl ModelRecord {
    /// The form that this code writes.
    pub const VERSION: u8 = 2;
    /// Its key.
    pub const KEY: &str = "scheduler";

    /// Reads a record. None where an earlier release has written it: its model lies elsewhere, and a new one is on its way.
    ///
    /// # Errors
    /// When it is no record, or of a form that must be understood and is not.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, WireError> {
        #[derive(Deserialize)]
        struct Form {
            v: u8,
        }
        let Form { v } = serde_json::from_slice(bytes)?;
        if v < Self::VERSION { Ok(None) } else { wire::read(bytes).map(Some) }
    }
}
