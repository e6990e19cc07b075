//! Which nodes are connected through this gateway, and who may be: the keys of the nodes on record, one connection of each,
//! and the challenges that they sign.
//!
//! ```text
//! admit: no other --> live            live --node gone from the records, its key another, replaced, gateway leaves--> cut
//!        the same start --> live, and the one before is cut
//!        another start --> refused: one of the two is a copy
//! ```
//! A node that is connected through another gateway is not seen here. Whoever has copied a node comes no further there
//! than its hello, which the control plane refuses while the first one reports.

mod challenge;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::NodeId;
use protocol::node::{Nonce, PublicKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::challenge::Challenges;
use crate::config::Config;

/// Questions to the control plane at once, about nodes whose record is not here.
const LOOKUPS_MAX: usize = 64;
/// Connections that are cut at the end have so long to go.
const END_WITHIN: Duration = Duration::from_millis(200);

/// The connections of nodes.
pub(crate) struct NodeConnections {
    state: Mutex<State>,
    room: Arc<Semaphore>,
    pub(crate) challenges: Challenges,
    pub(crate) lookups: Semaphore,
    pub(crate) tasks: TaskTracker,
    leaving: CancellationToken,
}

#[derive(Default)]
struct State {
    keys: HashMap<NodeId, PublicKey>,
    live: HashMap<NodeId, Live>,
    /// Counts admissions: tells a connection from the one that has replaced it.
    admitted: u64,
    /// Counts nodes that have gone.
    gone: u64,
}

struct Live {
    number: u64,
    start: Nonce,
    cut: CancellationToken,
}

/// Why a node is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// Another start of the same node is connected.
    Copied,
    /// There are as many connections as there may be.
    Full,
    /// Nodes have gone since its key was looked up, and it may be one of them.
    Stale,
}

/// A node's key, and when that was so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) key: PublicKey,
    gone: u64,
}

/// A node's one connection; over when dropped.
pub(crate) struct Admitted {
    connections: Arc<NodeConnections>,
    node: NodeId,
    number: u64,
    pub(crate) cut: CancellationToken,
    _room: OwnedSemaphorePermit,
}

impl NodeConnections {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            state: Mutex::default(),
            room: Arc::new(Semaphore::new(config.node_connections_max)),
            challenges: Challenges::new(),
            lookups: Semaphore::new(LOOKUPS_MAX),
            tasks: TaskTracker::new(),
            leaving: CancellationToken::new(),
        }
    }

    /// A node is on record with this key. A connection that another key has signed is cut.
    pub(crate) fn known(&self, node: NodeId, key: Option<PublicKey>) {
        let mut state = self.state.lock();
        let before = match key {
            Some(key) => state.keys.insert(node, key),
            None => state.keys.remove(&node),
        };
        if before.is_some() && before != key {
            state.cut(node);
        }
    }

    /// A node has left, or was shut out.
    pub(crate) fn gone(&self, node: NodeId) {
        let mut state = self.state.lock();
        state.keys.remove(&node);
        state.gone += 1;
        state.cut(node);
    }

    /// The key on record.
    pub(crate) fn key(&self, node: NodeId) -> Option<Known> {
        let state = self.state.lock();
        state.keys.get(&node).map(|key| Known { key: *key, gone: state.gone })
    }

    /// How many nodes have gone until now: asked before a key is looked up elsewhere.
    pub(crate) fn gone_until_now(&self) -> u64 {
        self.state.lock().gone
    }

    /// Admits a start of a node, which has shown that it has this key.
    pub(crate) fn admit(self: &Arc<Self>, node: NodeId, known: Known, start: Nonce) -> Result<Admitted, NotAdmitted> {
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| NotAdmitted::Full)?;
        let mut state = self.state.lock();
        // What was looked up elsewhere may have changed meanwhile.
        let same = match state.keys.get(&node) {
            Some(key) => *key == known.key,
            None => state.gone == known.gone,
        };
        if !same {
            return Err(NotAdmitted::Stale);
        }
        if state.live.get(&node).is_some_and(|live| live.start != start) {
            return Err(NotAdmitted::Copied);
        }
        state.cut(node);
        state.admitted += 1;
        let (number, cut) = (state.admitted, self.leaving.child_token());
        state.live.insert(node, Live { number, start, cut: cut.clone() });
        drop(state);
        Ok(Admitted { connections: Arc::clone(self), node, number, cut, _room: room })
    }

    /// Cuts all of them: the gateway goes away.
    pub(crate) async fn close(&self) {
        self.leaving.cancel();
        self.tasks.close();
        if tokio::time::timeout(END_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "connections of nodes did not end in time");
        }
    }
}

impl Known {
    /// A key that the control plane has told, asked when so many nodes had gone.
    pub(crate) fn told(key: PublicKey, gone: u64) -> Self {
        Self { key, gone }
    }
}

impl State {
    fn cut(&mut self, node: NodeId) {
        if let Some(live) = self.live.remove(&node) {
            live.cut.cancel();
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut state = self.connections.state.lock();
        if state.live.get(&self.node).is_some_and(|live| live.number == self.number) {
            state.live.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PublicKey = PublicKey([1; 32]);
    const OTHER: PublicKey = PublicKey([2; 32]);

    fn connections(most: usize) -> Arc<NodeConnections> {
        let mut config = Config::new("spool".into());
        config.node_connections_max = most;
        Arc::new(NodeConnections::new(&config))
    }

    #[test]
    fn a_node_has_one_connection_and_the_newest_of_a_start_wins() {
        let (all, node, (first, second)) = (connections(2), NodeId::new(), (Nonce([1; 32]), Nonce([2; 32])));
        all.known(node, Some(KEY));
        let known = all.key(node).unwrap();
        let one = all.admit(node, known, first).unwrap();
        assert_eq!(all.admit(node, known, second).err(), Some(NotAdmitted::Copied));
        assert!(!one.cut.is_cancelled(), "whoever came first stays");
        let two = all.admit(node, known, first).unwrap();
        assert!(one.cut.is_cancelled() && !two.cut.is_cancelled());
        assert_eq!(all.admit(NodeId::new(), known, first).err(), Some(NotAdmitted::Full));
        drop(one);
        assert_eq!(all.state.lock().live.len(), 1, "the end of the one before is not the end of its successor");
        drop(two);
        assert!(all.admit(node, known, second).is_ok(), "a start that has gone makes room for another");
    }

    #[test]
    fn who_goes_is_cut_and_is_not_admitted_by_what_was_known_before() {
        let (all, node, start) = (connections(8), NodeId::new(), Nonce([1; 32]));
        // The control plane knows it already, the watch does not.
        let told = Known::told(KEY, all.gone_until_now());
        let one = all.admit(node, told, start).unwrap();
        all.known(node, Some(KEY));
        assert!(!one.cut.is_cancelled());
        all.gone(node);
        assert!(one.cut.is_cancelled() && all.key(node).is_none());
        assert_eq!(all.admit(node, told, start).err(), Some(NotAdmitted::Stale));

        all.known(node, Some(KEY));
        let known = all.key(node).unwrap();
        let one = all.admit(node, known, start).unwrap();
        all.known(node, Some(OTHER));
        assert!(one.cut.is_cancelled(), "its key is another");
        assert_eq!(all.admit(node, known, start).err(), Some(NotAdmitted::Stale));
    }

    #[tokio::test]
    async fn a_gateway_that_leaves_cuts_all() {
        let (all, node) = (connections(8), NodeId::new());
        let one = all.admit(node, Known::told(KEY, 0), Nonce([1; 32])).unwrap();
        all.close().await;
        assert!(one.cut.is_cancelled());
    }
}
