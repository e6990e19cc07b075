//! What waits for a cut: parts of sources in the order of their numbers, and which runs their halves are of. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use protocol::receipt::{NodeReceipt, Observation};
use protocol::ticket::Ticket;
use protocol::{EpochId, NodeId, RunId};
use tokio::sync::oneshot;

use super::{Ack, Sent, again};
use crate::error::Result;

/// Who numbers what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    Gateway(EpochId),
    Node(NodeId),
}

/// A part's source and number.
pub(super) type Key = (Source, u64);

/// Where a half stands: in which part, and at which place there.
pub(super) type Place = (Key, usize);

/// A batch or a checkpoint that is not acknowledged yet.
pub(super) struct Part {
    pub(super) sent: Sent,
    arrived: Instant,
    /// Which of its halves are committed already.
    committed: Vec<bool>,
    replies: Vec<oneshot::Sender<Result<Ack>>>,
}

impl Part {
    pub(super) fn new(sent: Sent, arrived: Instant, reply: oneshot::Sender<Result<Ack>>) -> Self {
        let halves = match &sent {
            Sent::Batch { content, .. } => content.seen.len(),
            Sent::Checkpoint(checked) => checked.claims.len(),
        };
        Self { sent, arrived, committed: vec![false; halves], replies: vec![reply] }
    }

    fn key(&self) -> Key {
        match &self.sent {
            Sent::Batch { head, .. } => (Source::Gateway(head.epoch), head.number),
            Sent::Checkpoint(checked) => (Source::Node(checked.head.node), checked.head.sequence),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (&self.sent, &other.sent) {
            (Sent::Batch { head, .. }, Sent::Batch { head: other, .. }) => head.digest == other.digest,
            (Sent::Checkpoint(checked), Sent::Checkpoint(other)) => checked.head == other.head,
            _ => false,
        }
    }

    fn runs(&self) -> Vec<RunId> {
        match &self.sent {
            Sent::Batch { content, .. } => content.seen.iter().map(|seen| seen.run).collect(),
            Sent::Checkpoint(checked) => checked.claims.iter().map(|(receipt, _)| receipt.run).collect(),
        }
    }

    /// Which of its halves are not committed yet.
    fn open(&self) -> impl Iterator<Item = usize> {
        self.committed.iter().enumerate().filter(|(_, committed)| !**committed).map(|(place, _)| place)
    }

    /// Whether all of its halves are committed, with these.
    pub(super) fn is_whole_with(&self, key: Key, places: &HashSet<Place>) -> bool {
        self.open().all(|place| places.contains(&(key, place)))
    }

    fn answer(self, answer: impl Fn() -> Result<Ack>) {
        for reply in self.replies {
            // Whoever has gone comes again.
            drop(reply.send(answer()));
        }
    }
}

/// The halves of one run that wait.
#[derive(Debug, Default)]
pub(super) struct Halves {
    pub(super) seen: Vec<Place>,
    pub(super) claims: Vec<Place>,
}

/// All that waits.
pub(super) struct Waiting {
    hold: Duration,
    halves_max: usize,
    parts: BTreeMap<Key, Part>,
    runs: HashMap<RunId, Halves>,
    /// Those of the runs that need no other half.
    whole: BTreeSet<RunId>,
    halves: usize,
}

impl Waiting {
    /// Halves wait so long at most, and so many.
    pub(super) fn new(hold: Duration, halves_max: usize) -> Self {
        let (parts, runs, whole) = (BTreeMap::new(), HashMap::new(), BTreeSet::new());
        Self { hold, halves_max, parts, runs, whole, halves: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// How many halves wait.
    pub(super) fn halves(&self) -> usize {
        self.halves
    }

    /// Another part has come; or the same one again, whose sender has not waited for the answer.
    pub(super) fn add(&mut self, part: Part) {
        let key = part.key();
        if let Some(there) = self.parts.get_mut(&key) {
            match there.is_same(&part) {
                true => there.replies.extend(part.replies),
                false => part.answer(|| Err(again())),
            }
            return;
        }
        let runs = part.runs();
        let is_claims = matches!(part.sent, Sent::Checkpoint(_));
        self.halves += runs.len();
        self.parts.insert(key, part);
        for (place, run) in runs.into_iter().enumerate() {
            let halves = self.runs.entry(run).or_default();
            if is_claims { &mut halves.claims } else { &mut halves.seen }.push((key, place));
            if self.is_whole(run) {
                self.whole.insert(run);
            }
        }
    }

    /// Whether a gateway says that no node did it, or which, and that one has said so too.
    fn is_whole(&self, run: RunId) -> bool {
        let Some(halves) = self.runs.get(&run) else { return false };
        let node_of = |(key, _): &Place| match key.0 {
            Source::Node(node) => Some(node),
            Source::Gateway(_) => None,
        };
        let is_claimed = |node: NodeId| halves.claims.iter().any(|claim| node_of(claim) == Some(node));
        halves.seen.iter().filter_map(|place| self.seen(place)).any(|seen| seen.node.is_none_or(is_claimed))
    }

    /// The parts of each source, in the order of their numbers.
    pub(super) fn by_source(&self) -> BTreeMap<Source, Vec<(Key, &Part)>> {
        let mut sources: BTreeMap<Source, Vec<(Key, &Part)>> = BTreeMap::new();
        for (key, part) in &self.parts {
            sources.entry(key.0).or_default().push((*key, part));
        }
        sources
    }

    pub(super) fn part(&self, key: &Key) -> Option<&Part> {
        self.parts.get(key)
    }

    /// The observation at a place.
    pub(super) fn seen(&self, (key, place): &Place) -> Option<&Observation> {
        match &self.parts.get(key)?.sent {
            Sent::Batch { content, .. } => content.seen.get(*place),
            Sent::Checkpoint(_) => None,
        }
    }

    /// The claim at a place, and whose it is.
    pub(super) fn claimed(&self, (key, place): &Place) -> Option<(NodeId, &(NodeReceipt, Ticket))> {
        match &self.parts.get(key)?.sent {
            Sent::Checkpoint(checked) => checked.claims.get(*place).map(|claim| (checked.head.node, claim)),
            Sent::Batch { .. } => None,
        }
    }

    /// Whether a part has waited long enough, or too much waits.
    pub(super) fn is_overdue(&self, part: &Part, now: Instant) -> bool {
        self.halves > self.halves_max || now.saturating_duration_since(part.arrived) >= self.hold
    }

    /// Whether there may be something to commit or to answer.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let answered = |part: &Part| part.committed.iter().all(|committed| *committed);
        !self.whole.is_empty() || self.parts.values().any(|part| answered(part) || self.is_overdue(part, now))
    }

    /// What a cut commits of the parts that are next in the order of their sources: the halves of runs that are whole with
    /// them alone, and of those whose time is over; with each observation before the claims of its run. It is of so many
    /// runs at most; what is left comes with the next one.
    pub(super) fn ripe(&self, next: &HashSet<Key>, now: Instant, runs_max: usize) -> Vec<(RunId, Halves)> {
        let mut overdue: BTreeSet<RunId> = BTreeSet::new();
        for part in next.iter().filter_map(|key| self.parts.get(key)).filter(|part| self.is_overdue(part, now)) {
            let runs = part.runs();
            overdue.extend(part.open().filter_map(|place| runs.get(place)));
        }
        let of = |run: RunId| {
            let halves = self.runs.get(&run)?;
            let is_next = |places: &[Place]| places.iter().filter(|(key, _)| next.contains(key)).copied().collect();
            let ripe = Halves { seen: is_next(&halves.seen), claims: is_next(&halves.claims) };
            let is_all = ripe.seen.len() == halves.seen.len() && ripe.claims.len() == halves.claims.len();
            let is_some = !ripe.seen.is_empty() || !ripe.claims.is_empty();
            (is_some && (is_all || overdue.contains(&run))).then_some((run, ripe))
        };
        self.whole.union(&overdue).copied().filter_map(of).take(runs_max).collect()
    }

    /// These halves are committed.
    pub(super) fn committed(&mut self, ripe: &[(RunId, Halves)]) {
        for (run, halves) in ripe {
            for (key, place) in halves.seen.iter().chain(&halves.claims) {
                if let Some(committed) = self.parts.get_mut(key).and_then(|part| part.committed.get_mut(*place)) {
                    *committed = true;
                }
            }
            self.forget(*run, |place| halves.seen.contains(place) || halves.claims.contains(place));
        }
    }

    fn forget(&mut self, run: RunId, is_gone: impl Fn(&Place) -> bool) {
        let Some(halves) = self.runs.get_mut(&run) else { return };
        let before = halves.seen.len() + halves.claims.len();
        halves.seen.retain(|place| !is_gone(place));
        halves.claims.retain(|place| !is_gone(place));
        let after = halves.seen.len() + halves.claims.len();
        self.halves = self.halves.saturating_sub(before - after);
        if after == 0 {
            self.runs.remove(&run);
        }
        if !self.is_whole(run) {
            self.whole.remove(&run);
        }
    }

    /// Answers a part, which is gone then.
    pub(super) fn answer(&mut self, key: Key, answer: impl Fn() -> Result<Ack>) {
        let Some(part) = self.parts.remove(&key) else { return };
        let runs = part.runs();
        let left: Vec<RunId> = part.open().filter_map(|place| runs.get(place).copied()).collect();
        for run in left {
            self.forget(run, |(of, _)| *of == key);
        }
        part.answer(answer);
    }

    /// Everything comes again.
    pub(super) fn refuse_all(&mut self) {
        (self.halves, self.runs, self.whole) = (0, HashMap::new(), BTreeSet::new());
        for part in std::mem::take(&mut self.parts).into_values() {
            part.answer(|| Err(again()));
        }
    }
}
