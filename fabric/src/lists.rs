//! What nodes' reports list. A node lists what it has when that changes, and else leaves it out, since a list is most of a
//! report; whoever hears reports puts in what it heard before, and asks a node of which it heard nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::node::{BootKey, NodeReport};
use protocol::{Digest, NodeId};

/// Nodes that are remembered.
const NODES_MAX: usize = 100_000;
/// A node that was not heard for so long makes room.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// A node is asked for its lists this often at most.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// What was listed last, by node.
#[derive(Default)]
pub(crate) struct Lists(Mutex<HashMap<NodeId, Listed>>);

struct Listed {
    boot: Option<BootKey>,
    /// Of the report that listed it; none where none was heard.
    sequence: Option<u64>,
    warm: Vec<Digest>,
    cached: Vec<Digest>,
    heard: Instant,
    asked: Option<Instant>,
}

impl Lists {
    /// Puts in what a report leaves out. True: that is not known here, and the node is to be asked.
    pub(crate) fn complete(&self, report: &mut NodeReport, now: Instant) -> bool {
        let mut all = self.0.lock();
        if !all.contains_key(&report.node) && all.len() >= NODES_MAX {
            all.retain(|_, listed| now.saturating_duration_since(listed.heard) < KEPT_FOR);
            if all.len() >= NODES_MAX {
                return false;
            }
        }
        let listed = all.entry(report.node).or_insert_with(|| Listed::nothing(report.boot.clone(), now));
        if listed.boot != report.boot {
            *listed = Listed::nothing(report.boot.clone(), now);
        }
        listed.heard = now;
        let Some(same) = report.lists.take() else {
            listed.sequence = Some(report.sequence);
            (listed.warm, listed.cached) = (report.warm.clone(), report.cached.clone());
            return false;
        };
        // What was heard last is nearer to it than nothing.
        (report.warm, report.cached) = (listed.warm.clone(), listed.cached.clone());
        let recent = listed.asked.is_some_and(|asked| now.saturating_duration_since(asked) < ASK_EVERY);
        let ask = listed.sequence != Some(same) && !recent;
        if ask {
            listed.asked = Some(now);
        }
        ask
    }

    /// A node has left, or was shut out.
    pub(crate) fn forget(&self, node: NodeId) {
        self.0.lock().remove(&node);
    }
}

impl Listed {
    fn nothing(boot: Option<BootKey>, heard: Instant) -> Self {
        Self { boot, sequence: None, warm: Vec::new(), cached: Vec::new(), heard, asked: None }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ByteSize, Lane};

    use super::*;

    fn report(node: NodeId, sequence: u64, lists: Option<u64>, warm: &[u8]) -> NodeReport {
        NodeReport {
            v: NodeReport::VERSION,
            node,
            sequence,
            cores: 1,
            load: 0.0,
            memory_total: ByteSize::mib(1),
            memory_free: ByteSize::mib(1),
            slots: 1,
            running: 0,
            lanes: vec![Lane::Wasm],
            arch: "x86_64".to_owned(),
            warm: warm.iter().map(|one| Digest::of(&[*one])).collect(),
            cached: Vec::new(),
            draining: false,
            vm: None,
            boot: Some(BootKey([1; 32])),
            lending: None,
            confinement: None,
            lists,
        }
    }

    #[test]
    fn what_a_report_leaves_out_is_as_it_was() {
        let (lists, node, now) = (Lists::default(), NodeId::new(), Instant::now());
        let heard = |mut report: NodeReport, at: Instant| {
            let ask = lists.complete(&mut report, at);
            assert_eq!(report.lists, None);
            (report.warm.len(), ask)
        };
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(heard(report(node, 3, Some(1), &[]), now), (0, true), "nothing was heard of it");
        assert_eq!(heard(report(node, 4, Some(1), &[]), later(1)), (0, false), "it was asked just now");
        assert_eq!(heard(report(node, 5, None, &[1, 2]), later(1)), (2, false));
        assert_eq!(heard(report(node, 6, Some(5), &[]), later(2)), (2, false));
        // One that was lost on its way has listed something else.
        assert_eq!(heard(report(node, 8, Some(7), &[]), later(3)), (2, true));
        assert_eq!(heard(report(node, 9, None, &[]), later(3)), (0, false), "it has nothing any more");
        assert_eq!(heard(report(node, 10, Some(9), &[]), later(4)), (0, false));
        let restarted = NodeReport { boot: Some(BootKey([2; 32])), ..report(node, 11, Some(9), &[]) };
        assert_eq!(heard(restarted, later(9)), (0, true), "another start of it");
        lists.forget(node);
        assert_eq!(heard(report(node, 12, Some(9), &[]), later(9)), (0, true));
    }
}
