//! How a gateway gets its epoch: what it puts into the store under it is committed while its lease lasts.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::blob::Epoch;
use crate::ids::{InstanceId, StoreId};
use crate::units::Millis;

/// `POST /internal/store/epochs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskEpoch {
    /// Who writes.
    pub holder: InstanceId,
    /// Which one is to go on. None: one that nobody has had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew: Option<Epoch>,
    /// Under these it writes nothing more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub close: Vec<Epoch>,
}

/// What the control plane says to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochLease {
    /// Another one than asked for: that one is not open any more, and what was put under it is refused.
    pub epoch: Epoch,
    /// For how long it is open, unless it is renewed.
    pub lasts: Millis,
    /// Disks of the store, by their names, that nothing is to be put on: they are to be taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<String>,
    /// Which store this is: only what has its mark belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
    /// How many disks are to keep each segment; none: a control plane of an earlier release, which does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<NonZeroUsize>,
    /// Disks that have been the store's, and are not there: what they have is not lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
}
