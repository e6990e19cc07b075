//! How many jobs are in each state.

use serde::{Deserialize, Serialize};

use super::state::JobState;
use crate::units::Timestamp;

/// A number of jobs for each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct JobCounts {
    /// Those that wait.
    pub queued: u64,
    /// Those for which a node was chosen.
    pub placed: u64,
    /// Those that a node runs.
    pub running: u64,
    /// Those whose function answered, with a status below 500.
    pub succeeded: u64,
    /// Those whose function failed.
    pub failed: u64,
    /// Those whose function ran out of time.
    pub timed_out: u64,
    /// Those that somebody cancelled.
    pub cancelled: u64,
    /// Those that used up every try.
    pub dead: u64,
}

impl JobCounts {
    /// Those in this state.
    #[must_use]
    pub const fn of(&self, state: JobState) -> u64 {
        match state {
            JobState::Queued => self.queued,
            JobState::Placed => self.placed,
            JobState::Running => self.running,
            JobState::Succeeded => self.succeeded,
            JobState::Failed => self.failed,
            JobState::TimedOut => self.timed_out,
            JobState::Cancelled => self.cancelled,
            JobState::Dead => self.dead,
        }
    }

    /// Those in this state, to be changed.
    pub const fn of_mut(&mut self, state: JobState) -> &mut u64 {
        match state {
            JobState::Queued => &mut self.queued,
            JobState::Placed => &mut self.placed,
            JobState::Running => &mut self.running,
            JobState::Succeeded => &mut self.succeeded,
            JobState::Failed => &mut self.failed,
            JobState::TimedOut => &mut self.timed_out,
            JobState::Cancelled => &mut self.cancelled,
            JobState::Dead => &mut self.dead,
        }
    }

    /// Those that wait, are placed, or run.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.queued.saturating_add(self.placed).saturating_add(self.running)
    }

    /// Those that have ended.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.succeeded.saturating_add(self.cancelled).saturating_add(self.went_wrong())
    }

    /// Those that failed, ran out of time, or died. Their share of `ended`, without the cancelled ones, is the failure
    /// rate.
    #[must_use]
    pub const fn went_wrong(&self) -> u64 {
        self.failed.saturating_add(self.timed_out).saturating_add(self.dead)
    }
}

/// `GET /jobs/summary`: how many of the account's jobs are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobSummary {
    /// The beginning of the period; none where it is since the oldest job that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The end of the period, which does not belong to it any more; none where it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Jobs that are open now, whatever the period, and jobs that ended in the period.
    pub counts: JobCounts,
    /// Since when the one of the queued jobs waits that waits longest; none where none could run now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_counted_once() {
        let mut counts = JobCounts::default();
        for (number, state) in (1..).zip(JobState::ALL) {
            *counts.of_mut(state) = number;
        }
        assert!(JobState::ALL.into_iter().zip(1..).all(|(state, number)| counts.of(state) == number));
        let sum = |ended: bool| -> u64 {
            JobState::ALL.into_iter().filter(|state| state.ended() == ended).map(|state| counts.of(state)).sum()
        };
        assert_eq!((counts.open(), counts.ended()), (sum(false), sum(true)));
        assert_eq!(counts.went_wrong(), counts.ended() - counts.succeeded - counts.cancelled);
    }
}
