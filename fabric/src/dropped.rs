//! What nodes sent and was dropped: counted by node, and logged at a bounded rate, so that neither a broken node nor a
//! hostile one passes unseen or fills anything.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use metrics::Counter;
use parking_lot::Mutex;
use protocol::NodeId;

use crate::metric_names;

/// Nodes that are counted each for itself; all others are counted together.
const NODES_MAX: usize = 1024;
/// Of each node one line in so long.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// A message that is no frame, or not of its exchange.
    Frame,
    /// A frame of no exchange: it may only have come late.
    Stray,
    /// A report.
    Report,
    /// A request that could not be understood.
    Request,
}

const ALL: [Dropped; 4] = [Dropped::Frame, Dropped::Stray, Dropped::Report, Dropped::Request];

impl Dropped {
    fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Stray => "stray",
            Self::Report => "report",
            Self::Request => "request",
        }
    }
}

/// One node's.
struct Tally {
    counters: [Counter; 4],
    logged: Option<Instant>,
    since: u64,
}

impl Tally {
    fn new(node: &str) -> Self {
        let counter = |what: Dropped| metrics::counter!(metric_names::NODE_MESSAGES_DROPPED, "node" => node.to_owned(), "what" => what.name());
        Self { counters: ALL.map(counter), logged: None, since: 0 }
    }

    /// Counts one more; how many a line stands for, where one is due.
    fn note(&mut self, what: Dropped, now: Instant) -> Option<u64> {
        self.counters[what as usize].increment(1);
        if what == Dropped::Stray {
            return None;
        }
        self.since += 1;
        if self.logged.is_some_and(|logged| now.saturating_duration_since(logged) < LINE_EVERY) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// All nodes'.
#[derive(Default)]
pub(crate) struct DropLog(Mutex<HashMap<Option<NodeId>, Tally>>);

impl DropLog {
    pub(crate) fn note(&self, node: NodeId, what: Dropped, why: impl Display, now: Instant) {
        let mut tallies = self.0.lock();
        let key = Some(node).filter(|_| tallies.len() < NODES_MAX || tallies.contains_key(&Some(node)));
        let label = || key.map_or_else(|| "other".to_owned(), |node| node.to_string());
        let due = tallies.entry(key).or_insert_with(|| Tally::new(&label())).note(what, now);
        drop(tallies);
        if let Some(messages) = due {
            tracing::warn!(%node, what = what.name(), messages, %why, "messages of a node are dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a26_lines_are_few_and_nodes_are_bounded() {
        let (log, start) = (DropLog::default(), Instant::now());
        let mut tally = Tally::new("a");
        let lines: Vec<u64> = (0..200_000_u64)
            .filter_map(|n| tally.note(Dropped::Frame, start + Duration::from_micros(n * 100)))
            .collect();
        assert_eq!(lines, [1, 100_000], "20 s of a flood");
        assert_eq!(tally.note(Dropped::Stray, start + LINE_EVERY * 9), None);
        for _ in 0..2 * NODES_MAX {
            log.note(NodeId::new(), Dropped::Report, "no reason", start);
        }
        assert_eq!(log.0.lock().len(), NODES_MAX + 1);
    }
}
