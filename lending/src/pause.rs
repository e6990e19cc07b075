//! Why a machine is not lent now, and until when.
//!
//! ```text
//!             a reason begins                    the last reason ends
//!  lending ---------------------> paused(reasons) ------------------> lending
//!     |                              |    ^
//!     |            drain             |    | a reason begins: what runs is given back after all
//!     +------------------------------+--> draining --resume--> lending
//!     |            leave             |       |
//!     +------------------------------+-------+--> leaving, for good
//! ```
//! Reasons hold side by side, and each ends by itself: quiet hours do not end because the owner resumes. While a reason
//! other than draining and leaving holds, runs in progress are given back.

use protocol::Timestamp;
use protocol::node::{HeldPause, PauseReason, PauseSource, Paused, WishedPause};
use serde::{Deserialize, Serialize};

/// A pause that the owner asked for on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerPause {
    /// How.
    pub by: PauseSource,
    /// Until when; none: until resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A reason that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Which, and until when.
    #[serde(flatten)]
    pub paused: Paused,
    /// Who asked for it, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PauseSource>,
}

impl From<Reason> for HeldPause {
    fn from(Reason { paused, by }: Reason) -> Self {
        Self { reason: paused.reason, until: paused.until, by }
    }
}

/// All reasons that may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pauses {
    /// The owner has taken the machine back for good.
    pub leaving: bool,
    /// What runs is finished, and nothing new taken.
    pub draining: bool,
    /// The owner has paused it.
    pub by_owner: Option<OwnerPause>,
    /// The owner has paused it from afar.
    pub from_portal: Option<WishedPause>,
    /// The owner uses it; probably until then.
    pub owner_active: Option<Timestamp>,
    /// It runs on its battery.
    pub on_battery: bool,
    /// The month's traffic is used up, until the month's end.
    pub traffic_used: Option<Timestamp>,
    /// The end of these quiet hours.
    pub quiet_hours: Option<Timestamp>,
}

impl Pauses {
    /// The reasons that hold at this time, the one that is shown first.
    #[must_use]
    pub fn reasons(&self, now: Timestamp) -> Vec<Reason> {
        let plain = |reason| Reason { paused: Paused::open(reason), by: None };
        let until = |reason, until| Reason { paused: Paused { reason, until: Some(until) }, by: None };
        let owner = self.by_owner.filter(|pause| pause.until.is_none_or(|until| now < until));
        let from_portal = self.from_portal.filter(|pause| pause.until.is_none_or(|until| now < until));
        let later = |until: Option<Timestamp>| until.filter(|until| now < *until);
        [
            self.leaving.then(|| plain(PauseReason::Leaving)),
            self.draining.then(|| plain(PauseReason::Draining)),
            owner.map(|pause| Reason {
                paused: Paused { reason: PauseReason::ByOwner, until: pause.until },
                by: Some(pause.by),
            }),
            from_portal.map(|pause| Reason {
                paused: Paused {
                    reason: if pause.drain { PauseReason::Draining } else { PauseReason::ByOwner },
                    until: pause.until,
                },
                by: Some(PauseSource::Portal),
            }),
            // Its end moves on with what the owner does: only a later look ends it.
            self.owner_active.map(|end| until(PauseReason::OwnerActive, end)),
            self.on_battery.then(|| plain(PauseReason::OnBattery)),
            later(self.traffic_used).map(|end| until(PauseReason::TrafficUsed, end)),
            later(self.quiet_hours).map(|end| until(PauseReason::QuietHours, end)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_hold_side_by_side_and_end_by_themselves() {
        let mut pauses = Pauses {
            by_owner: Some(OwnerPause { by: PauseSource::Cli, until: Some(Timestamp(100)) }),
            quiet_hours: Some(Timestamp(200)),
            ..Pauses::default()
        };
        let named = |pauses: &Pauses, now| -> Vec<PauseReason> {
            pauses.reasons(Timestamp(now)).iter().map(|reason| reason.paused.reason).collect()
        };
        assert_eq!(named(&pauses, 99), [PauseReason::ByOwner, PauseReason::QuietHours]);
        assert_eq!(named(&pauses, 100), [PauseReason::QuietHours]);
        assert!(named(&pauses, 200).is_empty());
        pauses.draining = true;
        assert_eq!(named(&pauses, 99)[0], PauseReason::Draining);
    }
}
