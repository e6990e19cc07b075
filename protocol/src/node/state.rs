//! Where a node is.
//!
//! ```text
//!  token spent      hello             first checks done
//!  ---------> joining --> calibrating -----------------> online <-------- resume ---------+
//!                          ^   |    |                    |    |                           |
//!                          |   |    +--- pause, drain ---|----+---> paused, draining -----+
//!                    hello |   | silent                  | silent       | silent
//!                          |   v                         v              |
//!                          +-- offline <-----------------+--------------+
//!
//!  any but left --- the operator suspends ---> suspended --- lifted ---> offline
//!  any but left --- it leaves, or its account ends ---> left (for good: whoever comes back joins again)
//!  any but left --- its owner or the operator revokes it ---> revoked (the same)
//! ```
//! Here "left" means revoked, too.
//!
//! What the platform decides is kept; silence, pauses and draining are not, and follow from a node's reports
//! ([`NodeState::seen`]). A node that was measured before is calibrated as soon as it says hello. While it is calibrating it
//! gets checks, and its own account's runs.

use serde::{Deserialize, Serialize};

use super::NodeReport;

/// Where a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It is registered, and has not connected yet.
    Joining,
    /// It is being measured: it gets checks, and its own account's runs.
    Calibrating,
    /// It takes runs.
    Online,
    /// It takes no runs for a while, and what it had was ended; the reason stands beside.
    Paused,
    /// It takes no new runs.
    Draining,
    /// It does not report.
    Offline,
    /// The operator has shut it out; the reason stands beside.
    Suspended,
    /// It has left.
    Left,
    /// Its owner or the operator has ended it.
    Revoked,
}

/// What changes a node's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeEvent {
    /// It has said hello.
    Hello,
    /// Its first checks are done, or it is never checked.
    Calibrated,
    /// Its owner, its machine or a cap pauses it.
    Pause,
    /// It is to end what it has.
    Drain,
    /// It takes runs again, or reports again that it does.
    Resume,
    /// It has not reported for a while.
    Silent,
    /// The operator shuts it out.
    Suspend,
    /// The operator lets it in again.
    Lift,
    /// It leaves.
    Leave,
    /// Its owner or the operator ends it.
    Revoke,
}

impl NodeState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Joining,
        Self::Calibrating,
        Self::Online,
        Self::Paused,
        Self::Draining,
        Self::Offline,
        Self::Suspended,
        Self::Left,
        Self::Revoked,
    ];

    /// Those of which there is no way back.
    pub const GONE: [Self; 2] = [Self::Left, Self::Revoked];

    /// The state after an event; none where it cannot happen.
    #[must_use]
    pub const fn after(self, event: NodeEvent) -> Option<Self> {
        use NodeEvent as E;
        Some(match (self, event) {
            (Self::Left | Self::Revoked, _) => return None,
            (_, E::Leave) => Self::Left,
            (_, E::Revoke) => Self::Revoked,
            (_, E::Suspend) => Self::Suspended,
            (Self::Suspended, E::Lift) => Self::Offline,
            (Self::Suspended, _) => return None,
            (Self::Joining | Self::Calibrating | Self::Offline, E::Hello) => Self::Calibrating,
            (Self::Calibrating, E::Calibrated) => Self::Online,
            (Self::Online | Self::Paused | Self::Draining, E::Hello) => self,
            (Self::Calibrating | Self::Online | Self::Draining | Self::Offline, E::Pause) => Self::Paused,
            (Self::Calibrating | Self::Online | Self::Paused | Self::Offline, E::Drain) => Self::Draining,
            (Self::Paused | Self::Draining | Self::Offline, E::Resume) => Self::Online,
            (Self::Calibrating | Self::Online | Self::Paused | Self::Draining, E::Silent) => Self::Offline,
            _ => return None,
        })
    }

    /// Whether the platform still speaks with it.
    #[must_use]
    pub const fn is_member(self) -> bool {
        !matches!(self, Self::Suspended | Self::Left | Self::Revoked)
    }

    /// Whether it is no node any more, and never will be again.
    #[must_use]
    pub const fn is_gone(self) -> bool {
        matches!(self, Self::Left | Self::Revoked)
    }

    /// What people see of it: what is kept, with what its last report says; none where it does not report.
    #[must_use]
    pub fn seen(self, report: Option<&NodeReport>) -> Self {
        let event = match report.map(NodeReport::paused) {
            None => NodeEvent::Silent,
            Some(None) => NodeEvent::Resume,
            Some(Some(paused)) if paused.reason.lets_runs_end() => NodeEvent::Drain,
            Some(Some(_)) => NodeEvent::Pause,
        };
        self.after(event).unwrap_or(self)
    }

    /// Whether it has reported within 3 s, as people see it.
    #[must_use]
    pub const fn reports(self) -> bool {
        matches!(self, Self::Calibrating | Self::Online | Self::Paused | Self::Draining)
    }

    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Calibrating => "calibrating",
            Self::Online => "online",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Offline => "offline",
            Self::Suspended => "suspended",
            Self::Left => "left",
            Self::Revoked => "revoked",
        }
    }
}

impl std::fmt::Display for NodeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [NodeEvent; 10] = [
        NodeEvent::Hello,
        NodeEvent::Calibrated,
        NodeEvent::Pause,
        NodeEvent::Drain,
        NodeEvent::Resume,
        NodeEvent::Silent,
        NodeEvent::Suspend,
        NodeEvent::Lift,
        NodeEvent::Leave,
        NodeEvent::Revoke,
    ];

    fn walk(events: &[NodeEvent]) -> Option<NodeState> {
        events.iter().try_fold(NodeState::Joining, |state, event| state.after(*event))
    }

    #[test]
    fn a_node_joins_works_rests_and_leaves() {
        use NodeEvent as E;
        assert_eq!(walk(&[E::Hello, E::Calibrated]), Some(NodeState::Online));
        assert_eq!(walk(&[E::Hello, E::Hello]), Some(NodeState::Calibrating), "a hello measures nothing");
        assert_eq!(walk(&[E::Hello, E::Calibrated, E::Hello]), Some(NodeState::Online));
        assert_eq!(walk(&[E::Hello, E::Silent, E::Hello]), Some(NodeState::Calibrating));
        assert_eq!(walk(&[E::Hello, E::Calibrated, E::Silent, E::Hello, E::Calibrated]), Some(NodeState::Online));
        assert_eq!(walk(&[E::Hello, E::Calibrated, E::Pause, E::Hello]), Some(NodeState::Paused));
        assert_eq!(walk(&[E::Hello, E::Calibrated, E::Drain, E::Resume, E::Leave]), Some(NodeState::Left));
        assert_eq!(
            walk(&[E::Suspend, E::Lift, E::Hello]),
            Some(NodeState::Calibrating),
            "it may never have been measured"
        );
        assert_eq!(walk(&[E::Calibrated]), None, "nobody has heard it");
    }

    /// Every state and every event: `.` where it cannot happen.
    #[test]
    fn each_transition_is_the_drawn_one() {
        let table = [
            // hello, calibrated, pause, drain, resume, silent, suspend, lift, leave, revoke
            (NodeState::Joining, "calibrating . . . . . suspended . left revoked"),
            (NodeState::Calibrating, "calibrating online paused draining . offline suspended . left revoked"),
            (NodeState::Online, "online . paused draining . offline suspended . left revoked"),
            (NodeState::Paused, "paused . . draining online offline suspended . left revoked"),
            (NodeState::Draining, "draining . paused . online offline suspended . left revoked"),
            (NodeState::Offline, "calibrating . paused draining online . suspended . left revoked"),
            (NodeState::Suspended, ". . . . . . suspended offline left revoked"),
            (NodeState::Left, ". . . . . . . . . ."),
            (NodeState::Revoked, ". . . . . . . . . ."),
        ];
        assert_eq!(table.map(|(state, _)| state), NodeState::ALL);
        for (state, row) in table {
            let after = EVENTS.map(|event| state.after(event).map_or(".", NodeState::as_str)).join(" ");
            assert_eq!(after, row, "{state}");
        }
    }

    #[test]
    fn who_is_shut_out_comes_back_by_the_operator_alone_and_who_has_left_never() {
        for event in EVENTS {
            for gone in NodeState::GONE {
                assert_eq!(gone.after(event), None, "{event:?}");
            }
            let back = NodeState::Suspended.after(event).is_some_and(NodeState::is_member);
            assert_eq!(back, event == NodeEvent::Lift, "{event:?}");
        }
        for state in NodeState::ALL {
            assert_eq!(state.is_gone(), NodeState::GONE.contains(&state));
            if !state.is_gone() {
                assert_eq!(state.after(NodeEvent::Leave), Some(NodeState::Left));
                assert_eq!(state.after(NodeEvent::Revoke), Some(NodeState::Revoked));
                assert_eq!(state.after(NodeEvent::Suspend), Some(NodeState::Suspended));
            }
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
