//! Numbered batches of observations, and what is said to one.
//!
//! Each start of a process that sends them opens an epoch and numbers its batches from 1. Which batch it is stands in the
//! query of the request, and the observations alone are its body: a part of the release before passes the query over, and
//! one that sends no query is taken as it was. A batch never changes once it has a number, so that it can be sent again
//! until it is acknowledged. The acknowledgement is cumulative: several batches may be on their way at once, and are
//! taken in the order of their numbers.

use serde::{Deserialize, Serialize};

use crate::ids::EpochId;
use crate::units::Digest;

/// Which batch it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHead {
    /// The start of the process that made it.
    pub epoch: EpochId,
    /// Counts from 1 in each epoch, without gaps.
    pub number: u64,
    /// BLAKE3 of the body.
    pub digest: Digest,
    /// The sender has nothing more of this epoch up to this number: it was acknowledged, or is lost for good. So whoever
    /// takes batches can go on where it has forgotten the epoch.
    #[serde(default)]
    pub acknowledged: u64,
}

impl BatchHead {
    /// As the query of a request, without the question mark.
    #[must_use]
    pub fn query(&self) -> String {
        let Self { epoch, number, digest, acknowledged } = self;
        format!("epoch={epoch}&number={number}&digest={digest}&acknowledged={acknowledged}")
    }
}

/// What the control plane says to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAck {
    /// All of the epoch up to this number are committed; the one after it is expected.
    pub committed: u64,
    /// Observations of this batch that could not be read and count for nothing; one, where the body could not be read at
    /// all.
    #[serde(default)]
    pub void: u64,
}
