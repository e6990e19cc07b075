//! Whatever fails, from a seed: each run is settled once and none is lost, and blocks and roll-ups say the same of it.
//!
//! `CROWDCLOUD_SEEDS` says how many seeds there are; each is a case on either database.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use books::{Header, Run, Totals};
use http::{Method, StatusCode};
use protocol::api::InvocationPage;
use protocol::batch::{BatchAck, BatchHead};
use protocol::receipt::{CheckpointAck, NodeReceipt, Observation, Outcome};
use protocol::ticket::{SignedTicket, Ticket};
use protocol::{ByteSize, Code, Digest, EpochId, Flag, Millis, NodeId, RunId};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _};
use tokio::task::JoinHandle;

use super::super::harness::{Answer, Ground, suite};
use super::blocks::{body as body_of, segment};
use super::cuts::holding;
use super::once::{of_node, second_node};
use super::sources::body;
use super::{Runs, Signer, as_node, later};
use crate::Config;
use crate::db::entities::{blocks, runs};
use crate::settlement::sweep_once;

suite!(whatever_fails_each_run_is_settled_once);

/// In a run of all tests; `cargo xtask bench faults` has more.
const SEEDS: u64 = 6;
/// Where a leader dies: before its cut is committed, and before anybody hears of it.
const CUT_POINTS: [&str; 4] = ["cut.written", "cut.committed", "observations.committed", "checkpoint.committed"];
/// Where whoever packs dies: before the block is noted, and after.
const PACK_POINTS: [&str; 2] = ["block.stored", "block.committed"];
const ROUNDS_MAX: usize = 300;
const DAY: i64 = 86_400;

/// What becomes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Both halves come.
    Whole,
    /// The node's half does not come.
    NoReceipt,
    /// The gateway's half does not come.
    NoObservation,
    /// The dispatcher has given the attempt up, and perhaps its half too, before the node's comes.
    GivenUp,
}

/// One who sends: its parts in order, and how many of them are acknowledged. Several are on their way at once.
struct Line {
    who: Who,
    /// The number of its first part.
    first: u64,
    parts: Vec<Vec<u8>>,
    acknowledged: usize,
}

#[derive(Debug, Clone, Copy)]
enum Who {
    Gateway(EpochId),
    Node(NodeId),
}

impl Line {
    fn gateway(seen: &[Observation], many: usize) -> Self {
        let parts = seen.chunks(many).map(body).collect();
        Self { who: Who::Gateway(EpochId::new()), first: 1, parts, acknowledged: 0 }
    }

    /// A node's, which goes on where its last checkpoint is.
    fn node(node: &mut Signer, receipts: &[NodeReceipt], many: usize) -> Self {
        let first = node.sequence + 1;
        let mut parts = Vec::new();
        for some in receipts.chunks(many) {
            let next = node.next(some.to_vec());
            (node.sequence, node.last) = (next.sequence, next.digest);
            parts.push(serde_json::to_vec(&next).unwrap());
        }
        Self { who: Who::Node(node.node), first, parts, acknowledged: 0 }
    }

    fn is_done(&self) -> bool {
        self.acknowledged == self.parts.len()
    }

    /// Sends a part, of which so much of this arrives.
    fn send(&self, to: &Ground, at: usize, arrives: &[u8]) -> JoinHandle<Answer> {
        let (client, path) = match self.who {
            Who::Gateway(epoch) => {
                let number = self.first + u64::try_from(at).unwrap();
                let head = BatchHead { epoch, number, digest: Digest::of(&self.parts[at]), acknowledged: 0 };
                (to.anonymous(), format!("/internal/observations?{}", head.query()))
            }
            Who::Node(node) => (as_node(crate::api::nodes::receipt(to.app.clone()), node), "/checkpoints".to_owned()),
        };
        let arrives = arrives.to_vec();
        tokio::spawn(async move { client.raw(Method::POST, &path, arrives).await })
    }

    fn heard(&mut self, answer: &Answer) {
        let number = match self.who {
            _ if answer.status != StatusCode::OK => return,
            Who::Gateway(_) => answer.read::<BatchAck>().committed,
            Who::Node(_) => answer.read::<CheckpointAck>().sequence,
        };
        let committed = usize::try_from((number + 1).saturating_sub(self.first)).unwrap();
        self.acknowledged = self.acknowledged.max(committed).min(self.parts.len());
    }

    /// Its numbers fall, it says something else under the number that is committed, or a part of what it sends is cut off.
    async fn misbehaves(&self, to: &Ground, random: &mut StdRng) {
        if self.acknowledged == 0 {
            return;
        }
        let (last, any) = (self.acknowledged - 1, random.random_range(0..self.acknowledged));
        let again = self.send(to, any, &self.parts[any]).await.unwrap();
        assert!(matches!(again.status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE), "{again:?}");
        if let Who::Gateway(epoch) = self.who {
            let number = self.first + u64::try_from(last).unwrap();
            let head = BatchHead { epoch, number, digest: Digest::of(b"[]"), acknowledged: 0 };
            let path = format!("/internal/observations?{}", head.query());
            let other = to.anonymous().raw(Method::POST, &path, b"[]".to_vec()).await;
            // More may be committed than has been heard of.
            let is_known = other.status == StatusCode::OK;
            assert!(
                is_known || matches!(other.code(), Code::BatchConflict | Code::ControlPlaneUnavailable),
                "{other:?}"
            );
        }
        if let Some(next) = self.parts.get(self.acknowledged) {
            let torn = &next[..random.random_range(0..next.len())];
            let answer = self.send(to, self.acknowledged, torn).await.unwrap();
            assert!(answer.status.is_client_error(), "{answer:?}");
        }
    }
}

/// What is known of all runs so far.
#[derive(Default)]
struct Known {
    /// How each is settled: the flag, and the wall time that is billed.
    expected: BTreeMap<RunId, (Option<Flag>, u64)>,
    /// The line of each, and in which block.
    lines: BTreeMap<RunId, (i64, Run)>,
    totals: Totals,
    block: i64,
}

async fn whatever_fails_each_run_is_settled_once(ground: Ground) {
    let seeds = std::env::var("CROWDCLOUD_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let change = |config: &mut Config| {
        (config.block_runs, config.block_cache) = (7, ByteSize(0));
        (config.rows_age, config.receipts_pause) = (Millis(1_000), Millis(0));
    };
    let ground = Ground::on(ground.app.config.database.clone(), change).await;
    let runs = Runs::start(&ground).await;
    let (mut node, mut thief) = (Signer::hello(&ground).await, second_node(&ground).await);
    let mut known = Known::default();
    for seed in 0..seeds {
        let mut random = StdRng::seed_from_u64(seed);
        let lines = lines_of(&ground, &runs, (&mut node, &mut thief), &mut random, &mut known).await;
        Box::pin(arrive(&ground, lines, &mut random, seed)).await;
        // Nothing more comes.
        sweep_once(&ground.app, later(61), true).await.unwrap();
        agree(&ground, &runs, &mut known, seed).await;
        a_lost_block_is_named(&ground, &runs, &known, &mut random, seed).await;
    }
}

/// Some runs, and those who tell of them.
async fn lines_of(
    ground: &Ground,
    runs: &Runs,
    (node, thief): (&mut Signer, &mut Signer),
    random: &mut StdRng,
    known: &mut Known,
) -> Vec<Line> {
    let (mut receipts, mut stolen, mut seen, mut lost) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The half of what was given up is given up itself before the node's comes, or only afterwards.
    let early = random.random_bool(0.5);
    for _ in 0..24 {
        let fates = [Fate::Whole, Fate::Whole, Fate::Whole, Fate::NoReceipt, Fate::NoObservation, Fate::GivenUp];
        let fate = *fates.choose(random).unwrap();
        let (claimed_us, seen_us) = (random.random_range(1..50), random.random_range(50..99));
        let (mut receipt, mut half) = runs.halves(ground, claimed_us, seen_us);
        // Clocks are wrong by a day.
        receipt.started = later(random.random_range(-DAY..DAY));
        half.received = later(*[0, 0, -DAY].choose(random).unwrap());
        let settled = match fate {
            Fate::Whole => (None, claimed_us),
            Fate::NoReceipt => (Some(Flag::NoReceipt), seen_us),
            Fate::NoObservation => (Some(Flag::NoObservation), claimed_us),
            Fate::GivenUp => (early.then_some(Flag::NoReceipt), 0),
        };
        known.expected.insert(receipt.run, settled);
        if fate == Fate::Whole && random.random_bool(0.3) {
            stolen.push(of_node(runs, ground, &receipt, thief.node));
        }
        match fate {
            Fate::Whole | Fate::NoReceipt => seen.push(half),
            Fate::GivenUp => lost.push(Observation {
                end: None,
                outcome: Outcome::PlatformFailed,
                status: 502,
                code: Some(Code::NodeLost),
                ..half
            }),
            Fate::NoObservation => {}
        }
        if fate == Fate::NoReceipt {
            receipts.extend(forged(ground, runs, &receipt));
        } else {
            receipts.push(receipt);
        }
    }
    if random.random_bool(0.1) {
        let (receipt, wall_us) = of_last_week(ground, runs);
        known.expected.insert(receipt.run, (Some(Flag::NoObservation), wall_us));
        receipts.push(receipt);
    }
    crate::settlement::observed(&ground.app, lost).await.unwrap();
    if early {
        sweep_once(&ground.app, later(61), false).await.unwrap();
    }
    // Some are in two checkpoints, or in the batches of two starts.
    for _ in 0..3 {
        receipts.extend(receipts.choose(random).cloned());
        seen.extend(seen.choose(random).cloned());
    }
    receipts.shuffle(random);
    seen.shuffle(random);
    let middle = seen.len() / 2;
    vec![
        Line::gateway(&seen[..middle], random.random_range(2..6)),
        Line::gateway(&seen[middle..], random.random_range(2..6)),
        Line::node(node, &receipts, random.random_range(3..9)),
        Line::node(thief, &stolen, random.random_range(1..4)),
    ]
}

/// Claims of a run whose node says nothing: with a ticket of another run, and with a MAC that is wrong.
fn forged(ground: &Ground, runs: &Runs, receipt: &NodeReceipt) -> [NodeReceipt; 2] {
    let foreign = NodeReceipt { ticket: runs.ticket(ground, RunId::new()), ..receipt.clone() };
    let mut bytes = URL_SAFE_NO_PAD.decode(&receipt.ticket.0).unwrap();
    // In the pay MAC, which is before the node's.
    let place = bytes.len() - 20;
    bytes[place] ^= 1;
    [foreign, NodeReceipt { ticket: SignedTicket(URL_SAFE_NO_PAD.encode(bytes)), ..receipt.clone() }]
}

/// A run that nobody but its node tells of, a week later.
fn of_last_week(ground: &Ground, runs: &Runs) -> (NodeReceipt, u64) {
    let (receipt, _) = runs.halves(ground, 9, 9);
    let (issued, expires) = (later(-7 * DAY), later(-7 * DAY + 10));
    let time = crate::settlement::first_id_at(issued).as_u128();
    let run = RunId::from_uuid(uuid::Uuid::from_u128(time | (receipt.run.uuid().as_u128() & ((1 << 80) - 1))));
    let ticket = ground.app.tickets.issue(&Ticket { issued, expires, ..runs.permission(run) });
    (NodeReceipt { run, ticket, started: issued, ..receipt }, 9)
}

/// Everything is sent until it is acknowledged, to leaders that die and others that were paused.
async fn arrive(ground: &Ground, mut lines: Vec<Line>, random: &mut StdRng, seed: u64) {
    let mut rounds = 0;
    let mut before: Option<Ground> = None;
    while !lines.iter().all(Line::is_done) {
        rounds += 1;
        assert!(rounds < ROUNDS_MAX, "seed {seed}: it goes on");
        let hold = Duration::from_millis(random.random_range(0..20));
        let held = Box::pin(holding(ground, hold)).await;
        if random.random_bool(0.3) {
            let point = *CUT_POINTS.choose(random).unwrap();
            held.lead_until(point).await;
        }
        let mut sent: Vec<(usize, JoinHandle<Answer>)> = Vec::new();
        for (which, line) in lines.iter().enumerate() {
            let mut places: Vec<usize> = (line.acknowledged..line.parts.len()).take(3).collect();
            places.shuffle(random);
            for at in places {
                let copies = if random.random_bool(0.1) { 2 } else { 1 };
                sent.extend((0..copies).map(|_| (which, line.send(&held, at, &line.parts[at]))));
                // One that was paused, and does not know yet that another one leads.
                if let Some(before) = before.as_ref().filter(|_| random.random_bool(0.3)) {
                    let answer = line.send(before, at, &line.parts[at]).await.unwrap();
                    assert_ne!(answer.status, StatusCode::OK, "seed {seed}: {answer:?}");
                }
            }
        }
        // Now and then it is killed in the middle, and nobody hears an answer.
        let patience = if random.random_bool(0.2) { random.random_range(0..10) } else { 5000 };
        let deadline = tokio::time::Instant::now() + Duration::from_millis(patience);
        for (which, mut task) in sent {
            match tokio::time::timeout_at(deadline, &mut task).await {
                Ok(answer) => lines[which].heard(&answer.unwrap()),
                Err(_) => task.abort(),
            }
        }
        if let Some(line) = lines.choose(random) {
            line.misbehaves(&held, random).await;
        }
        if random.random_bool(0.3) {
            let (app, point) = (held.app.clone(), *PACK_POINTS.choose(random).unwrap());
            let pack = async move { sweep_once(&app, later(11), true).await };
            match tokio::spawn(fabric::fault::die_at(point, pack)).await {
                Ok(packed) => packed.unwrap(),
                Err(died) => assert!(died.is_panic()),
            }
        }
        before = Some(held);
    }
}

/// Each run is settled once, as it is told of; blocks and roll-ups have the same sums.
async fn agree(ground: &Ground, runs: &Runs, known: &mut Known, seed: u64) {
    let open = runs::Entity::find().filter(runs::Column::Settled.eq(false)).count(ground.app.db.read()).await.unwrap();
    assert_eq!(open, 0, "seed {seed}");
    let new = blocks::Entity::find().filter(blocks::Column::Number.gt(known.block));
    for block in new.order_by_asc(blocks::Column::Number).all(ground.app.db.read()).await.unwrap() {
        assert_eq!(block.number, known.block + 1, "seed {seed}");
        known.block = block.number;
        known.totals.add(&Header::parse(&block.header).unwrap().totals);
        let body = body_of(ground, &block).await;
        for run in (0..body.frames().len()).flat_map(|frame| body.frame(frame).unwrap()) {
            let earlier = known.lines.insert(run.run, (block.number, run));
            assert!(earlier.is_none(), "seed {seed}: in two blocks: {earlier:?}");
        }
    }
    let told: BTreeMap<RunId, (Option<Flag>, u64)> =
        known.lines.values().map(|(_, run)| (run.run, (run.flag, run.billed.wall_us))).collect();
    assert_eq!(told, known.expected, "seed {seed}");
    let usage = runs.usage().await;
    let sum = |of: fn(&Run) -> u64| known.lines.values().map(|(_, run)| of(run)).sum::<u64>();
    assert_eq!(usage.runs, sum(|_| 1), "seed {seed}");
    assert_eq!(usage.wall_us, sum(|run| run.billed.wall_us), "seed {seed}");
    assert_eq!(usage.cpu_us, sum(|run| run.billed.cpu_us), "seed {seed}");
    assert_eq!(usage.flagged, sum(|run| u64::from(run.flag.is_some())), "seed {seed}");
    let totals = known.totals;
    assert_eq!((totals.runs, totals.wall_us, totals.cpu_us), (usage.runs, usage.wall_us, usage.cpu_us), "seed {seed}");
    assert_eq!(totals.bytes_out, usage.bytes_out.0, "seed {seed}");
}

/// The object of a block is lost for a while, or is damaged: it is named, and all other runs are there.
async fn a_lost_block_is_named(ground: &Ground, runs: &Runs, known: &Known, random: &mut StdRng, seed: u64) {
    // The newest that has no row any more.
    let packed = known.lines.values().rev().find(|(_, run)| run.flag != Some(Flag::NoObservation));
    let (number, _) = packed.unwrap();
    let block = blocks::Entity::find().filter(blocks::Column::Number.eq(*number)).one(ground.app.db.read()).await;
    let block = block.unwrap().unwrap();
    let is_gone = random.random_bool(0.5);
    let path = segment(ground, &block);
    let bytes = std::fs::read(&path).unwrap();
    if is_gone {
        std::fs::remove_file(&path).unwrap();
    } else {
        std::fs::write(&path, b"something else").unwrap();
    }
    let page: InvocationPage = runs.client.get("/invocations?limit=200").await.read();
    let number = u64::try_from(block.number).unwrap();
    assert_eq!(page.damaged, [number], "seed {seed}");
    let listed: Vec<RunId> = page.items.iter().map(|run| run.run).collect();
    let spanned = block.first_run.0..=block.last_run.0;
    let others = known.lines.keys().rev().take(24).filter(|run| !spanned.contains(*run));
    for run in others {
        assert!(listed.contains(run), "seed {seed}: {run} is in another block");
    }
    std::fs::write(&path, bytes).unwrap();
}
