//! The nodes as this gateway sees them: records from the `cc-nodes` bucket, reports each second, own runs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric::{Fabric, subjects};
use parking_lot::RwLock;
use protocol::node::{NodeRecord, NodeReport};
use protocol::{ByteSize, Lane, NodeId, wire};
use scheduler::{Knowledge, LastWord, Memo, NodeTable, Placement, RunRequest, SILENT_AFTER};
use tokio_util::sync::CancellationToken;

use crate::mirror::Sink;

/// A node that lost a call is asked last for so long, or until it reports again.
const SUSPECT_FOR: Duration = Duration::from_secs(3);

/// After an error: listen again after so long.
const LISTEN_AGAIN: Duration = Duration::from_millis(200);

/// Reports grow older at this pace.
const AGE_EVERY: Duration = Duration::from_millis(100);

/// The nodes. Placements share the lock; who writes holds it for less than a microsecond, and never across a wait.
pub(crate) struct Nodes {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    table: NodeTable,
    suspects: HashMap<NodeId, Instant>,
    records: HashSet<NodeId>,
    seen: Option<HashSet<NodeId>>,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        Self { inner: RwLock::default() }
    }

    /// Where the run may go, best first; nodes that just lost a call come last.
    pub(crate) fn rank(&self, knowledge: &Knowledge, memo: &mut Memo, request: &RunRequest, now: Instant) -> Placement {
        let inner = self.inner.read();
        let mut placement = knowledge.rank(memo, request, inner.table.seen(), &mut rand::rng());
        if !inner.suspects.is_empty() {
            let suspect = |node: &NodeId| inner.suspects.get(node).is_some_and(|until| now < *until);
            placement.ranked.sort_by_key(|candidate| suspect(&candidate.node));
        }
        placement
    }

    /// The lanes that live nodes offer now.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        let inner = self.inner.read();
        let live = inner.table.seen().iter().filter(|node| node.age < SILENT_AFTER);
        let reports: Vec<_> = live.filter_map(|node| node.report.as_ref()).filter(|it| !it.draining).collect();
        [Lane::Wasm, Lane::Vm].into_iter().filter(|lane| reports.iter().any(|it| it.lanes.contains(lane))).collect()
    }

    /// A run goes there.
    pub(crate) fn started(&self, node: NodeId, memory: ByteSize) {
        self.inner.write().table.started(node, memory);
    }

    /// It is over.
    pub(crate) fn ended(&self, node: NodeId, memory: ByteSize, last: Option<LastWord>) {
        self.inner.write().table.ended(node, memory, last);
    }

    /// It did not answer a call.
    pub(crate) fn suspect(&self, node: NodeId, now: Instant) {
        self.inner.write().suspects.insert(node, now + SUSPECT_FOR);
    }

    fn pass(&self, now: Instant) {
        let mut inner = self.inner.write();
        inner.suspects.retain(|_, until| now < *until);
        inner.table.pass(now);
    }

    fn heard(&self, report: NodeReport, now: Instant) {
        let mut inner = self.inner.write();
        inner.suspects.remove(&report.node);
        inner.table.heard(report, now);
    }
}

impl Sink for Nodes {
    fn begin(&self) {
        self.inner.write().seen = Some(HashSet::new());
    }

    fn put(&self, key: &str, value: &[u8]) {
        match wire::read::<NodeRecord>(value) {
            Ok(record) => {
                let mut inner = self.inner.write();
                inner.records.insert(record.node);
                if let Some(seen) = &mut inner.seen {
                    seen.insert(record.node);
                }
                inner.table.upsert(record);
            }
            Err(error) => tracing::error!(key, %error, "a node's record is not understood"),
        }
    }

    fn remove(&self, key: &str) {
        if let Ok(node) = key.parse() {
            let mut inner = self.inner.write();
            inner.records.remove(&node);
            inner.table.remove(node);
        }
    }

    fn complete(&self) {
        let mut inner = self.inner.write();
        let Inner { table, records, seen, .. } = &mut *inner;
        let Some(seen) = seen.take() else { return };
        for gone in records.difference(&seen) {
            table.remove(*gone);
        }
        *records = seen;
    }
}

/// Lets reports grow older until `stop`.
pub(crate) async fn age(nodes: Arc<Nodes>, stop: CancellationToken) {
    let age = async {
        loop {
            tokio::time::sleep(AGE_EVERY).await;
            nodes.pass(Instant::now());
        }
    };
    stop.run_until_cancelled(age).await;
}

/// Hears which process the control plane has taken for a node, until `stop`.
pub(crate) async fn hear_boots(fabric: Fabric, stop: CancellationToken) {
    let listen = async {
        loop {
            if let Ok(mut boots) = fabric.events(subjects::NODE_BOOTS).await {
                while let Some(event) = boots.next().await {
                    fabric.learn_boot(&event);
                }
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    };
    stop.run_until_cancelled(listen).await;
}

/// Listens to the nodes' reports until `stop`.
pub(crate) async fn hear_reports(fabric: Fabric, nodes: Arc<Nodes>, stop: CancellationToken) {
    let listen = async {
        loop {
            match fabric.events(subjects::REPORTS).await {
                Ok(mut reports) => {
                    while let Some(event) = reports.next().await {
                        if let Some(report) = fabric.report(&event) {
                            nodes.heard(report, Instant::now());
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot listen to reports"),
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    };
    stop.run_until_cancelled(listen).await;
}
