//! Numbered batches of gateways and checkpoints of nodes: repeated, reordered, torn, changed, unreadable.

use http::{Method, StatusCode};
use protocol::batch::{BatchAck, BatchHead};
use protocol::receipt::{Checkpoint, CheckpointAck, NodeReceipt, Observation, Outcome};
use protocol::{ByteSize, Code, Digest, EpochId};

use super::super::harness::{Answer, Client, Ground, suite};
use super::{Runs, Signer, SigningKey, later, observe};

suite!(
    batches_are_taken_in_order_and_once,
    of_several_control_planes_the_leader_takes_batches,
    unreadable_observations_are_void,
    a_batch_that_is_too_large_is_void,
    a_gateway_of_the_release_before,
    what_others_settle_between_two_batches,
    silent_sources_are_forgotten,
    unreadable_checkpoints_are_void,
    a_checkpoint_stays_as_it_was_committed,
);

/// A start of a gateway, as the control plane hears it.
pub(super) struct Source {
    client: Client,
    epoch: EpochId,
}

impl Source {
    pub(super) fn of(ground: &Ground) -> Self {
        Self { client: ground.anonymous(), epoch: EpochId::new() }
    }

    fn head(&self, number: u64, acknowledged: u64, body: &[u8]) -> BatchHead {
        BatchHead { epoch: self.epoch, number, digest: Digest::of(body), acknowledged }
    }

    async fn send(&self, head: &BatchHead, body: &[u8]) -> Answer {
        self.client.raw(Method::POST, &format!("/internal/observations?{}", head.query()), body.to_vec()).await
    }

    pub(super) async fn post(&self, number: u64, acknowledged: u64, body: &[u8]) -> Answer {
        self.send(&self.head(number, acknowledged, body), body).await
    }

    /// Up to where it is committed then.
    pub(super) async fn committed(&self, number: u64, body: &[u8]) -> u64 {
        ack(&self.post(number, 0, body).await).committed
    }
}

fn ack(answer: &Answer) -> BatchAck {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.read()
}

pub(super) fn body(seen: &[Observation]) -> Vec<u8> {
    serde_json::to_vec(seen).unwrap()
}

/// A run that reached no node: it is settled at once.
pub(super) fn alone(runs: &Runs, ground: &Ground) -> Observation {
    let (_, mut seen) = runs.halves(ground, 0, 100);
    (seen.node, seen.end, seen.outcome, seen.status) = (None, None, Outcome::PlatformFailed, 503);
    seen
}

async fn batches_are_taken_in_order_and_once(ground: Ground) {
    let (runs, source) = (Runs::start(&ground).await, Source::of(&ground));
    let bodies: Vec<Vec<u8>> = (0..5).map(|_| body(&[alone(&runs, &ground)])).collect();
    assert_eq!(source.committed(2, &bodies[1]).await, 0, "the first one is expected");
    assert_eq!(runs.usage().await.runs, 0);
    assert_eq!(source.committed(1, &bodies[0]).await, 1);
    assert_eq!(source.committed(1, &bodies[0]).await, 1, "again");
    assert_eq!(source.committed(3, &bodies[2]).await, 1, "too early");
    assert_eq!(source.committed(2, &bodies[1]).await, 2);
    assert_eq!(source.committed(3, &bodies[2]).await, 3);
    assert_eq!(source.committed(1, &bodies[0]).await, 3, "acknowledgements are cumulative");
    assert_eq!(runs.usage().await.runs, 3);

    // The same number with something else in it.
    assert_eq!(source.post(3, 2, &bodies[3]).await.code(), Code::BatchConflict);
    // Torn on its way: nothing is known of it, and the whole one is taken later.
    let (whole, torn) = (&bodies[3], &bodies[3][..bodies[3].len() - 1]);
    assert_eq!(source.send(&source.head(4, 3, whole), torn).await.code(), Code::BodyIncomplete);
    assert_eq!(runs.usage().await.runs, 3);
    assert_eq!(source.committed(4, whole).await, 4);

    // Another start numbers its own; a run that both tell of counts once.
    let next = Source::of(&ground);
    assert_eq!(next.committed(1, &bodies[3]).await, 1);
    assert_eq!(next.committed(2, &bodies[4]).await, 2);
    assert_eq!(runs.usage().await.runs, 5);
}

/// One of them leads at a time. Who led before may not know that yet, and changes nothing.
async fn of_several_control_planes_the_leader_takes_batches(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let second = Ground::on(ground.app.config.database.clone(), |_| {}).await;
    let one = Source::of(&ground);
    let other = Source { client: second.anonymous(), epoch: one.epoch };
    for number in 1..=8 {
        let (leads, led) = if number % 2 == 0 { (&other, &one) } else { (&one, &other) };
        let leader = if number % 2 == 0 { &second } else { &ground };
        leader.lead().await;
        let body = body(&[alone(&runs, &ground)]);
        let (taken, refused) = tokio::join!(leads.committed(number, &body), led.post(number, 0, &body));
        assert_eq!((taken, refused.code()), (number, Code::ControlPlaneUnavailable));
        assert_eq!(led.post(number, 0, &body).await.code(), Code::ControlPlaneUnavailable, "it has unmounted");
        assert_eq!(leads.committed(number, &body).await, number);
    }
    assert_eq!(runs.usage().await.runs, 8);
}

async fn unreadable_observations_are_void(ground: Ground) {
    let (runs, source) = (Runs::start(&ground).await, Source::of(&ground));
    let mut mixed =
        serde_json::to_value([alone(&runs, &ground), alone(&runs, &ground), alone(&runs, &ground)]).unwrap();
    mixed[1]["status"] = "odd".into();
    let mixed = mixed.to_string().into_bytes();
    assert_eq!(ack(&source.post(1, 0, &mixed).await), BatchAck { committed: 1, void: 1 });
    assert_eq!(runs.usage().await.runs, 2);
    assert_eq!(ack(&source.post(2, 0, b"[{]").await), BatchAck { committed: 2, void: 1 });
    assert_eq!(ack(&source.post(2, 0, b"[{]").await), BatchAck { committed: 2, void: 0 }, "again");
    // What must be understood waits for who understands it.
    let seen = alone(&runs, &ground);
    let mut later = serde_json::to_value([&seen]).unwrap();
    later[0]["!later"] = 7.into();
    assert_eq!(source.post(3, 0, later.to_string().as_bytes()).await.code(), Code::NotUnderstood);
    assert_eq!(source.committed(3, &body(&[seen])).await, 3);
    // No text of a database has a zero in it.
    let mut odd = alone(&runs, &ground);
    odd.path = "/a\0b".to_owned();
    assert_eq!(source.committed(4, &body(std::slice::from_ref(&odd))).await, 4);
    assert_eq!(runs.run(odd.run).await.path, "/ab");
    assert_eq!(runs.usage().await.runs, 4);
}

async fn a_batch_that_is_too_large_is_void(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let small = Ground::on(ground.app.config.database.clone(), |config| config.batch_max = ByteSize::kib(4)).await;
    let source = Source::of(&small);
    let many: Vec<_> = (0..20).map(|_| alone(&runs, &ground)).collect();
    assert_eq!(ack(&source.post(1, 0, &body(&many)).await), BatchAck { committed: 1, void: 1 });
    assert_eq!(source.committed(2, &body(&many[..1])).await, 2);
    assert_eq!(runs.usage().await.runs, 1);
}

async fn a_gateway_of_the_release_before(ground: Ground) {
    let (runs, source) = (Runs::start(&ground).await, Source::of(&ground));
    let seen = [alone(&runs, &ground), alone(&runs, &ground)];
    observe(&ground, &seen).await;
    observe(&ground, &seen).await;
    assert_eq!(runs.usage().await.runs, 2);
    // It has been updated, and does not know what was acknowledged.
    assert_eq!(source.committed(1, &body(&seen)).await, 1);
    assert_eq!(runs.usage().await.runs, 2);
}

/// A cut knows the sums that the last one has left, and not what others have added to them since.
async fn what_others_settle_between_two_batches(ground: Ground) {
    let (runs, source) = (Runs::start(&ground).await, Source::of(&ground));
    let some = |count: usize| -> Vec<Observation> { (0..count).map(|_| alone(&runs, &ground)).collect() };
    for (number, others) in [(1, 0), (2, 0), (3, 2), (4, 0)] {
        if others > 0 {
            observe(&ground, &some(others)).await;
        }
        assert_eq!(source.committed(number, &body(&some(3))).await, number);
    }
    assert_eq!(runs.usage().await.runs, 14);
}

async fn silent_sources_are_forgotten(ground: Ground) {
    let (runs, source) = (Runs::start(&ground).await, Source::of(&ground));
    let first = body(&[alone(&runs, &ground)]);
    let second = body(&[alone(&runs, &ground)]);
    assert_eq!(source.committed(1, &first).await, 1);
    let prune = async |days: i64| crate::settlement::prune_sources(&ground.app.db, later(days * 86_400)).await.unwrap();
    prune(29).await;
    assert_eq!(source.committed(3, &second).await, 1, "it is known");
    prune(31).await;
    assert_eq!(source.committed(3, &second).await, 0, "it is not known any more");
    assert_eq!(ack(&source.post(2, 1, &second).await).committed, 2, "it goes on");
    assert_eq!(runs.usage().await.runs, 2);
}

async fn unreadable_checkpoints_are_void(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, seen) = runs.halves(&ground, 10, 10);
    let damaged = |checkpoint: &Checkpoint| {
        let text = serde_json::to_string(checkpoint).unwrap();
        assert!(text.contains("\"succeeded\""));
        text.replace("\"succeeded\"", "\"odd\"").into_bytes()
    };
    let first = node.next(vec![receipt.clone()]);
    let forged = Checkpoint::sign(node.node, 1, node.last, vec![receipt.clone()], &SigningKey::from_bytes(&[8; 32]));
    let answer = node.receipts.raw(Method::POST, "/checkpoints", damaged(&forged)).await;
    assert_eq!(answer.code(), Code::InvalidField, "nobody but the node gives its receipts up");
    for _ in 0..2 {
        let answer = node.receipts.raw(Method::POST, "/checkpoints", damaged(&first)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.read::<CheckpointAck>().sequence, 1);
    }
    // The chain goes on.
    (node.sequence, node.last) = (first.sequence, first.digest);
    let many: Vec<NodeReceipt> = (0..=Checkpoint::RECEIPTS_MAX).map(|_| runs.halves(&ground, 10, 10).0).collect();
    node.submit(many).await;
    observe(&ground, &[seen]).await;
    node.submit(vec![receipt]).await;
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.flagged), (1, 0));
}

async fn a_checkpoint_stays_as_it_was_committed(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, _) = runs.halves(&ground, 10, 10);
    let first = node.next(vec![receipt]);
    assert_eq!(node.send(&first).await.status, StatusCode::OK);
    (node.sequence, node.last) = (first.sequence, first.digest);
    node.submit(vec![]).await;
    let other = Checkpoint::sign(node.node, 1, Digest([0; 32]), vec![], &node.key);
    assert_eq!(node.send(&other).await.code(), Code::BatchConflict);
    assert_eq!(node.send(&first).await.read::<CheckpointAck>().sequence, 2, "all up to this one are committed");
}
