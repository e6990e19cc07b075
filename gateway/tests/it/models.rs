//! Placements by a model: from the store, swapped while calls go on, left where it is old or wrong.

use std::time::Duration;

use async_nats::jetstream;
use fabric::subjects;
use protocol::model::ModelRecord;
use protocol::placement::Explanation;
use protocol::{ByteSize, Digest, Lane, NodeId, Timestamp, VersionId};
use scheduler::{Finished, Snapshot, Warmth};

use crate::node::echo;
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
        let stored = self.store.put_bytes(snapshot.encode().unwrap().into()).await.unwrap();
        let record = ModelRecord {
            v: ModelRecord::VERSION,
            version,
            digest: stored.digest,
            root: stored.root,
            size: stored.size,
            trained: Timestamp::now(),
            runs: snapshot.runs,
            error: snapshot.error,
            previous: None,
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

    /// Calls until placements are made so.
    async fn until_placed_by(&self, path: &str, policy: &str) -> (Explanation, Option<NodeId>) {
        let mut last = None;
        for _ in 0..60 {
            let placed = self.placed(path).await;
            if placed.0.policy == policy {
                return placed;
            }
            last = Some(placed);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never placed by `{policy}`: {last:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_taken_up_swapped_and_left_when_it_is_wrong() {
    let platform = Platform::start().await;
    let (slow, fast) = (platform.node(echo).await, platform.node(echo).await);
    let route = platform.deploy("hello", |_| {}).await;
    let version = route.versions[&1].version;

    // There is none: as ever, and said so.
    let (why, node) = platform.placed("/f/ada/hello/").await;
    assert_eq!((why.policy.as_ref(), why.candidates.len(), why.waited_ms), ("fallback", 2, 0));
    assert!(why.candidates.iter().all(|candidate| candidate.predicted_us.is_none()));
    assert_eq!(node, Some(why.candidates[0].node));

    let record = platform.publish_model(&trained(version, fast.id, slow.id, Timestamp::now()), 1).await;
    let (why, node) = platform.until_placed_by("/f/ada/hello/", "learned").await;
    assert_eq!(node, Some(fast.id));
    let predicted: Vec<u64> = why.candidates.iter().map(|candidate| candidate.predicted_us.unwrap()).collect();
    assert!((4_000..12_000).contains(&predicted[0]), "7 ms are predicted as {predicted:?} us");
    assert!(predicted[1] * 2 > predicted[0] * 3, "20 ms are predicted as {predicted:?} us");

    // One that the store does not have, and one that is not what the record says: the last good one stays.
    platform
        .publish_record(&ModelRecord { version: 2, root: Digest([9; 32]), digest: Digest([8; 32]), ..record })
        .await;
    platform.publish_record(&ModelRecord { version: 3, digest: Digest([7; 32]), ..record }).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(platform.placed("/f/ada/hello/").await.0.policy, "learned");

    // The other way round: swapped, without a call that fails.
    platform.publish_model(&trained(version, slow.id, fast.id, Timestamp::now()), 4).await;
    let mut swapped = false;
    for _ in 0..60 {
        let (why, node) = platform.placed("/f/ada/hello/").await;
        assert_eq!(why.policy, "learned");
        swapped = node == Some(slow.id);
        if swapped {
            break;
        }
    }
    assert!(swapped, "the new model is never gone by");

    // The nodes' stand-ins claim to take no time at all: nothing that was learned holds.
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
