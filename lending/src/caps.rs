//! Caps that the owner wants on the machine: they only lower what was agreed.

use protocol::ByteSize;
use protocol::node::CapsWish;
use serde::{Deserialize, Serialize};

use crate::hours::QuietHours;

/// What somebody wants to be lent at most; what is left out stays as it was agreed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Disk space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<ByteSize>,
    /// Traffic of a calendar month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<ByteSize>,
    /// Whether guests may connect to other hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<bool>,
    /// When nothing is lent, beside the hours that were agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
}

impl Wish {
    /// Of it, the caps.
    #[must_use]
    pub fn caps(&self) -> CapsWish {
        let Self { cores, memory, disk, traffic, egress, quiet_hours: _ } = *self;
        CapsWish { cores, memory, disk, traffic, egress }
    }

    /// This wish, and what a later one says beside it or instead.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            cores: later.cores.or(self.cores),
            memory: later.memory.or(self.memory),
            disk: later.disk.or(self.disk),
            traffic: later.traffic.or(self.traffic),
            egress: later.egress.or(self.egress),
            quiet_hours: later.quiet_hours.or(self.quiet_hours),
        }
    }
}
