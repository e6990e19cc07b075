//! Receipts and observations: joined in either order, replayed, late, forged; sums, blocks, usage.

mod blocks;
mod cuts;
mod downloads;
mod faults;
mod history;
mod kept;
mod once;
mod paused;
mod sources;
mod stops;
mod terms;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use http::{Method, StatusCode};
use protocol::api::{Invocation, Page, UsageSums, Version};
use protocol::node::{BootKey, Hello, HelloReply, LogLine, LogStream, PROTOCOL_MAX, PROTOCOL_MIN, RunLog, VersionSpec};
use protocol::placement::LaneReason;
use protocol::receipt::{Checkpoint, CheckpointAck, NodeReceipt, Observation, Outcome, RunEnd, Usage};
use protocol::ticket::{Purpose, Ticket};
use protocol::wire::Written;
use protocol::{
    AccountId, ByteSize, Code, Digest, EpochId, FunctionId, InstanceId, Lane, Limits, NodeId, RunId, Timestamp,
};
use sea_orm::{ConnectionTrait as _, EntityTrait as _};
use serde_json::json;

use super::harness::{Answer, Client, Ground, suite};
use crate::db::entities::{blocks as block_rows, run_logs};

suite!(
    joined_in_either_order,
    replays_and_chains,
    forged_receipts,
    one_half_only,
    a01_figures_of_nodes_are_bounded,
    a01_sums_stop_at_their_end,
    a08_late_halves,
    a08_forgotten_runs,
    a09_words_that_differ,
    f35_receipts_of_a_later_release,
    f40_what_prepares_opens_no_more_than_that,
    no_node,
    many_runs,
    lists
);

/// A node as the control plane sees it: it signs, and asks on its own subject.
pub(crate) struct Signer {
    pub(crate) node: NodeId,
    key: SigningKey,
    sequence: u64,
    last: Digest,
    receipts: Client,
}

pub(crate) fn as_node(router: axum::Router, node: NodeId) -> Client {
    Client::new(router.layer(axum::Extension(fabric::Peer::Node(node))))
}

impl Signer {
    pub(crate) async fn hello(ground: &Ground) -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let hello = hello_of(&key);
        let api = as_node(crate::api::nodes::api(ground.app.clone()), ground.node);
        let reply = api.send(Method::POST, "/hello", Some(serde_json::to_value(hello).unwrap())).await;
        let reply: HelloReply = reply.read();
        let receipts = as_node(crate::api::nodes::receipt(ground.app.clone()), ground.node);
        Self { node: ground.node, key, sequence: reply.checkpoint, last: reply.checkpoint_digest, receipts }
    }

    fn next(&self, receipts: Vec<NodeReceipt>) -> Checkpoint {
        Checkpoint::sign(self.node, self.sequence + 1, self.last, receipts, &self.key)
    }

    async fn send(&self, checkpoint: &Checkpoint) -> Answer {
        self.receipts.raw(Method::POST, "/checkpoints", serde_json::to_vec(checkpoint).unwrap()).await
    }

    pub(crate) async fn submit(&mut self, receipts: Vec<NodeReceipt>) {
        let checkpoint = self.next(receipts);
        let answer = self.send(&checkpoint).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.read::<CheckpointAck>().sequence, checkpoint.sequence);
        (self.sequence, self.last) = (checkpoint.sequence, checkpoint.digest);
    }
}

pub(crate) fn hello_of(key: &SigningKey) -> Hello {
    Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        software: "test".to_owned(),
        arch: "x86_64".to_owned(),
        os: "linux".to_owned(),
        name: "local".to_owned(),
        cores: 2,
        memory: ByteSize::mib(1024),
        lanes: vec![Lane::Wasm],
        slots: 8,
        public_key: URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes()),
        keys: None,
        boot: Some(BootKey([7; 32])),
        agreed: None,
        confinement: None,
        fingerprint: None,
        disks: Vec::new(),
    }
}

/// A deployed function, and runs of it.
pub(crate) struct Runs {
    pub(crate) client: Client,
    account: AccountId,
    function: FunctionId,
    version: Version,
    node: NodeId,
}

impl Runs {
    pub(crate) async fn start(ground: &Ground) -> Self {
        let client = ground.user("ada@example.org", "ada").await;
        let (function, version) = ground.function(&client, "hello").await;
        Self { account: client.account().await, function, version, node: ground.node, client }
    }

    pub(crate) fn ticket(&self, ground: &Ground, run: RunId) -> protocol::ticket::SignedTicket {
        ground.app.tickets.issue(&self.permission(run))
    }

    pub(crate) fn ticket_of(&self, ground: &Ground, run: RunId, account: AccountId) -> protocol::ticket::SignedTicket {
        ground.app.tickets.issue(&Ticket { account, ..self.permission(run) })
    }

    pub(crate) fn permission(&self, run: RunId) -> Ticket {
        Ticket {
            purpose: Purpose::Run,
            run,
            node: self.node,
            account: self.account,
            function: self.function,
            version: self.version.id,
            artifact: self.version.artifact,
            lane: Lane::Wasm,
            limits: Limits::default(),
            epoch: EpochId::new(),
            issued: Timestamp::now(),
            expires: Timestamp::now().plus(std::time::Duration::from_secs(10)),
        }
    }

    pub(crate) fn halves(&self, ground: &Ground, claimed_us: u64, seen_us: u64) -> (NodeReceipt, Observation) {
        let run = RunId::new();
        let usage = Usage {
            wall_us: claimed_us,
            cpu_us: 500,
            fuel: None,
            memory_peak: ByteSize::mib(1),
            bytes_in: ByteSize(10),
            bytes_out: ByteSize(20),
            egress_bytes: ByteSize(30),
        };
        let end = RunEnd {
            outcome: Outcome::Succeeded,
            code: None,
            detail: None,
            usage,
            warm: true,
            cached: false,
            running: 1,
        };
        let receipt =
            NodeReceipt { run, ticket: self.ticket(ground, run), started: Timestamp::now(), end: end.clone() };
        let seen = Observation {
            run,
            gateway: InstanceId::new(),
            account: self.account,
            function: self.function,
            version: self.version.id,
            version_number: self.version.number,
            node: Some(self.node),
            lane: Lane::Wasm,
            received: Timestamp::now(),
            head_us: 5,
            wall_us: seen_us,
            outcome: Outcome::Succeeded,
            status: 200,
            code: None,
            method: "GET".to_owned(),
            path: "/x".to_owned(),
            bytes_in: ByteSize(10),
            bytes_out: ByteSize(25),
            end: Some(end),
            placement: None,
            job: None,
            limits: Some(Limits::default()),
            source: None,
            principal: None,
        };
        (receipt, seen)
    }

    async fn usage(&self) -> UsageSums {
        self.client.get("/functions/hello/usage").await.read()
    }

    pub(crate) async fn run(&self, run: RunId) -> Invocation {
        self.client.get(&format!("/invocations/{run}")).await.read()
    }
}

pub(crate) async fn observe(ground: &Ground, seen: &[Observation]) {
    let body = serde_json::to_value(seen).unwrap();
    let answer = ground.anonymous().send(Method::POST, "/internal/observations", Some(body)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
}

async fn joined_in_either_order(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, seen) = runs.halves(&ground, 3000, 2000);
    node.submit(vec![receipt]).await;
    assert!(!runs.run(seen.run).await.settled);
    assert_eq!(runs.usage().await.runs, 0, "nothing is summed before it is settled");
    observe(&ground, std::slice::from_ref(&seen)).await;
    let run = runs.run(seen.run).await;
    assert!(run.settled);
    assert_eq!((run.status, run.method.as_str(), run.path.as_str(), run.version), (200, "GET", "/x", 1));
    assert_eq!((run.usage.wall_us, run.usage.bytes_out.0, run.usage.cpu_us), (2000, 20, 500), "the lesser of both");
    assert_eq!((run.lane, run.lane_reason, run.limits), (Lane::Wasm, Some(LaneReason::Wasm), Some(Limits::default())));

    let (receipt, seen) = runs.halves(&ground, 1000, 9000);
    observe(&ground, std::slice::from_ref(&seen)).await;
    assert_eq!(runs.run(seen.run).await.limits, Some(Limits::default()), "known before the node's half has come");
    node.submit(vec![receipt.clone(), receipt]).await;
    assert_eq!(runs.run(seen.run).await.usage.wall_us, 1000);
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.succeeded, usage.flagged, usage.wall_us), (2, 2, 0, 3000));
    // Everything once more.
    observe(&ground, &[seen.clone(), seen]).await;
    assert_eq!(runs.usage().await, usage);
}

async fn replays_and_chains(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, _) = runs.halves(&ground, 1, 1);
    let first = node.next(vec![receipt]);
    node.submit(first.receipts.iter().map(|receipt| NodeReceipt::clone(receipt)).collect()).await;
    let again = node.send(&first).await;
    assert_eq!(again.read::<CheckpointAck>().sequence, 1, "a replay is acknowledged");
    let gap = Checkpoint::sign(node.node, 3, first.digest, vec![], &node.key);
    assert_eq!(node.send(&gap).await.code(), Code::PreconditionFailed);
    let fork = Checkpoint::sign(node.node, 2, Digest([9; 32]), vec![], &node.key);
    assert_eq!(node.send(&fork).await.code(), Code::PreconditionFailed);
    let forged = Checkpoint::sign(node.node, 2, first.digest, vec![], &SigningKey::from_bytes(&[8; 32]));
    assert_eq!(node.send(&forged).await.code(), Code::InvalidField);
    let foreign = Checkpoint::sign(NodeId::new(), 2, first.digest, vec![], &node.key);
    assert_eq!(node.send(&foreign).await.code(), Code::InvalidField);
    // After a restart of the node it goes on where the platform is.
    let mut restarted = Signer::hello(&ground).await;
    assert_eq!((restarted.sequence, restarted.last), (1, first.digest));
    restarted.submit(vec![]).await;
}

async fn forged_receipts(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (mut other_run, _) = runs.halves(&ground, 1, 1);
    other_run.run = RunId::new();
    let (mut garbage, _) = runs.halves(&ground, 1, 1);
    garbage.ticket = protocol::ticket::SignedTicket("a.b".to_owned());
    let (good, seen) = runs.halves(&ground, 1, 1);
    node.submit(vec![other_run, garbage, good]).await;
    let list: Page<Invocation> = runs.client.get("/invocations").await.read();
    assert_eq!(list.items.iter().map(|run| run.run).collect::<Vec<_>>(), [seen.run], "only the permitted one");
    let nobody = as_node(crate::api::nodes::receipt(ground.app.clone()), NodeId::new());
    let answer =
        nobody.send(Method::POST, "/checkpoints", Some(serde_json::to_value(node.next(vec![])).unwrap())).await;
    assert_eq!(answer.code(), Code::NotFound);
    let core = Client::new(crate::api::nodes::receipt(ground.app.clone()));
    assert_eq!(core.send(Method::POST, "/checkpoints", Some(json!({}))).await.code(), Code::Forbidden);
}

pub(crate) fn later(seconds: i64) -> Timestamp {
    Timestamp(Timestamp::now().0 + seconds * 1000)
}

async fn one_half_only(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (greedy, _) = runs.halves(&ground, u64::MAX / 4, 0);
    let (_, seen) = runs.halves(&ground, 700, 900);
    let run = greedy.run;
    node.submit(vec![greedy]).await;
    observe(&ground, std::slice::from_ref(&seen)).await;
    crate::settlement::sweep_once(&ground.app, later(30), false).await.unwrap();
    assert_eq!(runs.usage().await.runs, 0, "it is not yet time");
    crate::settlement::sweep_once(&ground.app, later(61), false).await.unwrap();
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.flagged), (2, 2));
    assert_eq!(runs.run(run).await.usage.wall_us, Limits::default().timeout.0 * 1000, "at most what was allowed");
    assert_eq!(runs.run(seen.run).await.usage.wall_us, 900);
}

/// All that a node can say at once, as much as can be written.
const MOST: Usage = Usage {
    wall_us: u64::MAX,
    cpu_us: u64::MAX,
    fuel: Some(u64::MAX),
    memory_peak: ByteSize(u64::MAX),
    bytes_in: ByteSize(u64::MAX),
    bytes_out: ByteSize(u64::MAX),
    egress_bytes: ByteSize(u64::MAX),
};

async fn a01_figures_of_nodes_are_bounded(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let most = |(mut receipt, mut seen): (NodeReceipt, Observation)| {
        receipt.end.usage = MOST;
        receipt.started = Timestamp(253_402_300_799_999);
        seen.end = Some(receipt.end.clone());
        (receipt, seen)
    };
    // Only the `end`; only the receipt; both, in either order; both, and the gateway does not say what was allowed.
    let (_, ended) = most(runs.halves(&ground, 0, 2000));
    let (claimed, _) = most(runs.halves(&ground, 0, 2000));
    let (first, first_seen) = most(runs.halves(&ground, 0, 2000));
    let (second, second_seen) = most(runs.halves(&ground, 0, 2000));
    let (old, mut old_seen) = most(runs.halves(&ground, 0, 2000));
    old_seen.limits = None;
    node.submit(vec![claimed.clone(), first]).await;
    observe(&ground, &[ended.clone(), first_seen.clone(), second_seen.clone(), old_seen.clone()]).await;
    node.submit(vec![second, old]).await;
    crate::settlement::sweep_once(&ground.app, later(61), true).await.unwrap();

    let limits = Limits::default();
    let all = [ended.run, claimed.run, first_seen.run, second_seen.run, old_seen.run];
    for run in all {
        let run = runs.run(run).await;
        let wall_max = if run.run == claimed.run { limits.timeout.0 * 1000 } else { 2000 };
        assert!(run.settled && run.received <= later(11), "{run:?}");
        assert!(run.usage.wall_us <= wall_max && run.usage.cpu_us <= run.usage.wall_us, "{run:?}");
        assert!(run.usage.memory_peak <= limits.memory, "{run:?}");
        assert!(run.usage.bytes_in <= limits.body && run.usage.bytes_out <= limits.body, "{run:?}");
        assert!(run.usage.egress_bytes <= limits.egress_bytes, "{run:?}");
    }
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.flagged), (5, 5));
    assert_eq!(usage.wall_us, 4 * 2000 + limits.timeout.0 * 1000);
}

async fn a01_sums_stop_at_their_end(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let settle = async |node: &mut Signer| {
        let (receipt, seen) = runs.halves(&ground, 1000, 1000);
        observe(&ground, std::slice::from_ref(&seen)).await;
        node.submit(vec![receipt]).await;
    };
    settle(&mut node).await;
    let full = format!("UPDATE usage_sums SET wall_us = {0}, cpu_us = {0}, bytes_in = {0} - 5", i64::MAX);
    ground.app.db.write().execute_unprepared(&full).await.unwrap();
    settle(&mut node).await;
    settle(&mut node).await;
    let usage = runs.usage().await;
    assert_eq!(usage.runs, 3);
    assert!(usage.wall_us >= i64::MAX as u64 && usage.bytes_in.0 >= i64::MAX as u64 - 5, "{usage:?}");
    // A second day that is as full: their sum is beyond what the database can say.
    let columns = "id, function_id, version_number, lane, source, principal, status, folded, runs, succeeded, failed, \
         timed_out, cancelled, platform_failed, flagged, warm, cached, cold, wall_us, cpu_us, memory_kib_ms, \
         reserved_cpu_us, reserved_memory_kib_ms, bytes_in, bytes_out, egress_bytes, latency";
    for ms in [86_400_000_i64, 100 * 86_400_000] {
        let copy = format!(
            "INSERT INTO usage_sums (account_id, span, began, {columns}) \
             SELECT account_id, span, began - {ms}, {columns} FROM usage_sums WHERE span = 86400"
        );
        ground.app.db.write().execute_unprepared(&copy).await.unwrap();
    }
    assert!(runs.usage().await.wall_us >= usage.wall_us);
}

async fn a08_late_halves(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    // The gateway's half is late: it can only lower the bill, and the flag stays.
    let (receipt, seen) = runs.halves(&ground, 5000, 3000);
    node.submit(vec![receipt]).await;
    crate::settlement::sweep_once(&ground.app, later(61), true).await.unwrap();
    assert_eq!((runs.usage().await.wall_us, runs.usage().await.flagged), (5000, 1));
    observe(&ground, std::slice::from_ref(&seen)).await;
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.wall_us, usage.flagged), (1, 3000, 1), "the sums are corrected");
    assert_eq!(runs.run(seen.run).await.status, 200);
    crate::settlement::sweep_once(&ground.app, later(61), true).await.unwrap();
    let rows = block_rows::Entity::find().all(ground.app.db.read()).await.unwrap();
    assert_eq!(rows.len(), 2, "and the correction is in a block of its own");

    // The receipt is late: it changes nothing.
    let (mut receipt, seen) = runs.halves(&ground, 900, 3000);
    receipt.end.usage.memory_peak = ByteSize::mib(64);
    observe(&ground, std::slice::from_ref(&seen)).await;
    crate::settlement::sweep_once(&ground.app, later(61), true).await.unwrap();
    let (run, usage) = (runs.run(seen.run).await, runs.usage().await);
    assert_eq!((run.usage.memory_peak, usage.flagged), (ByteSize::mib(1), 2));
    node.submit(vec![receipt]).await;
    assert_eq!((runs.run(seen.run).await, runs.usage().await), (run, usage));
}

/// A half that comes once more when its run is forgotten begins no second bill.
async fn a08_forgotten_runs(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, seen) = runs.halves(&ground, 10, 10);
    node.submit(vec![receipt.clone()]).await;
    observe(&ground, std::slice::from_ref(&seen)).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let (newer, newer_seen) = runs.halves(&ground, 10, 10);
    observe(&ground, std::slice::from_ref(&newer_seen)).await;
    crate::settlement::sweep_once(&ground.app, Timestamp::now(), true).await.unwrap();
    crate::settlement::forget(&ground.app.db, newer.run).await.unwrap();
    assert_eq!(runs.client.get(&format!("/invocations/{}", seen.run)).await.code(), Code::NotFound);
    node.submit(vec![receipt]).await;
    observe(&ground, std::slice::from_ref(&seen)).await;
    crate::settlement::sweep_once(&ground.app, later(61), true).await.unwrap();
    assert_eq!(runs.client.get(&format!("/invocations/{}", seen.run)).await.code(), Code::NotFound);
    node.submit(vec![newer]).await;
    assert_eq!(runs.usage().await.runs, 2, "each once");
}

async fn a09_words_that_differ(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    for claim_first in [true, false] {
        let (mut receipt, seen) = runs.halves(&ground, 20_000, 30_000);
        receipt.end.usage.cpu_us *= 30;
        receipt.end.usage.memory_peak.0 *= 64;
        if claim_first {
            node.submit(vec![receipt.clone()]).await;
        }
        observe(&ground, std::slice::from_ref(&seen)).await;
        if !claim_first {
            node.submit(vec![receipt]).await;
        }
        let run = runs.run(seen.run).await;
        assert_eq!((run.settled, run.usage.cpu_us, run.usage.memory_peak), (true, 500, ByteSize::mib(1)));
    }
    assert_eq!(runs.usage().await.flagged, 2);
}

/// What a node of a later release adds is signed with the rest, and passed over; what must be understood is refused.
async fn f35_receipts_of_a_later_release(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, seen) = runs.halves(&ground, 1000, 1000);
    let with = |field: &str| {
        let mut json = serde_json::to_value(&receipt).unwrap();
        json["end"]["usage"][field] = 7.into();
        serde_json::from_str::<Written<NodeReceipt>>(&json.to_string())
    };
    let refused = with("!gpu_us").unwrap_err().to_string();
    assert!(refused.contains("`end.usage.!gpu_us` must be understood"), "{refused}");
    let later = Checkpoint::sign_written(node.node, 1, node.last, vec![with("gpu_us").unwrap()], &node.key);
    let text = serde_json::to_string(&later).unwrap();
    assert!(text.contains("gpu_us"));
    let critical = text.replace("gpu_us", "!gpu_us");
    let answer = node.receipts.raw(Method::POST, "/checkpoints", critical.into_bytes()).await;
    assert_eq!(answer.code(), Code::NotUnderstood);
    assert_eq!(node.send(&later).await.status, StatusCode::OK);
    (node.sequence, node.last) = (later.sequence, later.digest);

    // So it is with what gateways saw: also a reason that this release does not know.
    let mut json = serde_json::to_value([&seen]).unwrap();
    json[0]["later"] = 7.into();
    json[0]["placement"] =
        json!({"policy": "later", "candidates": [], "waited_ms": 1, "refused": [{"why": "later", "nodes": 1}]});
    let post = async |json: &serde_json::Value| {
        ground.anonymous().send(Method::POST, "/internal/observations", Some(json.clone())).await
    };
    json[0]["!later"] = 7.into();
    assert_eq!(post(&json).await.code(), Code::NotUnderstood);
    json[0].as_object_mut().unwrap().remove("!later");
    assert_eq!(post(&json).await.status, StatusCode::NO_CONTENT);
    let run = runs.run(seen.run).await;
    let placement = run.placement.as_ref().unwrap();
    assert!(placement.policy == "later" && placement.refused.is_empty(), "{placement:?}");
    assert!(run.settled && runs.usage().await.flagged == 0, "{run:?}");

    // What users write stays strict.
    let asked = json!({"artifact": runs.version.artifact, "limits": {"memory": "64MiB", "gpus": 1}});
    assert_eq!(runs.client.post("/functions/hello/versions", asked).await.code(), Code::InvalidField);
}

async fn f40_what_prepares_opens_no_more_than_that(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let env = "UPDATE versions SET env = '{\"COLOUR\":\"green\"}', egress = '[\"example.org\"]'";
    ground.app.db.write().execute_unprepared(env).await.unwrap();
    let run = runs.permission(RunId::new());
    let prepare = Ticket { purpose: Purpose::Prepare, ..runs.permission(RunId::new()) };
    let get = async |ticket: &Ticket, path: &str| {
        let blobs = as_node(crate::api::nodes::blob(ground.app.clone()), ground.node);
        let signed = ground.app.tickets.issue(ticket);
        blobs.with(protocol::headers::TICKET, &signed.0).send(Method::GET, path, None).await
    };
    let spec = format!("/versions/{}", run.version);
    let artifact = format!("/artifacts/{}", run.artifact);
    let full: VersionSpec = get(&run, &spec).await.read();
    assert_eq!((full.env.len(), full.egress.len()), (1, 1));
    let bare: VersionSpec = get(&prepare, &spec).await.read();
    assert_eq!((bare.env.len(), bare.egress.len(), bare.artifact), (0, 0, full.artifact), "what a run finds around it");
    assert_eq!(get(&prepare, &artifact).await.body, "an artifact");

    // A run may fetch as long as it lasts; what prepares ends with its ticket.
    let past = |ticket: &Ticket, seconds: i64| Ticket { expires: later(-seconds), ..ticket.clone() };
    assert_eq!(get(&past(&run, 5), &artifact).await.status, StatusCode::OK);
    for (ticket, path) in [(past(&prepare, 5), &artifact), (past(&prepare, 5), &spec), (past(&run, 31), &artifact)] {
        assert_eq!(get(&ticket, path).await.code(), Code::Forbidden);
    }

    // No line of a log, and no bill.
    let log = |ticket: &Ticket| {
        let line = LogLine {
            run: ticket.run,
            sequence: 0,
            at: Timestamp(253_402_300_799_999),
            stream: LogStream::Stdout,
            text: "hello".to_owned(),
        };
        serde_json::to_value([RunLog { run: ticket.run, ticket: ground.app.tickets.issue(ticket), lines: vec![line] }])
    };
    let logs = as_node(crate::api::nodes::log(ground.app.clone()), ground.node);
    for ticket in [&run, &prepare, &past(&runs.permission(RunId::new()), 1000)] {
        assert_eq!(logs.send(Method::POST, "/logs", Some(log(ticket).unwrap())).await.status, StatusCode::NO_CONTENT);
    }
    let lines = run_logs::Entity::find().all(ground.app.db.read()).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.run_id.0).collect::<Vec<_>>(), [run.run]);
    assert!(lines[0].at.0 <= later(0), "a01: a node's clock decides nothing");
    let (mut receipt, _) = runs.halves(&ground, 1, 1);
    (receipt.run, receipt.ticket) = (prepare.run, ground.app.tickets.issue(&prepare));
    node.submit(vec![receipt]).await;
    assert_eq!(runs.client.get(&format!("/invocations/{}", prepare.run)).await.code(), Code::NotFound);
}

async fn no_node(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let (_, mut seen) = runs.halves(&ground, 0, 100);
    (seen.node, seen.end, seen.outcome, seen.status) = (None, None, Outcome::PlatformFailed, 503);
    seen.code = Some(Code::NoNode);
    observe(&ground, std::slice::from_ref(&seen)).await;
    let run = runs.run(seen.run).await;
    assert!(run.settled && run.usage == Usage::default());
    assert_eq!(run.code, Some(Code::NoNode));
    assert_eq!(runs.usage().await.platform_failed, 1);
}

/// Gateways and nodes at the same time, batches that overlap: each run counts once.
async fn many_runs(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let halves: Vec<_> = (0..2048).map(|_| runs.halves(&ground, 7, 7)).collect();
    let seen: Vec<_> = halves.iter().map(|(_, seen)| seen.clone()).collect();
    let begun = std::time::Instant::now();
    let gateways = async {
        for batch in seen.chunks(500) {
            observe(&ground, batch).await;
        }
    };
    let nodes = async {
        for batch in halves.chunks(Checkpoint::RECEIPTS_MAX) {
            node.submit(batch.iter().map(|(receipt, _)| receipt.clone()).collect()).await;
        }
    };
    tokio::join!(gateways, nodes, observe(&ground, &seen[100..900]));
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.wall_us, usage.flagged), (2048, 2048 * 7, 0));
    eprintln!("2048 runs settled in {:?}", begun.elapsed());
}

async fn lists(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let mut seen: Vec<_> = (0..5).map(|_| runs.halves(&ground, 1, 1).1).collect();
    seen[1].outcome = Outcome::Failed;
    observe(&ground, &seen).await;
    let all: Page<Invocation> = runs.client.get("/invocations?function=hello&limit=3").await.read();
    assert_eq!(all.items.iter().map(|run| run.run).collect::<Vec<_>>(), [seen[4].run, seen[3].run, seen[2].run]);
    let cursor = all.next.unwrap();
    let rest: Page<Invocation> = runs.client.get(&format!("/invocations?cursor={cursor}")).await.read();
    assert_eq!(rest.items.len(), 2);
    let failed: Page<Invocation> = runs.client.get("/invocations?outcome=failed").await.read();
    assert_eq!(failed.items.len(), 1);
    assert_eq!(runs.client.get("/invocations?outcome=odd").await.code(), Code::InvalidRequest);
    assert_eq!(runs.client.get("/invocations?function=none").await.code(), Code::FunctionNotFound);
    let eve = ground.user("eve@example.org", "eve").await;
    assert_eq!(eve.get(&format!("/invocations/{}", seen[0].run)).await.code(), Code::NotFound);
    assert_eq!(eve.get(&format!("/invocations/{}/logs", seen[0].run)).await.code(), Code::NotFound);
    assert_eq!(eve.get("/invocations").await.read::<Page<Invocation>>().items, []);
}
