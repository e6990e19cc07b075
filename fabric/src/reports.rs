//! Nodes' reports on their way in: nobody sees one that is not checked, of another node, or of a copy of a node.

use std::time::{Duration, Instant};

use protocol::NodeId;
use protocol::node::{BootKey, NodeReport};
use serde::{Deserialize, Serialize};

use crate::address::{NodeEndpoint, Target};
use crate::call::CallOptions;
use crate::client::Fabric;
use crate::dropped::Dropped;
use crate::error::CallError;
use crate::events::Event;
use crate::subjects;

/// A node that is asked whether it is there answers within this.
const ASKED_WITHIN: Duration = Duration::from_millis(500);

/// Which start is a node.
#[derive(Serialize, Deserialize)]
struct Chosen {
    node: NodeId,
    boot: BootKey,
}

impl Fabric {
    /// The report in an event of [`subjects::REPORTS`], with what it leaves out; none where it is not to be believed.
    pub fn report(&self, event: &Event) -> Option<NodeReport> {
        let node = subjects::node_of(&event.subject)?;
        if self.drops(node, Dropped::Report) {
            return None;
        }
        let now = Instant::now();
        let mut report = match NodeReport::parse(&event.payload) {
            Ok(report) => report,
            Err(malformed) => {
                self.shared().drops.note(node, Dropped::Report, malformed, now);
                return None;
            }
        };
        // The subject proves who speaks.
        if report.node != node {
            self.shared().drops.note(node, Dropped::Report, "it is about another node", now);
            return None;
        }
        if !self.shared().boots.heard(node, report.boot.as_ref(), report.draining, now) {
            let why = "another process with this node's credentials is connected already";
            self.shared().drops.note(node, Dropped::Report, why, now);
            return None;
        }
        if self.shared().lists.complete(&mut report, now) {
            tokio::spawn(self.clone().ask_for_lists(node));
        }
        Some(report)
    }

    /// Asks a node for a report that leaves nothing out. Where it does not hear it, its next one comes within seconds.
    async fn ask_for_lists(self, node: NodeId) {
        let Ok(request) = http::Request::post("/report").body(crate::empty()) else { return };
        let options = CallOptions { deadline: ASKED_WITHIN, accept_within: ASKED_WITHIN };
        if let Err(error) = self.call(Target::Node(node, NodeEndpoint::Control), request, options).await {
            tracing::debug!(%node, %error, "a node was not asked for a whole report");
        }
    }

    /// Takes this start of a node for the node, where no other one lives: one that cannot be found is asked. All of the
    /// core is told. False: another process with the node's credentials is there.
    pub async fn admit_boot(&self, node: NodeId, boot: Option<&BootKey>) -> bool {
        if !self.shared().boots.admits(node, boot, Instant::now()) && self.is_answering(node).await {
            let why = "another process with this node's credentials is connected already";
            self.dropped(node, Dropped::Request, why);
            return false;
        }
        let Some(boot) = boot else { return true };
        self.let_in(node);
        self.shared().boots.set(node, Some(boot), Instant::now());
        let chosen = Chosen { node, boot: boot.clone() };
        if let Ok(json) = serde_json::to_vec(&chosen)
            && let Err(error) = self.publish(subjects::NODE_BOOTS, json).await
        {
            tracing::warn!(%error, "which process is a node cannot be told");
        }
        true
    }

    /// Whether the start that is the node answers. Nobody else can: what is asked is sealed.
    async fn is_answering(&self, node: NodeId) -> bool {
        let Ok(request) = http::Request::get("/boot").body(crate::empty()) else { return true };
        let options = CallOptions { deadline: ASKED_WITHIN, accept_within: ASKED_WITHIN };
        let answered = self.call(Target::Node(node, NodeEndpoint::Control), request, options).await;
        // Only the server's word that nobody listens counts: a process may also be slow.
        !matches!(answered, Err(CallError::NoResponder))
    }

    /// Learns from an event of [`subjects::NODE_BOOTS`].
    pub fn learn_boot(&self, event: &Event) {
        match serde_json::from_slice::<Chosen>(&event.payload) {
            Ok(Chosen { node, boot }) => {
                // Nobody who is shut out is chosen.
                self.let_in(node);
                self.shared().boots.set(node, Some(&boot), Instant::now());
            }
            Err(error) => tracing::error!(%error, "which process is a node is not understood"),
        }
    }

    /// The key of this process as a node.
    pub fn boot(&self) -> &BootKey {
        &self.shared().boot
    }

    /// Counts a request of a node that could not be understood, and says so in the log now and then.
    pub fn dropped(&self, node: NodeId, what: Dropped, why: impl std::fmt::Display) {
        self.shared().drops.note(node, what, why, Instant::now());
    }
}
