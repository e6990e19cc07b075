//! Placements by a model: from the store, swapped while calls go on, left where it is old or wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use fabric::{Body, subjects};
use futures::future::BoxFuture;
use http::{Request, Response};
use protocol::model::ModelRecord;
use protocol::placement::Explanation;
use protocol::receipt::{Outcome, Usage};
use protocol::{Blob, BlobId, ByteSize, Digest, Epoch, Lane, NodeId, Timestamp, VersionId};
use scheduler::{Finished, Snapshot, Warmth};

use crate::node::{claim_usage, echo, text};
use crate::platform::Platform;

/// What was seen of a version: 20 ms, or a third of it on the fast one of the two nodes.
fn history(version: VersionId, fast: NodeId, slow: NodeId) -> Vec<Finished> {
    let run = |nth: u64| {
        let (node, wall_us) = if nth.is_multiple_of(2) { (fast, 7_000) } else { (slow, 20_000) };
        let wall = Duration::from_micros(wall_us + nth * 37 % 1_000);
        Finished { version, input: ByteSize(0), node, lane: Lane::Wasm, warmth: Warmth::Warm, wall, failed: false }
    };
    (0..600).map(run).collect()
}

fn trained(version: VersionId, fast: NodeId, slow: NodeId, at: Timestamp) -> Snapshot {
    let at = Duration::from_millis(u64::try_from(at.0).unwrap());
    Snapshot::train(&history(version, fast, slow), at).unwrap()
}

impl Platform {
    /// As the control plane does it.
    async fn publish_model(&self, snapshot: &Snapshot, version: u64) -> ModelRecord {
        let blob = self.store.put_bytes(Epoch(1), snapshot.encode().unwrap().into()).await.unwrap();
        let record = ModelRecord {
            v: ModelRecord::VERSION,
            version,
            blob,
            trained: Timestamp::now(),
            runs: snapshot.runs,
            error: snapshot.error,
        };
        self.publish_record(&record).await;
        record
    }

    async fn publish_record(&self, record: &ModelRecord) {
        let bucket = jetstream::new(self.core.nats().clone()).get_key_value(subjects::MODELS_BUCKET).await.unwrap();
        bucket.put(ModelRecord::KEY, serde_json::to_vec(record).unwrap().into()).await.unwrap();
    }

    /// Calls the function once; says why it went where it went.
    async fn placed(&self, path: &str) -> (Explanation, Option<NodeId>) {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = self.observation(&answer).await;
        (seen.placement.expect("each run says why"), seen.node)
    }

    /// Calls until a run is placed like that. On a busy machine not every run is: a call that took long makes its node
    /// seem far away, a late report makes it silent.
    async fn until_placed(&self, path: &str, like: impl Fn(&Explanation, Option<NodeId>) -> bool) -> Explanation {
        let mut last = None;
        for _ in 0..150 {
            let (why, node) = self.placed(path).await;
            if like(&why, node) {
                return why;
            }
            last = Some((why, node));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("never placed like that: {last:?}");
    }

    /// Calls until placements are made so.
    async fn until_placed_by(&self, path: &str, policy: &str) -> Explanation {
        self.until_placed(path, |why, _| why.policy == policy).await
    }
}

/// How long the run was predicted to take on this node.
fn predicted(why: &Explanation, node: NodeId) -> u64 {
    let considered = why.candidates.iter().find(|candidate| candidate.node == node).unwrap();
    considered.predicted_us.unwrap()
}

/// Takes so many microseconds, and says how long it was. Without any it claims to take no time at all.
fn taking(pace: &Arc<AtomicU64>) -> impl Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Clone + use<> {
    let pace = Arc::clone(pace);
    move |request| {
        let (begun, pause) = (Instant::now(), Duration::from_micros(pace.load(Ordering::Relaxed)));
        Box::pin(async move {
            let mut usage = Usage::default();
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
                usage.wall_us = u64::try_from(begun.elapsed().as_micros()).unwrap();
            }
            claim_usage(&request, Outcome::Succeeded, usage);
            text("done")
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_taken_up_swapped_and_left_when_it_is_wrong() {
    let platform = Platform::start().await;
    let (slow_pace, fast_pace) = (Arc::new(AtomicU64::new(20_000)), Arc::new(AtomicU64::new(7_000)));
    let (slow, fast) = (platform.node(taking(&slow_pace)).await, platform.node(taking(&fast_pace)).await);
    let route = platform.deploy("hello", |_| {}).await;
    let version = route.versions[&1].version;

    // There is none: as ever, and said so.
    let on_the_first = |why: &Explanation, node: Option<NodeId>| {
        why.candidates.len() == 2 && why.waited_ms == 0 && node == Some(why.candidates[0].node)
    };
    let why = platform.until_placed("/f/ada/hello/", on_the_first).await;
    assert_eq!(why.policy, "fallback");
    assert!(why.candidates.iter().all(|candidate| candidate.predicted_us.is_none()));

    let record = platform.publish_model(&trained(version, fast.id, slow.id, Timestamp::now()), 1).await;
    platform.until_placed_by("/f/ada/hello/", "learned").await;
    let why =
        platform.until_placed("/f/ada/hello/", |why, node| why.candidates.len() == 2 && node == Some(fast.id)).await;
    assert_eq!(why.policy, "learned");
    let (on_fast, on_slow) = (predicted(&why, fast.id), predicted(&why, slow.id));
    assert!((4_000..12_000).contains(&on_fast), "7 ms are predicted as {on_fast} us");
    assert!(on_slow * 2 > on_fast * 3, "20 ms are predicted as {on_slow} us");

    // One that the store does not have, and one that is not what the record says: the last good one stays.
    let missing = Blob { id: BlobId::new(Epoch(1), [9; 12]), digest: Digest([8; 32]), ..record.blob.clone() };
    platform.publish_record(&ModelRecord { version: 2, blob: missing, ..record.clone() }).await;
    let other = Blob { digest: Digest([7; 32]), ..record.blob.clone() };
    platform.publish_record(&ModelRecord { version: 3, blob: other, ..record }).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(platform.placed("/f/ada/hello/").await.0.policy, "learned");

    // The other way round: swapped, without a call that fails.
    slow_pace.store(7_000, Ordering::Relaxed);
    fast_pace.store(20_000, Ordering::Relaxed);
    platform.publish_model(&trained(version, slow.id, fast.id, Timestamp::now()), 4).await;
    let swapped = |why: &Explanation, node: Option<NodeId>| {
        assert_eq!(why.policy, "learned");
        why.candidates.len() == 2 && node == Some(slow.id)
    };
    // The old one may have sent a run there, too: near-equal nodes are chosen by chance, and far ones are avoided.
    let follows = |why: &Explanation, node| swapped(why, node) && predicted(why, slow.id) < predicted(why, fast.id);
    platform.until_placed("/f/ada/hello/", follows).await;

    // They claim to take no time at all: nothing that was learned holds.
    slow_pace.store(0, Ordering::Relaxed);
    fast_pace.store(0, Ordering::Relaxed);
    for _ in 0..260 {
        assert_eq!(platform.get("/f/ada/hello/").await.status, 200);
    }
    platform.until_placed_by("/f/ada/hello/", "fallback").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_is_too_old_is_not_gone_by() {
    let platform = Platform::start().await;
    let (slow, fast) = (platform.node(echo).await, platform.node(echo).await);
    let route = platform.deploy("hello", |_| {}).await;
    let version = route.versions[&1].version;
    let old = Timestamp(Timestamp::now().0 - 25 * 3_600_000);
    platform.publish_model(&trained(version, fast.id, slow.id, old), 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(platform.placed("/f/ada/hello/").await.0.policy, "fallback");
    platform.publish_model(&trained(version, fast.id, slow.id, Timestamp::now()), 2).await;
    platform.until_placed_by("/f/ada/hello/", "learned").await;
}

/// Where there is no node, the run says that too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_a_node_is_explained() {
    let platform = Platform::start_with(|config| config.place_within = protocol::Millis(100)).await;
    let _node = platform.node(echo).await;
    let vm = |route: &mut protocol::route::Route| route.versions.get_mut(&1).unwrap().lane = protocol::LaneChoice::Vm;
    platform.deploy("machine", vm).await;
    let answer = platform.get("/f/ada/machine/").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let why = platform.observation(&answer).await.placement.unwrap();
    assert!(why.candidates.is_empty());
    let refused: Vec<_> = why.refused.iter().map(|refused| (refused.why, refused.nodes)).collect();
    assert_eq!(refused, [(protocol::placement::Refusal::LaneMissing, 1)]);
}
