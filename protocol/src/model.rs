//! Where the scheduler's model is: a snapshot lies in the store, and a key of the `cc-models` bucket says which one.

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Digest, Timestamp};

/// The value of [`ModelRecord::KEY`] in the models' bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// The form's version.
    pub v: u8,
    /// Of two models, the one with the higher number is the newer.
    pub version: u64,
    /// BLAKE3 of the snapshot's bytes.
    pub digest: Digest,
    /// The store's manifest chunk.
    pub root: Digest,
    /// How many bytes it has.
    pub size: ByteSize,
    /// When it was trained.
    pub trained: Timestamp,
    /// From how many runs.
    pub runs: u64,
    /// The mean error of held-out runs, of the logarithm of time.
    pub error: f64,
    /// The manifest chunk of the one before, which is kept so long as some gateway may still be reading it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
}

impl ModelRecord {
    /// The form that this code writes.
    pub const VERSION: u8 = 1;
    /// Its key.
    pub const KEY: &str = "scheduler";
}
