//! Committed forms. They are stored, or sent between parts of different versions: a test that fails here means that
//! an older part no longer understands. Add a form version instead; never rewrite a file.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sample;
use crate::batch::{BatchAck, BatchHead};
use crate::model::ModelRecord;
use crate::node::{DiskSegment, DiskSpace, Hello, NodeRecord, NodeReport};
use crate::placement::{Explanation, Placement, Warmth};
use crate::receipt::{Checkpoint, CheckpointAck, Observation, RunEnd, Usage};
use crate::{BlobId, ByteSize, Digest, Epoch, EpochId, NodeId};

/// The value is written as committed, and what is committed is read as the value.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(committed: &str, value: &T) {
    let written = serde_json::to_string_pretty(value).unwrap();
    assert_eq!(written, committed.trim_end(), "written otherwise than committed");
    assert_eq!(&serde_json::from_str::<T>(committed).unwrap(), value, "read otherwise than committed");
}

/// It is also read when a newer version has added a field.
fn check_open<T: Serialize + DeserializeOwned + PartialEq + Debug>(committed: &str, value: &T) {
    check(committed, value);
    let mut newer: serde_json::Value = serde_json::from_str(committed).unwrap();
    newer.as_object_mut().unwrap().insert("added_later".to_owned(), 1.into());
    assert_eq!(&serde_json::from_value::<T>(newer).unwrap(), value, "a field that was added later is refused");
}

macro_rules! golden {
    ($check:ident; $($test:ident: $value:expr;)*) => {$(
        #[test]
        fn $test() {
            $check(include_str!(concat!("golden/", stringify!($test), ".json")), &$value);
        }
    )*};
}

/// What an earlier release wrote means the same still: what it does not say has its default.
fn check_earlier<T: Serialize + DeserializeOwned + PartialEq + Debug>(committed: &str, value: &T) {
    assert_eq!(&serde_json::from_str::<T>(committed).unwrap(), value, "read otherwise than committed");
    assert_ne!(serde_json::to_string_pretty(value).unwrap(), committed.trim_end(), "it is what is written now");
}

// Before there was `egress_bytes` in limits.
golden! { check_earlier;
    route_v1: sample::route();
    version_spec_v1: sample::spec();
    limits_v1: crate::Limits::default();
    version_route_v1: sample::version_route(2);
    observation_of_job_v1: sample::of_job();
}

golden! { check_open;
    route_v2: sample::route();
    version_spec_v2: sample::spec();
    limits_v2: crate::Limits::default();
    version_route_v2: sample::version_route(2);
    observation_of_job_v2: sample::of_job();
    observation_of_trigger_v1: sample::of_trigger();
    receipt_v1: sample::receipt(1);
    observation_v1: sample::observation();
    node_report_v1: sample::report();
    node_record_v1: sample::record();
    node_record_v2: sample::trusted_record();
    hello_v1: sample::hello();
    hello_v2: Hello { keys: Some(sample::keys()), ..sample::hello() };
    hello_v3: Hello { keys: Some(sample::keys()), fingerprint: Some(sample::fingerprint()), ..sample::hello() };
    node_record_disks_v1: NodeRecord { disks: sample::disks(), ..sample::record() };
    hello_disks_v1: Hello { disks: sample::disks(), ..sample::hello() };
    hello_confined_v1: Hello { confinement: Some(sample::confinement()), ..sample::hello() };
    node_report_lists_v1: NodeReport { warm: Vec::new(), lists: Some(3), ..sample::report() };
    node_report_confined_v1: NodeReport { confinement: Some(sample::confinement()), ..sample::report() };
    platform_statement_v1: sample::platform_statement();
    registration_v1: sample::registration();
    node_request_v1: sample::node_request();
    token_query_v1: sample::token_query();
    token_terms_v1: sample::token_terms();
    admission_v1: sample::admission();
    hello_reply_v2: sample::hello_reply();
    issuer_keys_v1: sample::issuer_keys();
    grant_v1: sample::grant();
    control_pulse_v1: sample::control_pulse();
    gateway_pulse_v1: sample::gateway_pulse();
    placement_v1: sample::placement();
    observation_explained_v1: sample::explained();
    model_record_v2: sample::model();
    run_end_v1: sample::run_end();
    run_end_v2: RunEnd { usage: Usage { egress_bytes: ByteSize(4096), ..sample::run_end().usage }, ..sample::run_end() };
    checkpoint_v1: sample::checkpoint();
    checkpoint_ack_v1: CheckpointAck { sequence: 12 };
    batch_ack_v1: BatchAck { committed: 12, void: 1 };
    node_report_full_v1: sample::full_report();
    node_report_paused_v1: sample::paused_report();
    disk_space_v1: DiskSpace { free: ByteSize(5), total: ByteSize(9) };
    disk_segment_v1: DiskSegment { blob: BlobId::new(Epoch(7), [3; 12]), number: 2, size: ByteSize(4_195_336) };
    prepared_v1: sample::prepared();
    run_log_v1: sample::run_log();
}

/// The model of the release before lies where this one does not look.
#[test]
fn an_earlier_models_record_is_none() {
    assert_eq!(ModelRecord::read(include_bytes!("golden/model_record_v1.json")), Ok(None));
    let record = include_bytes!("golden/model_record_v2.json");
    assert_eq!(ModelRecord::read(record), Ok(Some(sample::model())));
    assert!(ModelRecord::read(b"{\"v\":2}").is_err() && ModelRecord::read(b"?").is_err());
}

/// Fields that came later are left out where an earlier part would have said nothing, and are read back.
#[test]
fn what_a_node_has_on_disk() {
    let mut placement = sample::placement();
    let candidate = &mut placement.ranked[0];
    (candidate.warmth, candidate.distance_s, candidate.predicted_failure) = (Warmth::Cached, Some(0.25), Some(0.5));
    let json = serde_json::to_value(&placement).unwrap();
    let written = &json["ranked"][0];
    assert_eq!((&written["warm"], &written["cached"]), (&false.into(), &true.into()));
    assert_eq!((&written["distance_s"], &written["predicted_failure"]), (&0.25.into(), &0.5.into()));
    assert_eq!(serde_json::from_value::<Placement>(json).unwrap(), placement);
    let kept = placement.explain(std::time::Duration::ZERO);
    assert_eq!(kept.candidates[0].predicted_failure_permille, Some(500));
    assert_eq!(serde_json::from_value::<Explanation>(serde_json::to_value(&kept).unwrap()).unwrap(), kept);

    let end = RunEnd { warm: false, cached: true, ..sample::run_end() };
    assert_eq!(serde_json::from_value::<RunEnd>(serde_json::to_value(&end).unwrap()).unwrap().warmth(), Warmth::Cached);
    let report = NodeReport { cached: vec![Digest::of(b"on disk")], ..sample::report() };
    assert_eq!(serde_json::from_value::<NodeReport>(serde_json::to_value(&report).unwrap()).unwrap(), report);
}

/// A pause for a reason of a later release is a pause all the same.
#[test]
fn reasons_of_a_later_release_still_pause() {
    let mut json = serde_json::to_value(sample::paused_report()).unwrap();
    json["lending"]["paused"]["reason"] = "moon_phase".into();
    let report = serde_json::from_value::<NodeReport>(json).unwrap();
    assert_eq!(report.paused().unwrap().reason, crate::node::PauseReason::Other);
}

/// What nodes sign: over these bytes older checkpoints in the log were made.
#[test]
fn the_digest_of_a_checkpoint() {
    let node = NodeId::from_uuid(sample::uuid(2));
    let empty = Checkpoint::digest_of(node, 1, Digest([0; 32]), &[]);
    assert_eq!(empty.to_string(), "5e39f1ed17738c02d1d165c5b767816841341a06feed570e7ae21e83c588b102");
    let full = Checkpoint::digest_of(node, 2, empty, &sample::receipts());
    assert_eq!(full.to_string(), "aeb2972a3454f709cd4fc7893ae89990a707f14a2e9a4a6626a907dfc16b2683");
}

/// Which batch it is, in a query.
#[test]
fn the_head_of_a_batch() {
    let epoch = EpochId::from_uuid(sample::uuid(6));
    let head = BatchHead { epoch, number: 12, digest: Digest([0xab; 32]), acknowledged: 9 };
    let digest = "ab".repeat(32);
    let committed = format!("epoch=epoch_01930000000070008000000000000006&number=12&digest={digest}&acknowledged=9");
    assert_eq!(head.query(), committed);
    let json = serde_json::json!({ "epoch": epoch, "number": 12, "digest": digest, "added_later": 1 });
    assert_eq!(serde_json::from_value::<BatchHead>(json).unwrap(), BatchHead { acknowledged: 0, ..head });
}

/// The digest is BLAKE3, by its published test vector.
#[test]
fn digests_are_blake3() {
    let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    assert_eq!(Digest::of(b"").to_string(), empty);
}

/// What a later release says of a source or a principal that this one does not know is as if it had not been said.
#[test]
fn sources_of_a_later_release_are_passed_over() {
    let mut json = serde_json::to_value(sample::of_trigger()).unwrap();
    (json["source"], json["principal"]) = ("mail".into(), serde_json::json!({"team": 7}));
    assert_eq!(serde_json::from_value::<Observation>(json).unwrap(), sample::of_job());
}
