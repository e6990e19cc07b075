//! The states, as `protocol::job` draws them.

use serde::{Deserialize, Serialize};

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits: for its time, or for a node with room.
    Queued,
    /// A node was chosen and is being asked.
    Placed,
    /// A node has taken it.
    Running,
    /// The function answered, with a status below 500.
    Succeeded,
    /// The function failed, and that was its only or last try.
    Failed,
    /// The same, by its time limit.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled,
    /// Every try is used up.
    Dead,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Placed,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Dead,
    ];

    /// Nothing changes any more, unless somebody asks for another try.
    #[must_use]
    pub const fn ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Placed | Self::Running)
    }

    /// Whether a job may go from here to there.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Placed | Self::Cancelled | Self::Dead),
            // What ended at once was never seen running.
            Self::Placed => !matches!(next, Self::Placed),
            Self::Running => !matches!(next, Self::Placed | Self::Running),
            Self::Failed | Self::TimedOut | Self::Cancelled | Self::Dead => matches!(next, Self::Queued),
            Self::Succeeded => false,
        }
    }

    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Placed => "placed",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for JobState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text.replace('-', "_"));
        found.ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.into_iter().map(Self::as_str).collect();
            format!("{text:?} is not a state of a job; allowed: {}", all.join(", "))
        })
    }
}
