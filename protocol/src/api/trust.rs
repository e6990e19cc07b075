//! One node in full, and what its owner and the operator say of it.

use serde::{Deserialize, Serialize};

use super::Node;
use crate::ids::{NodeId, RunId};
use crate::names::Name;
use crate::node::{Caps, CheckOutcome, Lending, Missing, NodeStatus, NodeWish};
use crate::units::Timestamp;

api_types! {
    /// `GET /nodes/{id}`
    pub struct NodeDetails {
        /// As in the list.
        #[serde(flatten)]
        pub node: Node,
        /// Of the key that the machine is known by; `crowdcloud lend` shows the same. None before it has joined.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub fingerprint: Option<String>,
        /// When it joined.
        pub joined: Timestamp,
        /// Since when the state that the platform keeps is the one it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub since: Option<Timestamp>,
        /// Who has suspended or revoked it, or taken it back, where that is known; none for others than its owner and the
        /// operator.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// Other nodes of the same machine, by the id that it tells, whoever has them: the operator alone sees them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub same_machine: Vec<NodeId>,
        /// The operating system.
        #[serde(default)]
        pub os: String,
        /// The software's version.
        #[serde(default)]
        pub software: String,
        /// When its owner has confirmed it: `own` counts from then on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub confirmed: Option<Timestamp>,
        /// Since when it is proven.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub proven: Option<Timestamp>,
        /// The operator vouches for it or for its owner.
        pub vouched: bool,
        /// When it has returned a wrong result.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub lied: Option<Timestamp>,
        /// What it lacks for the next level.
        pub missing: Vec<Missing>,
        /// How often it has returned a result when it was checked; honesty is not counted here.
        pub availability: Availability,
        /// Turns of a fixed loop in a millisecond, as measured by what it did; none before the first check.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub turns_per_ms: Option<u32>,
        /// Its caps and their use, by its last report.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub lending: Option<Lending>,
        /// Its newest checks, the newest first.
        pub checks: Vec<NodeCheck>,
        /// The caps that were agreed on the machine; none where the node has not said, and for others than the owner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agreed: Option<Caps>,
        /// What the owner wants from afar; none where they never wanted anything, and for others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub wish: Option<NodeWish>,
        /// For `If-Match`, of that wish; none for others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub etag: Option<String>,
        /// What the node says of itself, asked a moment ago; none where it does not, and for others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub now: Option<NodeStatus>,
    }

    /// How often a node has answered.
    pub struct Availability {
        /// Checks that it took.
        pub asked: u32,
        /// Those of them that it returned a result of.
        pub answered: u32,
    }

    /// A check of a node: a run whose result the platform knows.
    pub struct NodeCheck {
        /// The run.
        pub run: RunId,
        /// When it ended.
        pub at: Timestamp,
        /// How.
        pub outcome: CheckOutcome,
        /// From the call to the result's end, in microseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub wall_us: Option<u64>,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub detail: Option<String>,
    }

    /// `POST /nodes/{id}/confirm`: what its owner has read on the machine.
    #[serde(deny_unknown_fields)]
    pub struct ConfirmNode {
        /// The machine's name.
        pub name: String,
        /// Its fingerprint.
        pub fingerprint: String,
    }

    /// `POST /nodes/vouch`: for one node, or for all nodes of an account. Where both are named, the node is meant, and it is
    /// refused if there is such an account: a name may be that of either.
    #[serde(deny_unknown_fields)]
    pub struct Vouch {
        /// The node.
        #[serde(default)]
        pub node: Option<NodeId>,
        /// The account.
        #[serde(default)]
        pub account: Option<Name>,
        /// No longer.
        #[serde(default)]
        pub withdraw: bool,
    }
}
