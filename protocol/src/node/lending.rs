//! What a lender keeps of their own machine, as its reports say it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Timestamp};
use crate::wire;

/// What is lent of a machine beside cores and memory, and whether it is lent now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lending {
    /// Why it takes no runs now; none where it does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub paused: Option<Paused>,
    /// Whether versions with egress may run there.
    pub egress: bool,
    /// Disk space.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub disk: Option<CapUse>,
    /// Traffic of this month.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub traffic: Option<CapUse>,
}

/// A cap and its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CapUse {
    /// The cap; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<ByteSize>,
    /// Of that, used.
    pub used: ByteSize,
}

/// A pause of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Paused {
    /// Why.
    pub reason: PauseReason,
    /// Until when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Paused {
    /// For this reason, until somebody ends it.
    #[must_use]
    pub const fn open(reason: PauseReason) -> Self {
        Self { reason, until: None }
    }
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until {
            Some(until) => write!(f, "{} until {until}", self.reason),
            None => write!(f, "{}", self.reason),
        }
    }
}

/// Why a node takes no runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// Its owner has taken it back for good.
    Leaving,
    /// It finishes what it has.
    Draining,
    /// Its owner has paused it.
    ByOwner,
    /// Its owner uses it.
    OwnerActive,
    /// It runs on its battery.
    OnBattery,
    /// The traffic that it lends in a month is used up.
    TrafficUsed,
    /// It is one of the hours in which it is not lent.
    QuietHours,
    /// A later release has another reason.
    #[serde(other)]
    Other,
}

impl PauseReason {
    /// Whether runs that have begun may end there.
    #[must_use]
    pub const fn lets_runs_end(self) -> bool {
        matches!(self, Self::Leaving | Self::Draining)
    }
}

impl fmt::Display for PauseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leaving => "leaving",
            Self::Draining => "draining",
            Self::ByOwner => "paused by its owner",
            Self::OwnerActive => "paused while its owner uses it",
            Self::OnBattery => "paused on battery",
            Self::TrafficUsed => "paused, as its monthly traffic is used up",
            Self::QuietHours => "paused in its quiet hours",
            Self::Other => "paused",
        })
    }
}
