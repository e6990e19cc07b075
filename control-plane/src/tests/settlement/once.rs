//! A run is settled once, whoever speaks of it, in whatever order, and however often.

use std::collections::BTreeSet;

use protocol::receipt::{Checkpoint, NodeReceipt, Observation, Outcome, Usage};
use protocol::ticket::Ticket;
use protocol::{Code, NodeId, RunId};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use sea_orm::EntityTrait as _;

use super::super::harness::{Ground, suite};
use super::sources::{Source, body};
use super::{HelloReply, Method, Runs, Signer, SigningKey, as_node, hello_of, later, observe};
use crate::db::entities::runs;

suite!(
    a_second_node_with_a_ticket_of_the_run,
    a_receipt_in_a_later_checkpoint,
    runs_of_one_millisecond,
    receipts_of_an_attempt_that_was_given_up,
    whatever_happens_each_run_is_settled_once,
);

/// Another node of the platform.
pub(super) async fn second_node(ground: &Ground) -> Signer {
    // It makes the node's row.
    let other = Ground::on(ground.app.config.database.clone(), |_| {}).await;
    ground.lead().await;
    let key = SigningKey::from_bytes(&[9; 32]);
    let api = as_node(crate::api::nodes::api(ground.app.clone()), other.node);
    let reply = api.send(Method::POST, "/hello", Some(serde_json::to_value(hello_of(&key)).unwrap())).await;
    let reply: HelloReply = reply.read();
    let receipts = as_node(crate::api::nodes::receipt(ground.app.clone()), other.node);
    Signer { node: other.node, key, sequence: reply.checkpoint, last: reply.checkpoint_digest, receipts }
}

/// The receipt of this node, with a valid ticket of its own, for the same run; it claims more.
pub(super) fn of_node(runs: &Runs, ground: &Ground, receipt: &NodeReceipt, node: NodeId) -> NodeReceipt {
    let mut other = receipt.clone();
    other.ticket = ground.app.tickets.issue(&Ticket { node, ..runs.permission(receipt.run) });
    other.end.usage = Usage { wall_us: 1_000_000, ..receipt.end.usage };
    other
}

async fn give_up(ground: &Ground) {
    crate::settlement::sweep_once(&ground.app, later(61), true).await.unwrap();
}

async fn a_second_node_with_a_ticket_of_the_run(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let mut other = second_node(&ground).await;
    // The gateway's half is there: only the node that it saw is paid.
    let (receipt, seen) = runs.halves(&ground, 3000, 3000);
    observe(&ground, std::slice::from_ref(&seen)).await;
    other.submit(vec![of_node(&runs, &ground, &receipt, other.node)]).await;
    node.submit(vec![receipt.clone()]).await;
    other.submit(vec![of_node(&runs, &ground, &receipt, other.node)]).await;
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.wall_us, usage.flagged), (1, 3000, 0));

    // The other one was first: its claim is void as soon as the gateway's half comes, and that of the right one counts.
    let (receipt, seen) = runs.halves(&ground, 3000, 4000);
    other.submit(vec![of_node(&runs, &ground, &receipt, other.node)]).await;
    node.submit(vec![receipt.clone()]).await;
    assert!(!runs.run(seen.run).await.settled);
    observe(&ground, std::slice::from_ref(&seen)).await;
    assert!(runs.run(seen.run).await.settled);
    node.submit(vec![receipt]).await;
    assert_eq!(runs.run(seen.run).await.node, Some(node.node));
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.wall_us, usage.flagged), (2, 3000 + 3000, 0));

    // And it was settled with that claim alone: the bill becomes less, and the run is no second one.
    let (receipt, seen) = runs.halves(&ground, 3000, 5000);
    other.submit(vec![of_node(&runs, &ground, &receipt, other.node)]).await;
    give_up(&ground).await;
    assert_eq!(runs.usage().await.wall_us, 6000 + 1_000_000);
    node.submit(vec![receipt.clone()]).await;
    observe(&ground, std::slice::from_ref(&seen)).await;
    node.submit(vec![receipt]).await;
    give_up(&ground).await;
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.wall_us), (3, 6000 + 5000));
}

async fn a_receipt_in_a_later_checkpoint(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, seen) = runs.halves(&ground, 3000, 3000);
    node.submit(vec![receipt.clone(), receipt.clone()]).await;
    node.submit(vec![receipt.clone()]).await;
    observe(&ground, std::slice::from_ref(&seen)).await;
    node.submit(vec![receipt.clone()]).await;
    assert_eq!(runs.usage().await.runs, 1);
    // The other half was given up.
    let (late, late_seen) = runs.halves(&ground, 3000, 3000);
    observe(&ground, std::slice::from_ref(&late_seen)).await;
    give_up(&ground).await;
    let usage = runs.usage().await;
    for _ in 0..2 {
        node.submit(vec![late.clone(), receipt.clone()]).await;
        observe(&ground, &[late_seen.clone(), seen.clone()]).await;
    }
    assert_eq!(runs.usage().await, usage);
    // The rows are gone.
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    crate::settlement::forget(&ground.app.db, RunId::new()).await.unwrap();
    assert_eq!(rows(&ground).await.len(), 0);
    node.submit(vec![late, receipt]).await;
    observe(&ground, &[late_seen, seen]).await;
    give_up(&ground).await;
    assert_eq!((runs.usage().await, rows(&ground).await.len()), (usage, 0));
}

async fn rows(ground: &Ground) -> Vec<runs::Model> {
    runs::Entity::find().all(ground.app.db.read()).await.unwrap()
}

/// Runs are forgotten up to a time, which is in milliseconds; runs may begin in the same one.
async fn runs_of_one_millisecond(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let base = RunId::new().uuid().as_u128() & !0xff;
    let halves: Vec<(NodeReceipt, Observation)> = (0..3)
        .map(|number| {
            let run = RunId::from_uuid(uuid::Uuid::from_u128(base + number));
            let (mut receipt, mut seen) = runs.halves(&ground, 10, 10);
            (receipt.run, receipt.ticket, seen.run) = (run, runs.ticket(&ground, run), run);
            (receipt, seen)
        })
        .collect();
    let (receipts, seen): (Vec<NodeReceipt>, Vec<Observation>) = halves.into_iter().unzip();
    node.submit(receipts.clone()).await;
    observe(&ground, &seen).await;
    give_up(&ground).await;
    for before in [receipts[2].run, RunId::from_uuid(uuid::Uuid::from_u128(base + (1 << 90)))] {
        crate::settlement::forget(&ground.app.db, before).await.unwrap();
        node.submit(receipts.clone()).await;
        observe(&ground, &seen).await;
        give_up(&ground).await;
        assert_eq!(runs.usage().await.runs, 3);
    }
    assert_eq!(rows(&ground).await.len(), 0);
}

/// A leader of the dispatchers has given an attempt up, and somebody still speaks of it.
async fn receipts_of_an_attempt_that_was_given_up(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    for receipt_first in [true, false] {
        let (receipt, seen) = runs.halves(&ground, 3000, 3000);
        let lost = Observation {
            end: None,
            outcome: Outcome::PlatformFailed,
            status: 502,
            code: Some(Code::NodeLost),
            ..seen.clone()
        };
        if receipt_first {
            node.submit(vec![receipt.clone()]).await;
        }
        crate::settlement::observed(&ground.app, vec![lost.clone()]).await.unwrap();
        give_up(&ground).await;
        // The attempt's own words, from whom had it before.
        crate::settlement::observed(&ground.app, vec![seen.clone(), lost]).await.unwrap();
        node.submit(vec![receipt]).await;
        let run = runs.run(seen.run).await;
        assert_eq!((run.settled, run.outcome, run.usage), (true, Outcome::PlatformFailed, Usage::default()));
    }
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.platform_failed, usage.wall_us), (2, 2, 0));
}

/// One start of a gateway that sends one batch after the other, over a way that loses and repeats.
struct Sender {
    source: Source,
    batches: Vec<Vec<u8>>,
    acknowledged: u64,
}

impl Sender {
    /// Sends something: mostly what is next, sometimes what was or will be; the answer may be lost.
    async fn step(&mut self, random: &mut StdRng) {
        let count = self.batches.len() as u64;
        let next = self.acknowledged + random.random_range(0..3);
        if !(1..=count).contains(&next) {
            return;
        }
        let at = usize::try_from(next - 1).unwrap();
        let committed = self.source.committed(next, &self.batches[at]).await;
        if random.random_bool(0.7) {
            self.acknowledged = committed.max(self.acknowledged);
        }
    }

    async fn finish(&mut self) {
        while self.acknowledged < self.batches.len() as u64 {
            let at = usize::try_from(self.acknowledged).unwrap();
            let next = self.acknowledged + 1;
            self.acknowledged = self.source.committed(next, &self.batches[at]).await;
        }
    }
}

/// A node that sends its checkpoints so, and has some receipts in two of them.
struct Chained {
    node: Signer,
    checkpoints: Vec<Checkpoint>,
    acknowledged: u64,
}

impl Chained {
    fn of(mut node: Signer, receipts: &[NodeReceipt], random: &mut StdRng) -> Self {
        let acknowledged = node.sequence;
        let mut checkpoints = Vec::new();
        for chunk in receipts.chunks(3) {
            let again = receipts.choose(random).cloned();
            let checkpoint = node.next(chunk.iter().cloned().chain(again).collect());
            (node.sequence, node.last) = (checkpoint.sequence, checkpoint.digest);
            checkpoints.push(checkpoint);
        }
        Self { node, checkpoints, acknowledged }
    }

    async fn step(&mut self, random: &mut StdRng) {
        let first = self.checkpoints.first().map_or(0, |first| first.sequence);
        let wanted = self.acknowledged + random.random_range(0..2);
        let Some(checkpoint) =
            wanted.checked_sub(first).and_then(|at| self.checkpoints.get(usize::try_from(at).unwrap()))
        else {
            return;
        };
        let answer = self.node.send(checkpoint).await;
        if answer.status == 200 && random.random_bool(0.7) {
            self.acknowledged = wanted.max(self.acknowledged);
        }
    }

    async fn finish(self) -> Signer {
        for checkpoint in &self.checkpoints {
            let answer = self.node.send(checkpoint).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        self.node
    }
}

/// Batches and checkpoints that are repeated, too early, or whose acknowledgements are lost; a gateway that dies and whose
/// successor has some of the same runs; a second node that claims them, too; sweeps in between.
async fn whatever_happens_each_run_is_settled_once(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let (mut node, mut thief) = (Signer::hello(&ground).await, second_node(&ground).await);
    let mut all: BTreeSet<RunId> = BTreeSet::new();
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let halves: Vec<_> = (0..9).map(|_| runs.halves(&ground, 3000, 3000)).collect();
        all.extend(halves.iter().map(|(receipt, _)| receipt.run));
        let mut receipts: Vec<NodeReceipt> = halves.iter().map(|(receipt, _)| receipt.clone()).collect();
        receipts.shuffle(&mut random);
        let stolen: Vec<_> =
            receipts.iter().step_by(2).map(|receipt| of_node(&runs, &ground, receipt, thief.node)).collect();
        let seen: Vec<Observation> = halves.into_iter().map(|(_, seen)| seen).collect();
        let sender = |seen: &[Observation]| Sender {
            source: Source::of(&ground),
            batches: seen.chunks(2).map(body).collect(),
            acknowledged: 0,
        };
        // The second start has what the first one had written down, and more.
        let (mut first, mut second) = (sender(&seen[..6]), sender(&seen[4..]));
        let mut honest = Chained::of(node, &receipts, &mut random);
        let mut greedy = Chained::of(thief, &stolen, &mut random);
        for _ in 0..24 {
            match random.random_range(0..9) {
                0..3 => first.step(&mut random).await,
                3..5 => second.step(&mut random).await,
                5..7 => honest.step(&mut random).await,
                7 => greedy.step(&mut random).await,
                _ => {
                    let patience = if random.random_bool(0.3) { 61 } else { 0 };
                    crate::settlement::sweep_once(&ground.app, later(patience), false).await.unwrap();
                }
            }
        }
        (node, thief) = (honest.finish().await, greedy.finish().await);
        first.finish().await;
        second.finish().await;
        give_up(&ground).await;
        agree(&ground, &runs, &all, seed).await;
    }
    // What was settled stays so when its rows are gone.
    let usage = runs.usage().await;
    let before = RunId::from_uuid(crate::settlement::first_id_at(later(1)));
    crate::settlement::forget(&ground.app.db, before).await.unwrap();
    assert_eq!(runs.usage().await, usage);
}

/// Each run has its row, it is settled, and the sums are those of the rows.
async fn agree(ground: &Ground, runs: &Runs, all: &BTreeSet<RunId>, seed: u64) {
    let (rows, usage) = (rows(ground).await, runs.usage().await);
    assert_eq!(&rows.iter().map(|row| row.run_id.0).collect::<BTreeSet<_>>(), all, "seed {seed}");
    assert!(rows.iter().all(|row| row.settled && row.observed.is_some()), "seed {seed}");
    assert!(rows.iter().all(|row| row.node_id.is_some_and(|node| node.0 == ground.node)), "seed {seed}");
    assert!(rows.iter().all(|row| row.billed.wall_us <= 3000), "seed {seed}");
    let sum = |of: fn(&runs::Model) -> u64| rows.iter().map(of).sum::<u64>();
    assert_eq!(usage.runs, rows.len() as u64, "seed {seed}");
    assert_eq!(usage.wall_us, sum(|row| row.billed.wall_us), "seed {seed}");
    assert_eq!(usage.cpu_us, sum(|row| row.billed.cpu_us), "seed {seed}");
    assert_eq!(usage.bytes_out.0, sum(|row| row.billed.bytes_out.0), "seed {seed}");
    assert_eq!(usage.flagged, sum(|row| u64::from(row.flag.is_some())), "seed {seed}");
}
