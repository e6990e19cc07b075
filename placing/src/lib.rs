//! One run path, for calls and for jobs: from the placement of a run to its observation.
//!
//! ```text
//! records, reports ---> Nodes -----+                       +--> response, streamed to the run's owner
//!                                  v                       |
//! RunRequest --> Placing::rank --> reserve --> Attempt ----+--> verdict: what has become of it
//!                                  ^             ^         |
//! models, runs --> Learning -------+   TicketIssuer        +--> last word --> Observation
//! ```
//!
//! A run's owner is a gateway, for calls, or the dispatcher, for jobs. Owners decide what is tried again, where and when;
//! a gateway pours the response to its caller, the dispatcher into the store and a step. What both do is here: nothing
//! here knows a gateway's answers or a dispatcher's rows.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod attempt;
mod hear;
pub mod learning;
mod nodes;
mod observation;
pub mod problem;
mod response;
mod settings;
mod tickets;
pub mod verdict;

use std::sync::Arc;
use std::time::Instant;

use fabric::profile::{self, Part};
use protocol::placement::Placement;
use protocol::{Digest, InstanceId, Lane, Limits, NodeId};
use scheduler::RunRequest;

pub use attempt::{Attempt, Concluded};
pub use hear::{age, hear_boots, hear_reports};
pub use learning::Learning;
pub use nodes::{Nodes, Reservation};
pub use observation::{ObservationDraft, PATH_CHARS_MAX, RunFacts};
pub use response::{HasAttempt, Piece, ResponseBody};
pub use settings::Settings;
pub use tickets::TicketIssuer;
pub use verdict::{Fate, NotTaken, Verdict};

/// What a process that places runs has for all of them.
pub struct Placing {
    /// Bounds of their way.
    pub settings: Settings,
    /// Which process this is: it issues their tickets and sees them.
    pub instance: InstanceId,
    /// Where they may go.
    pub nodes: Arc<Nodes>,
    /// What was learned of earlier ones.
    pub learning: Arc<Learning>,
    tickets: Arc<dyn TicketIssuer>,
}

impl Placing {
    /// No node is known yet, and nothing is learned.
    #[must_use]
    pub fn new(
        settings: Settings,
        instance: InstanceId,
        learning: Arc<Learning>,
        tickets: Arc<dyn TicketIssuer>,
    ) -> Arc<Self> {
        let nodes = Nodes::new(settings.suspect_for);
        Arc::new(Self { settings, instance, nodes, learning, tickets })
    }

    /// Where a run may go, best first, by what was learned.
    #[must_use]
    pub fn rank(&self, wanted: &RunRequest, now: Instant) -> Placement {
        let knowledge = self.learning.knowledge();
        let rank = |memo: &mut _, nodes: &_| knowledge.rank(memo, wanted, nodes, &mut rand::rng());
        let rank = || self.nodes.rank(now, |nodes| Learning::with_memo(|memo| rank(memo, nodes)));
        profile::within(Part::Placement, rank)
    }

    /// A node has left, or was shut out.
    pub fn left(&self, node: NodeId) {
        self.nodes.remove(node);
        self.learning.left(node);
    }

    /// Room on a node for a run with these limits.
    pub fn reserve(&self, node: NodeId, lane: Lane, limits: &Limits) -> Reservation {
        self.nodes.reserve(node, lane, limits.memory_in(lane))
    }

    /// A run that is looking for a node. Its artifact is what the node may fetch for it.
    #[must_use]
    pub fn begin(self: &Arc<Self>, facts: &RunFacts<'_>, artifact: Digest, received: Instant) -> Attempt {
        Attempt::begin(Arc::clone(self), facts, artifact, received)
    }
}
