//! Which start of a node is the node. Credentials can be copied, and the server takes every connection that has them; so
//! each start of an agent makes a key of its own, and names it to the core in its hello and its reports, which no other
//! node can hear. The first that speaks is the node until it has been silent; what another start says meanwhile is
//! dropped.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use protocol::NodeId;
use protocol::node::BootKey;

/// A node that reported nothing for so long has gone: another start may take its place.
pub(crate) const SILENT_AFTER: Duration = Duration::from_millis(2_500);
/// Nodes that are remembered.
const NODES_MAX: usize = 100_000;

struct Boot {
    key: Option<BootKey>,
    heard: Instant,
    /// It said that it leaves.
    leaving: bool,
}

/// What each node's current start is.
#[derive(Default)]
pub(crate) struct Boots(RwLock<HashMap<NodeId, Boot>>);

impl Boots {
    /// A start of a node reports. False: another one is the node.
    pub(crate) fn heard(&self, node: NodeId, key: Option<&BootKey>, leaving: bool, now: Instant) -> bool {
        let mut boots = self.0.write();
        match boots.get_mut(&node) {
            Some(boot) if boot.is_live(now) && boot.key.as_ref() != key => return false,
            Some(boot) => *boot = Boot { key: key.cloned(), heard: now, leaving },
            None => remember(&mut boots, node, Boot { key: key.cloned(), heard: now, leaving }, NODES_MAX),
        }
        true
    }

    /// Who decides which start is the node has decided for this one.
    pub(crate) fn set(&self, node: NodeId, key: Option<&BootKey>, now: Instant) {
        remember(&mut self.0.write(), node, Boot { key: key.cloned(), heard: now, leaving: false }, NODES_MAX);
    }

    /// The key of the node's current start, or of its last.
    pub(crate) fn key(&self, node: NodeId) -> Option<BootKey> {
        self.0.read().get(&node).and_then(|boot| boot.key.clone())
    }

    /// Whether a start with this key may say hello.
    pub(crate) fn admits(&self, node: NodeId, key: Option<&BootKey>, now: Instant) -> bool {
        let boots = self.0.read();
        boots.get(&node).is_none_or(|boot| !boot.is_live(now) || boot.key.as_ref() == key)
    }
}

/// Those that have gone make room; with so many that are there, further ones are not remembered.
fn remember(boots: &mut HashMap<NodeId, Boot>, node: NodeId, boot: Boot, nodes_max: usize) {
    if boots.len() >= nodes_max && !boots.contains_key(&node) {
        let now = boot.heard;
        boots.retain(|_, boot| boot.is_live(now));
        if boots.len() >= nodes_max {
            return;
        }
    }
    boots.insert(node, boot);
}

impl Boot {
    fn is_live(&self, now: Instant) -> bool {
        !self.leaving && now.saturating_duration_since(self.heard) < SILENT_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_the_first_start_is_the_node_until_it_is_silent_or_leaves() {
        let (boots, node, now) = (Boots::default(), NodeId::new(), Instant::now());
        let (first, second) = (BootKey([1; 32]), BootKey([2; 32]));
        let later = |millis| now + Duration::from_millis(millis);
        assert!(boots.admits(node, Some(&second), now), "nobody is there yet");
        assert!(boots.heard(node, Some(&first), false, now));
        assert!(!boots.heard(node, Some(&second), false, later(1000)));
        assert!(!boots.heard(node, None, false, later(1000)));
        assert!(!boots.admits(node, Some(&second), later(1000)));
        assert!(boots.admits(node, Some(&first), later(1000)));
        assert!(boots.heard(node, Some(&first), false, later(2000)), "what the other said changes nothing");
        assert!(!boots.heard(node, Some(&second), false, later(4000)));
        assert!(boots.heard(node, Some(&second), false, later(4600)), "it has been silent");
        assert!(!boots.heard(node, Some(&first), false, later(4700)));
        assert!(boots.heard(node, Some(&second), true, later(4800)));
        assert!(boots.heard(node, Some(&first), false, later(4900)), "the other has left");
        boots.set(node, Some(&second), later(5000));
        assert!(!boots.heard(node, Some(&first), false, later(5100)));
        assert_eq!(boots.key(node), Some(second));
    }

    #[test]
    fn a02_nodes_that_are_remembered_are_bounded() {
        let (mut boots, now) = (HashMap::new(), Instant::now());
        let boot = |heard| Boot { key: None, heard, leaving: false };
        let first = NodeId::new();
        remember(&mut boots, first, boot(now), 2);
        remember(&mut boots, NodeId::new(), boot(now), 2);
        remember(&mut boots, NodeId::new(), boot(now), 2);
        assert_eq!(boots.len(), 2, "both are there");
        remember(&mut boots, first, boot(now + SILENT_AFTER), 2);
        remember(&mut boots, NodeId::new(), boot(now + SILENT_AFTER), 2);
        assert!(boots.len() == 2 && boots.contains_key(&first), "the silent one has made room");
    }
}
