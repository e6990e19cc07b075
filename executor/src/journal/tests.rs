//! The journal against a control plane that fails, forgets to answer, and against crashes of its own.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use parking_lot::Mutex;
use protocol::receipt::{Checkpoint, NodeReceipt, Outcome, RunEnd, Usage};
use protocol::ticket::SignedTicket;
use protocol::wire::Written;
use protocol::{ByteSize, Digest, NodeId, RunId, Timestamp};

use super::{Chain, Deliver, Stand, Undelivered, deliver, open, segment};

pub(super) fn receipt() -> NodeReceipt {
    let end = RunEnd {
        outcome: Outcome::Succeeded,
        code: None,
        detail: None,
        usage: Usage::default(),
        warm: true,
        cached: false,
        running: 1,
    };
    NodeReceipt { run: RunId::new(), ticket: SignedTicket("t".repeat(900)), started: Timestamp(1), end }
}

fn written(receipt: &NodeReceipt) -> Written<NodeReceipt> {
    Written::new(receipt.clone()).unwrap()
}

/// Commits as the control plane does: in order, once; and fails before or after as often as told.
#[derive(Default)]
struct Committed {
    checkpoints: Vec<Checkpoint>,
    refusals: usize,
    lost_answers: usize,
    /// It may stand elsewhere than a node thinks.
    restored: bool,
}

#[derive(Clone, Default)]
struct Plane(Arc<Mutex<Committed>>);

impl Plane {
    fn last(&self) -> (u64, Digest) {
        self.0.lock().checkpoints.last().map_or((0, Digest([0; 32])), |last| (last.sequence, last.digest))
    }

    fn runs(&self) -> Vec<RunId> {
        let committed = self.0.lock();
        committed.checkpoints.iter().flat_map(|checkpoint| &checkpoint.receipts).map(|receipt| receipt.run).collect()
    }
}

impl Deliver for Plane {
    async fn deliver(&self, checkpoint: &Checkpoint) -> Result<u64, Undelivered> {
        let (last, digest) = self.last();
        let mut committed = self.0.lock();
        if committed.refusals > 0 {
            committed.refusals -= 1;
            return Err(Undelivered::Failed("refused".to_owned()));
        }
        if committed.restored {
            let same = committed.checkpoints.iter().find(|one| one.sequence == checkpoint.sequence);
            let fits = checkpoint.sequence == last + 1 && checkpoint.previous == digest;
            if !fits && same != Some(checkpoint) {
                return Err(Undelivered::OutOfPlace("send the successor".to_owned()));
            }
        }
        assert!(checkpoint.verify(&key().verifying_key()));
        if checkpoint.sequence == last + 1 {
            assert_eq!(checkpoint.previous, digest, "the chain holds");
            assert!(!checkpoint.receipts.is_empty() && checkpoint.receipts.len() <= Checkpoint::RECEIPTS_MAX);
            committed.checkpoints.push(checkpoint.clone());
        } else if checkpoint.sequence > last {
            // Its predecessor was refused a moment ago.
            return Err(Undelivered::Failed("others come before it".to_owned()));
        } else {
            assert_eq!(&committed.checkpoints[usize::try_from(checkpoint.sequence).unwrap() - 1], checkpoint);
        }
        if committed.lost_answers > 0 {
            committed.lost_answers -= 1;
            return Err(Undelivered::Failed("the answer was lost".to_owned()));
        }
        Ok(last.max(checkpoint.sequence))
    }

    async fn stand(&self) -> Result<Stand, String> {
        let (sequence, digest) = self.last();
        Ok(Stand { sequence, digest })
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

struct Agent {
    journal: Option<super::Journal>,
    task: tokio::task::JoinHandle<()>,
}

fn start(folder: &Path, plane: &Plane, node: NodeId) -> Agent {
    let (sequence, previous) = plane.last();
    let opened = open(folder, sequence, 1000, ByteSize::mib(64)).unwrap();
    let chain = Chain { node, key: crate::ReceiptKey::Own(Box::new(key())), previous };
    let kept = (opened.on_disk, opened.numbering);
    let task = tokio::spawn(deliver(opened.folder, opened.sealed, chain, plane.clone(), kept));
    Agent { journal: Some(opened.journal), task }
}

impl Agent {
    fn add(&self, count: usize) -> Vec<RunId> {
        let receipts: Vec<NodeReceipt> = (0..count).map(|_| receipt()).collect();
        let runs = receipts.iter().map(|receipt| receipt.run).collect();
        let journal = self.journal.as_ref().unwrap();
        receipts.into_iter().for_each(|receipt| journal.add(receipt));
        runs
    }

    async fn stop(mut self) {
        drop(self.journal.take());
        tokio::time::timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn every_receipt_is_committed_once_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::default();
    plane.0.lock().refusals = 2;
    plane.0.lock().lost_answers = 3;
    let agent = start(folder.path(), &plane, NodeId::new());
    let runs = agent.add(1000);
    agent.stop().await;
    assert_eq!(plane.runs(), runs);
    assert!(plane.last().0 >= 4, "at most 256 in each");
    assert!(segment::list(folder.path()).unwrap().is_empty(), "committed segments are removed");
}

#[tokio::test]
async fn a14_what_nobody_commits_ends_new_runs_before_it_fills_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::default();
    let agent = start(folder.path(), &plane, NodeId::new());
    agent.add(10);
    agent.stop().await;
    assert_eq!(plane.last().0, 1);
    // As large as one segment, and the control plane is away.
    let opened = open(folder.path(), 1, 1000, ByteSize(1000)).unwrap();
    assert!(!opened.journal.is_full());
    (0..10).for_each(|_| opened.journal.add(receipt()));
    let mut sealed = opened.sealed;
    let sequence = sealed.recv().await.unwrap().sequence;
    assert!(opened.journal.is_full());
    drop(opened.journal);
    // After a new start it still counts; what is committed does not.
    let again = open(folder.path(), 1, 1000, ByteSize(1000)).unwrap();
    assert!(again.journal.is_full());
    drop(again);
    assert!(!open(folder.path(), sequence, 1000, ByteSize(1000)).unwrap().journal.is_full());
}

#[tokio::test]
async fn a_quiet_journal_is_sent_too() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::default();
    let agent = start(folder.path(), &plane, NodeId::new());
    let runs = agent.add(3);
    until(|| plane.runs() == runs).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_crash_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::default();
    let node = NodeId::new();
    let mut runs = Vec::new();
    for round in 0..4 {
        plane.0.lock().lost_answers = round % 2;
        let agent = start(folder.path(), &plane, node);
        runs.extend(agent.add(300));
        tokio::time::sleep(Duration::from_millis(150)).await;
        // As after a kill: the sender stops in the middle, the files stay. The writer's thread ends on its own, with all.
        agent.task.abort();
        drop(agent);
        until(|| {
            let files = segment::list(folder.path()).unwrap().into_iter();
            let on_disk = files.flat_map(|sequence| segment::read(folder.path(), sequence).unwrap_or_default());
            let known: BTreeSet<RunId> = on_disk.map(|receipt| receipt.run).chain(plane.runs()).collect();
            runs.iter().all(|run| known.contains(run))
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    start(folder.path(), &plane, node).stop().await;
    assert_eq!(plane.runs(), runs);
}

#[tokio::test]
async fn a_torn_end_is_cut_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let receipts = [receipt(), receipt(), receipt()];
    segment::Writer::create(folder.path(), 1).unwrap().append(&receipts.each_ref().map(written)).unwrap();
    let path = segment::path(folder.path(), 1);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 10]).unwrap();
    let plane = Plane::default();
    start(folder.path(), &plane, NodeId::new()).stop().await;
    assert_eq!(plane.runs(), [receipts[0].run, receipts[1].run]);
}

#[tokio::test]
async fn segments_go_on_where_the_control_plane_stands() {
    let folder = tempfile::tempdir().unwrap();
    let receipts = [receipt(), receipt()];
    segment::Writer::create(folder.path(), 7).unwrap().append(&[written(&receipts[0])]).unwrap();
    segment::Writer::create(folder.path(), 9).unwrap().append(&[written(&receipts[1])]).unwrap();
    // A control plane that knows of nothing: the numbers start over, the receipts stay.
    let plane = Plane::default();
    start(folder.path(), &plane, NodeId::new()).stop().await;
    assert_eq!(plane.runs(), [receipts[0].run, receipts[1].run]);
    assert_eq!(plane.last().0, 2);
}

/// Its database was restored from a backup, while the node goes on: no new start is needed.
#[tokio::test]
async fn receipts_go_on_where_a_restored_control_plane_is() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, node) = (Plane::default(), NodeId::new());
    plane.0.lock().restored = true;
    let agent = start(folder.path(), &plane, node);
    let before = agent.add(Checkpoint::RECEIPTS_MAX * 4);
    until(|| plane.runs().len() == before.len()).await;

    // Earlier: what came after the backup is gone with it.
    let later = plane.0.lock().checkpoints.split_off(1);
    let kept = plane.runs();
    plane.0.lock().refusals = 2;
    let more = agent.add(Checkpoint::RECEIPTS_MAX * 2 + 10);
    until(|| plane.runs().len() == kept.len() + more.len()).await;
    assert_eq!(plane.runs(), [kept.as_slice(), &more].concat(), "each once, in order");

    // And later again: checkpoints of the same numbers are others.
    let others = std::mem::take(&mut plane.0.lock().checkpoints);
    plane.0.lock().checkpoints.extend([others[..1].to_vec(), later].concat());
    let stand = plane.runs();
    plane.0.lock().lost_answers = 1;
    let last = agent.add(Checkpoint::RECEIPTS_MAX + 1);
    until(|| plane.runs().len() == stand.len() + last.len()).await;
    assert_eq!(plane.runs(), [stand.as_slice(), &last].concat());

    // A new start finds nothing to send again.
    agent.stop().await;
    assert!(segment::list(folder.path()).unwrap().is_empty());
    let committed = plane.runs().len();
    let agent = start(folder.path(), &plane, node);
    let one = agent.add(1);
    agent.stop().await;
    assert_eq!(plane.runs()[committed..], one);
}

/// A node that ends after it was renumbered sends the rest once.
#[tokio::test]
async fn a_crash_after_a_restore_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, node) = (Plane::default(), NodeId::new());
    plane.0.lock().restored = true;
    let agent = start(folder.path(), &plane, node);
    let before = agent.add(Checkpoint::RECEIPTS_MAX * 3);
    until(|| plane.runs().len() == before.len()).await;
    plane.0.lock().checkpoints.truncate(1);
    let kept = plane.runs();
    let more = agent.add(Checkpoint::RECEIPTS_MAX * 4);
    until(|| plane.runs().len() > kept.len()).await;
    agent.task.abort();
    drop(agent);
    // The writer's thread ends on its own.
    tokio::time::sleep(Duration::from_millis(200)).await;
    start(folder.path(), &plane, node).stop().await;
    assert_eq!(plane.runs(), [kept.as_slice(), &more].concat());
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 10 s");
}

#[tokio::test]
async fn a_checkpoint_is_the_same_from_memory_and_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), 0, 10_000, ByteSize::mib(64)).unwrap();
    let count = Checkpoint::RECEIPTS_MAX * (super::IN_MEMORY_MAX + 2);
    (0..count).for_each(|_| opened.journal.add(receipt()));
    drop(opened.journal);
    let (node, mut sealed, mut from_memory) = (NodeId::new(), opened.sealed, 0);
    while let Some(super::Sealed { sequence, kept }) = sealed.recv().await {
        let Some(kept) = kept else { continue };
        from_memory += 1;
        let read = segment::read(folder.path(), sequence).unwrap();
        let read = Checkpoint::sign(node, sequence, Digest([0; 32]), read, &key());
        let kept = Checkpoint::sign_written(node, sequence, Digest([0; 32]), kept.receipts, &key());
        assert_eq!((read.digest, read.signature), (kept.digest, kept.signature));
    }
    assert!(from_memory > 0);
}
