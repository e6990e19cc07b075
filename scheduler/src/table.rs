//! The nodes as one process sees them: fed with records, reports, and its own starts and ends.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::node::{NodeRecord, NodeReport};
use protocol::placement::Warmth;
use protocol::receipt::Observation;
use protocol::{ByteSize, NodeId};

use crate::NodeView;

/// All nodes. A gateway keeps one behind a lock that placements share.
#[derive(Debug, Default)]
pub struct NodeTable {
    views: Vec<NodeView>,
    /// When each was last heard; same order as `views`.
    heard: Vec<Option<Instant>>,
    places: HashMap<NodeId, usize>,
}

/// What the end of a run says of its node.
#[derive(Debug, Clone, Copy)]
pub struct LastWord {
    /// Runs there.
    pub running: u32,
    /// How much longer the call took than the run.
    pub beside_the_run: Duration,
}

impl LastWord {
    /// Of a run for which the node was called for so long. What came before that, as other nodes' failures or the wait
    /// for a free one, says nothing of this one.
    #[must_use]
    pub fn of(seen: &Observation, called: Duration) -> Option<Self> {
        let end = seen.end.as_ref()?;
        // A node that says that it worked longer than the call took is not near, but slow.
        let beside_the_run = called.saturating_sub(Duration::from_micros(end.usage.wall_us));
        Some(Self { running: end.running, beside_the_run })
    }
}

impl NodeTable {
    /// A table without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new or changed record.
    pub fn upsert(&mut self, record: NodeRecord) {
        if let Some(&place) = self.places.get(&record.node) {
            self.views[place].record = record;
            return;
        }
        self.places.insert(record.node, self.views.len());
        self.views.push(NodeView::new(record));
        self.heard.push(None);
    }

    /// The node is gone for good.
    pub fn remove(&mut self, node: NodeId) {
        let Some(place) = self.places.remove(&node) else { return };
        self.views.swap_remove(place);
        self.heard.swap_remove(place);
        if let Some(moved) = self.views.get(place) {
            self.places.insert(moved.record.node, place);
        }
    }

    /// A report came. One of a node without a record is dropped: nobody vouches for it.
    pub fn heard(&mut self, mut report: NodeReport, now: Instant) {
        let Some(&place) = self.places.get(&report.node) else { return };
        let view = &mut self.views[place];
        let (warm, cached) = (std::mem::take(&mut report.warm), std::mem::take(&mut report.cached));
        let cached = cached.into_iter().map(|artifact| (artifact, Warmth::Cached));
        view.artifacts = cached.chain(warm.into_iter().map(|artifact| (artifact, Warmth::Warm))).collect();
        view.distance.pass();
        view.running_known = report.running;
        view.started_since = 0;
        view.own_memory_since = 0;
        view.age = Duration::ZERO;
        view.report = Some(report);
        self.heard[place] = Some(now);
    }

    /// A run was sent there.
    pub fn started(&mut self, node: NodeId, memory: ByteSize) {
        if let Some(view) = self.view_mut(node) {
            view.started_since = view.started_since.saturating_add(1);
            view.own_running = view.own_running.saturating_add(1);
            view.own_memory_since = view.own_memory_since.saturating_add_unsigned(memory.0);
        }
    }

    /// A run that was sent there is over. No last word: there was no `end`, or the run was not taken.
    pub fn ended(&mut self, node: NodeId, memory: ByteSize, last: Option<LastWord>) {
        if let Some(view) = self.view_mut(node) {
            view.own_running = view.own_running.saturating_sub(1);
            view.own_memory_since = view.own_memory_since.saturating_sub_unsigned(memory.0);
            match last {
                Some(last) => {
                    (view.running_known, view.started_since) = (last.running, 0);
                    view.distance.saw(last.beside_the_run);
                }
                None if view.started_since > 0 => view.started_since -= 1,
                None => view.running_known = view.running_known.saturating_sub(1),
            }
        }
    }

    /// All nodes, as of `now`.
    pub fn views(&mut self, now: Instant) -> &[NodeView] {
        self.pass(now);
        &self.views
    }

    /// Time went on: reports grow older.
    pub fn pass(&mut self, now: Instant) {
        for (view, heard) in self.views.iter_mut().zip(&self.heard) {
            view.age = heard.map_or(Duration::MAX, |heard| now.saturating_duration_since(heard));
        }
    }

    /// All nodes, as of the last [`NodeTable::pass`]: many may look at once.
    #[must_use]
    pub fn seen(&self) -> &[NodeView] {
        &self.views
    }

    /// One node.
    #[must_use]
    pub fn view(&self, node: NodeId) -> Option<&NodeView> {
        self.places.get(&node).map(|&place| &self.views[place])
    }

    fn view_mut(&mut self, node: NodeId) -> Option<&mut NodeView> {
        self.places.get(&node).map(|&place| &mut self.views[place])
    }
}
