//! What its owner wants of a node from afar, and what a node tells its owner alone.
//!
//! A wish goes to the node at once (`POST /wish` at its `control` subject), and with each answer to a hello for a node that
//! did not hear it. Its revision says which of two is the later one.

use serde::{Deserialize, Serialize};

use super::{Caps, CapsWish, PauseReason};
use crate::units::{ByteSize, Timestamp};
use crate::wire;

/// What the owner wants of a node from afar, instead of what they wanted before. It only lowers what was agreed on the
/// machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct NodeWish {
    /// Caps; what is left out is as it was agreed.
    pub caps: CapsWish,
    /// Takes the machine back for a while; where it is left out, a pause that was wished for here ends. One that was said on
    /// the machine does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<WishedPause>,
}

/// A pause that the owner wants from afar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct WishedPause {
    /// Until when; until it is ended where this is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When it was asked for, which is what tells it from another one: an owner may have ended it on the machine. Left out
    /// where it is asked for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Whether what runs may finish; else it is given back at once.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drain: bool,
}

/// A wish, as the platform keeps it and tells it to the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RevisedWish {
    /// Counts up with each wish of the node; zero before the first.
    pub revision: u64,
    /// What is wanted.
    pub wish: NodeWish,
}

impl RevisedWish {
    /// The wish that follows this one, asked for at this time.
    #[must_use]
    pub fn followed_by(self, mut wish: NodeWish, now: Timestamp) -> Self {
        if let Some(pause) = &mut wish.pause {
            pause.since.get_or_insert(now);
        }
        Self { revision: self.revision.saturating_add(1), wish }
    }
}

/// How a node is, for its owner: its response to a wish, and to `GET /status` at its `control` subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeStatus {
    /// Why it takes no runs, the weightiest reason first; empty where it does.
    #[serde(deserialize_with = "wire::known")]
    pub paused: Vec<HeldPause>,
    /// The caps in force.
    pub caps: Caps,
    /// Of the memory, promised to runs.
    pub memory_used: ByteSize,
    /// Of the disk space, used.
    pub disk_used: ByteSize,
    /// Traffic of this calendar month.
    pub traffic_used: ByteSize,
    /// When nothing is lent.
    pub quiet_hours: Vec<String>,
    /// What it did today.
    pub today: NodeToday,
}

/// A reason that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldPause {
    /// Why.
    pub reason: PauseReason,
    /// Until when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Where the owner has asked for it; none where nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub by: Option<PauseSource>,
}

/// Where an owner has asked for a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PauseSource {
    /// By a command on the machine.
    Cli,
    /// By a signal to the process.
    Signal,
    /// From afar: in the portal, or by the API.
    Portal,
}

/// What a node did on one day, by its own count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeToday {
    /// `2027-01-31`.
    pub day: String,
    /// Runs that have ended.
    pub runs: u64,
    /// Of them, given back because the machine was needed.
    pub given_back: u64,
    /// CPU time of guests, in microseconds.
    pub cpu_us: u64,
    /// Bytes in and out.
    pub traffic: ByteSize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_the_same_one_until_another_is_wished_for() {
        let asked = NodeWish { pause: Some(WishedPause::default()), ..NodeWish::default() };
        let first = RevisedWish::default().followed_by(asked, Timestamp(5));
        assert_eq!((first.revision, first.wish.pause.and_then(|pause| pause.since)), (1, Some(Timestamp(5))));
        let caps = CapsWish { cores: Some(1), ..CapsWish::default() };
        let lowered = first.followed_by(NodeWish { caps, ..first.wish }, Timestamp(6));
        assert_eq!((lowered.revision, lowered.wish.pause), (2, first.wish.pause));
        let again = lowered.followed_by(asked, Timestamp(7));
        assert_eq!(again.wish.pause.and_then(|pause| pause.since), Some(Timestamp(7)));
    }

    #[test]
    fn a_wish_is_read_strictly_and_left_out_where_it_is_none() {
        let read = |text: &str| serde_json::from_str::<NodeWish>(text);
        assert_eq!(read("{}").unwrap(), NodeWish::default());
        let asked = read(r#"{"caps":{"cores":1,"memory":"1GiB"},"pause":{"drain":true}}"#).unwrap();
        assert_eq!((asked.caps.cores, asked.caps.memory), (Some(1), Some(ByteSize::mib(1024))));
        assert_eq!(asked.pause, Some(WishedPause { drain: true, ..WishedPause::default() }));
        assert!(read(r#"{"cores":1}"#).is_err() && read(r#"{"caps":{"core":1}}"#).is_err());
    }
}
