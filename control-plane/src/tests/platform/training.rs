//! The scheduler's model, on a real nats-server: trained from what gateways saw, published, replaced.

use std::time::Duration;

use fabric::subjects::MODELS_BUCKET;
use http::{Method, StatusCode};
use protocol::api::{Invocation, Page, Version};
use protocol::model::ModelRecord;
use protocol::placement::{Considered, Explanation, Refusal, RefusedNodes, Warmth};
use protocol::receipt::{Observation, Outcome, RunEnd, Usage};
use protocol::{AccountId, ByteSize, Digest, FunctionId, InstanceId, Lane, NodeId, RunId, Timestamp};
use scheduler::Snapshot;

use super::Platform;
use crate::objects::moving;
use crate::routes_outbox::bucket;
use crate::tests::harness::Ground;
use crate::training::{Turn, once};

struct Seen {
    account: AccountId,
    function: FunctionId,
    version: Version,
    nodes: [NodeId; 2],
}

impl Seen {
    /// A run of 20 ms on the first node, and of 10 ms on the second.
    fn run(&self, nth: u64) -> Observation {
        let on = usize::from(nth % 2 == 1);
        let wall_us = [20_000, 10_000][on] + nth % 1_000;
        let usage = Usage { wall_us, cpu_us: wall_us, ..Usage::default() };
        let end = RunEnd {
            outcome: Outcome::Succeeded,
            code: None,
            detail: None,
            usage,
            warm: true,
            cached: false,
            running: 1,
        };
        Observation {
            run: RunId::new(),
            gateway: InstanceId::new(),
            account: self.account,
            function: self.function,
            version: self.version.id,
            version_number: self.version.number,
            node: Some(self.nodes[on]),
            lane: Lane::Wasm,
            received: Timestamp::now(),
            head_us: wall_us,
            wall_us: wall_us + 500,
            outcome: Outcome::Succeeded,
            status: 200,
            code: None,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            bytes_in: ByteSize(100),
            bytes_out: ByteSize(1),
            end: Some(end),
            placement: None,
            job: None,
            limits: None,
            source: None,
            principal: None,
        }
    }
}

async fn observe(ground: &Ground, seen: &[Observation]) {
    let body = serde_json::to_value(seen).unwrap();
    let answer = ground.anonymous().send(Method::POST, "/internal/observations", Some(body)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
}

fn trained(turn: Turn) -> ModelRecord {
    match turn {
        Turn::Trained(record) => record,
        other => panic!("no model: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f42_a_model_is_replaced_and_old_ones_go() {
    let platform = Platform::start(None).await;
    let (ground, app) = (&platform.ground, &platform.ground.app);
    let client = ground.user("ada@example.org", "ada").await;
    let (function, version) = ground.function(&client, "hello").await;
    let account = client.account().await;
    let seen = Seen { account, function, version, nodes: [ground.node, NodeId::new()] };
    let context = bucket::context(app.fabrics.as_ref().unwrap().core.nats());
    let models = bucket::open(&context, MODELS_BUCKET, 1).await.unwrap();
    let now = Timestamp::now();
    let later = |turns: u32| now.plus(app.config.train_every.duration() * turns + Duration::from_secs(60));

    let few: Vec<Observation> = (0..50).map(|nth| seen.run(nth)).collect();
    observe(ground, &few).await;
    assert_eq!(once(app, &models, now).await.unwrap(), Turn::Rested, "too few runs");
    assert_eq!(models.get(ModelRecord::KEY).await.unwrap(), None);

    let more: Vec<Observation> = (0..400).map(|nth| seen.run(nth)).collect();
    observe(ground, &more).await;
    let first = trained(once(app, &models, now).await.unwrap());
    let stored = models.get(ModelRecord::KEY).await.unwrap().unwrap();
    // Read again, a figure of it may differ in the last digit.
    assert_eq!(stored, serde_json::to_vec(&first).unwrap());
    assert_eq!(first.runs, 450);
    let bytes = app.store.get(&first.blob).await.unwrap().collect(ByteSize::mib(64)).await.unwrap();
    assert_eq!(Digest::of(&bytes), first.blob.digest);
    let model = Snapshot::decode(&bytes).unwrap();
    assert_eq!(model.runs, 450);
    assert!(model.knows_node(ground.node) && !model.knows_node(seen.nodes[1]), "that one is on record no more");

    assert_eq!(once(app, &models, now).await.unwrap(), Turn::Rested, "it is not yet time");
    let mut versions = vec![first];
    for turn in 1..=3 {
        let more: Vec<Observation> = (0..300).map(|nth| seen.run(nth)).collect();
        observe(ground, &more).await;
        // What was trained in the future of these runs has all of them before it.
        let record = ModelRecord { trained: now, ..versions.last().unwrap().clone() };
        models.put(ModelRecord::KEY, serde_json::to_vec(&record).unwrap().into()).await.unwrap();
        versions.push(trained(once(app, &models, later(turn)).await.unwrap()));
    }
    assert!(versions.is_sorted_by(|one, next| one.version < next.version));
    // Gateways may still be reading the ones before the last.
    let kept = moving::left_after_sweeps(app).await;
    let kept: Vec<bool> = versions.iter().map(|record| kept.contains(&record.blob.id)).collect();
    assert_eq!(kept, [false, true, true, true]);
    let newest = &versions[3].blob;
    assert!(app.store.get(newest).await.unwrap().collect(ByteSize::mib(64)).await.is_ok());
    // What an earlier release has put is no model for this one: it is replaced when its time has come.
    let earlier = serde_json::json!({"v": 1, "version": 9, "root": Digest([1; 32])});
    models.put(ModelRecord::KEY, earlier.to_string().into()).await.unwrap();
    assert!(trained(once(app, &models, later(4)).await.unwrap()).version > versions[3].version);
    platform.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_says_why_it_went_where_it_went() {
    let ground = Ground::sqlite().await;
    let client = ground.user("ada@example.org", "ada").await;
    let (function, version) = ground.function(&client, "hello").await;
    let account = client.account().await;
    let seen = Seen { account, function, version, nodes: [ground.node, NodeId::new()] };
    let explanation = Explanation {
        policy: "learned".into(),
        candidates: vec![Considered {
            node: ground.node,
            warmth: Warmth::Warm,
            running: 2,
            predicted_us: Some(20_100),
            predicted_failure_permille: Some(4),
        }],
        refused: vec![RefusedNodes { why: Refusal::NoMemory, nodes: 3, agreed: None }],
        waited_ms: 12,
    };
    let run = Observation { placement: Some(explanation.clone()), ..seen.run(0) };
    observe(&ground, std::slice::from_ref(&run)).await;
    let shown: Invocation = client.get(&format!("/invocations/{}", run.run)).await.read();
    assert_eq!(shown.placement, Some(explanation));
    let listed: Page<Invocation> = client.get("/invocations").await.read();
    assert_eq!(listed.items[0].placement, None, "lists are brief");
}
