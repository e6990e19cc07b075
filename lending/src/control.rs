//! What is said over a node's control socket: a line of JSON for each request, and one for its reply (many for a watch). Whoever may open the
//! socket is the owner. Of runs it tells sizes and times, never whose they are or what they do.

use std::path::{Path, PathBuf};

use protocol::node::{Caps, HeldPause, NodeStatus};
use protocol::{ByteSize, Lane, Millis, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::caps::Wish;
use crate::meter::Today;
use crate::pause::Reason;

/// Bytes of a request.
pub const REQUEST_BYTES_MAX: usize = 4096;
/// Bytes of a reply.
pub const REPLY_BYTES_MAX: usize = 1 << 20;
/// Runs that a status lists.
pub const RUNS_MAX: usize = 256;

/// The socket of the node with this data folder.
#[must_use]
pub fn socket(data: &Path) -> PathBuf {
    data.join("lend.sock")
}

/// What the owner asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How things are.
    Status,
    /// How things are, each second, until the connection is closed.
    Watch,
    /// Take nothing new, and give back what runs.
    Pause {
        /// For so long; until resumed where it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasts: Option<Millis>,
    },
    /// Lend again.
    Resume,
    /// Take nothing new, and finish what runs.
    Drain,
    /// Lend less, or as much as was agreed again.
    SetCaps {
        /// What to change.
        wish: Wish,
    },
}

/// What the node says: how things are once that is done, or why it is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// How things are.
    Status(Box<Status>),
    /// It was not done.
    Refused(String),
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Which node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Whether it is connected to its platform; none of a node that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
    /// Why it takes no runs, the weightiest reason first; empty where it does.
    pub paused: Vec<Reason>,
    /// Caps, and how much of each is used.
    pub caps: CapsUsed,
    /// When nothing is lent.
    pub quiet_hours: Vec<String>,
    /// It pauses while its owner uses the machine.
    #[serde(default)]
    pub pauses_when_owner_active: bool,
    /// It pauses while the machine runs on its battery.
    #[serde(default)]
    pub pauses_on_battery: bool,
    /// Runs now.
    pub running: u32,
    /// Of them, the oldest.
    pub runs: Vec<RunShown>,
    /// What it did today.
    pub today: Today,
}

impl From<Status> for NodeStatus {
    fn from(status: Status) -> Self {
        let CapsUsed { cores, memory, memory_used, disk, disk_used, traffic, traffic_used, egress, load: _ } =
            status.caps;
        Self {
            paused: status.paused.into_iter().map(HeldPause::from).collect(),
            caps: Caps { cores, memory, disk, traffic, egress },
            memory_used,
            disk_used,
            traffic_used,
            quiet_hours: status.quiet_hours,
            today: status.today.into(),
        }
    }
}

/// Caps, and how much of each is used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CapsUsed {
    /// Cores lent.
    pub cores: u32,
    /// Busy cores over all cores of the machine, 0 to 1, whoever uses them.
    pub load: f32,
    /// Memory lent.
    pub memory: ByteSize,
    /// Of that, promised to runs.
    pub memory_used: ByteSize,
    /// Disk space lent.
    pub disk: ByteSize,
    /// Of that, used.
    pub disk_used: ByteSize,
    /// Traffic lent in a month; none: as much as there is.
    pub traffic: Option<ByteSize>,
    /// Of that, used.
    pub traffic_used: ByteSize,
    /// Whether guests may connect to other hosts.
    pub egress: bool,
}

/// A run, as its host may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunShown {
    /// The lane.
    pub lane: Lane,
    /// Since when.
    pub since: Timestamp,
    /// Memory promised to it.
    pub memory: ByteSize,
}

#[cfg(test)]
mod tests {
    use protocol::node::CapsWish;

    use super::*;

    #[test]
    fn requests_are_lines_that_read_as_they_are_meant() {
        let read = |text: &str| serde_json::from_str::<Request>(text);
        assert_eq!(
            read(r#"{"do":"pause","lasts":7200000}"#).unwrap(),
            Request::Pause { lasts: Some(Millis(7_200_000)) }
        );
        assert_eq!(read(r#"{"do":"pause"}"#).unwrap(), Request::Pause { lasts: None });
        assert_eq!(read(r#"{"do":"status"}"#).unwrap(), Request::Status);
        assert_eq!(read(r#"{"do":"watch"}"#).unwrap(), Request::Watch);
        assert!(read(r#"{"do":"pause","until":1}"#).is_err(), "a mistake is not passed over");
        let wish = Wish::from(CapsWish { cores: Some(1), ..CapsWish::default() });
        let json = serde_json::to_string(&Request::SetCaps { wish: wish.clone() }).unwrap();
        assert!(!json.contains('\n'));
        assert_eq!(read(&json).unwrap(), Request::SetCaps { wish });
    }
}
