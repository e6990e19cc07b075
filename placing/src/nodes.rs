//! The nodes as this process sees them: records, reports, its own runs, and which of them have just lost one.
//!
//! Placements share the lock; who writes holds it for less than a microsecond, and never across a wait.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use protocol::node::{NodeRecord, NodeReport};
use protocol::{ByteSize, Lane, NodeId};
use scheduler::{LastWord, NodeTable, NodeView, Placement, SILENT_AFTER};

/// The nodes.
pub struct Nodes {
    inner: RwLock<Inner>,
    suspect_for: Duration,
}

#[derive(Default)]
struct Inner {
    table: NodeTable,
    suspects: HashMap<NodeId, Instant>,
}

impl Nodes {
    /// Nobody is there yet. A node that loses a run is asked last for `suspect_for`, or until it reports again.
    #[must_use]
    pub fn new(suspect_for: Duration) -> Arc<Self> {
        Arc::new(Self { inner: RwLock::default(), suspect_for })
    }

    /// A new or changed record.
    pub fn upsert(&self, record: NodeRecord) {
        self.inner.write().table.upsert(record);
    }

    /// A node is gone for good.
    pub fn remove(&self, node: NodeId) {
        let mut inner = self.inner.write();
        inner.suspects.remove(&node);
        inner.table.remove(node);
    }

    /// A node has reported.
    pub fn heard(&self, report: NodeReport, now: Instant) {
        let mut inner = self.inner.write();
        inner.suspects.remove(&report.node);
        inner.table.heard(report, now);
    }

    /// Reports grow older, and suspicions pass.
    pub fn pass(&self, now: Instant) {
        let mut inner = self.inner.write();
        inner.suspects.retain(|_, until| now < *until);
        inner.table.pass(now);
    }

    /// All is forgotten: this process places no runs any more.
    pub fn clear(&self) {
        *self.inner.write() = Inner::default();
    }

    /// What is known of all nodes.
    pub fn look<R>(&self, look: impl FnOnce(&[NodeView]) -> R) -> R {
        look(self.inner.read().table.seen())
    }

    /// The lanes that live nodes offer now.
    #[must_use]
    pub fn lanes(&self) -> Vec<Lane> {
        self.look(|nodes| {
            let live = nodes.iter().filter(|node| node.age < SILENT_AFTER);
            let reports: Vec<_> = live.filter_map(|node| node.report.as_ref()).filter(|it| it.takes_runs()).collect();
            [Lane::Wasm, Lane::Vm].into_iter().filter(|lane| reports.iter().any(|it| it.lanes.contains(lane))).collect()
        })
    }

    /// The order that `policy` makes of them; nodes that have just lost a run come last.
    pub fn rank(&self, now: Instant, policy: impl FnOnce(&[NodeView]) -> Placement) -> Placement {
        let inner = self.inner.read();
        let mut placement = policy(inner.table.seen());
        if !inner.suspects.is_empty() {
            placement.ranked.sort_by_key(|candidate| inner.suspects(candidate.node, now));
        }
        placement
    }

    /// Whether others are asked before it.
    #[must_use]
    pub fn is_suspect(&self, node: NodeId, now: Instant) -> bool {
        self.inner.read().suspects(node, now)
    }

    /// It has lost a run: others are asked before it for a while.
    pub fn suspect(&self, node: NodeId, now: Instant) {
        self.inner.write().suspects.insert(node, now + self.suspect_for);
    }

    /// A run goes there: it counts against the node's room from now on.
    pub fn reserve(self: &Arc<Self>, node: NodeId, lane: Lane, memory: ByteSize) -> Reservation {
        self.inner.write().table.started(node, memory);
        Reservation { nodes: Arc::clone(self), node, lane, memory, last_word: None }
    }
}

impl Inner {
    fn suspects(&self, node: NodeId, now: Instant) -> bool {
        self.suspects.get(&node).is_some_and(|until| now < *until)
    }
}

/// A run's room on a node, as this process counts it. Given back when dropped.
#[must_use]
pub struct Reservation {
    nodes: Arc<Nodes>,
    node: NodeId,
    lane: Lane,
    memory: ByteSize,
    last_word: Option<LastWord>,
}

impl Reservation {
    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The lane there.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// The run is over, and the node has said this at its end.
    pub(crate) fn release(mut self, last_word: Option<LastWord>) {
        self.last_word = last_word;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.nodes.inner.write().table.ended(self.node, self.memory, self.last_word);
    }
}
