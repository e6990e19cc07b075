//! What a later release adds to what this one has committed: passed over, unless its name says that it must be understood.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::node::{
    Admission, DiskSegment, DiskSpace, Hello, HelloReply, NodeRecord, NodeReport, NodeRequest, PlatformStatement,
    Prepared, Registration, RunLog, TokenQuery, TokenTerms, VersionSpec,
};
use crate::receipt::{Checkpoint, CheckpointAck, NodeReceipt, Observation, RunEnd};
use crate::route::{ControlPulse, GatewayPulse, Grant, Route, VersionRoute};
use crate::ticket::IssuerKeys;
use crate::wire::{self, WireError};
use crate::{Code, Limits, Manifest, Problem};

/// Places in a message where any name may stand, or where a form is read that explains and decides nothing.
const OPEN: [&str; 7] = ["/env", "/aliases", "/principal", "/principal/key", "/placement", "/vm", "/versions"];

/// The place of every object in a message.
fn objects(json: &Value, at: String, found: &mut Vec<String>) {
    match json {
        Value::Object(fields) => {
            found.push(at.clone());
            fields.iter().for_each(|(name, field)| objects(field, format!("{at}/{name}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, item)| objects(item, format!("{at}/{place}"), found));
        }
        _ => {}
    }
}

fn with(json: &Value, at: &str, name: &str) -> Vec<u8> {
    let mut json = json.clone();
    json.pointer_mut(at).unwrap()[name] = json!({"any": 1});
    serde_json::to_vec(&json).unwrap()
}

/// At every place: an unknown field is passed over, and one that must be understood is refused.
fn check<T: DeserializeOwned + Debug + PartialEq>(committed: &str) {
    let value: T = wire::read(committed.as_bytes()).unwrap();
    let json: Value = serde_json::from_str(committed).unwrap();
    let mut places = Vec::new();
    objects(&json, String::new(), &mut places);
    let open = |at: &&String| OPEN.iter().any(|open| at.as_str() == *open || at.starts_with("/placement/"));
    for at in places.iter().filter(|at| !open(at)) {
        let later: T = wire::read(&with(&json, at, "added_later")).unwrap();
        assert_eq!(later, value, "at {at}: a field that was added later is refused");
        match wire::read::<T>(&with(&json, at, "!added_later")) {
            Err(error @ WireError::NotUnderstood(_)) => {
                assert!(error.to_string().contains("!added_later"), "{error}");
                assert_eq!(Problem::from(error).code, Code::NotUnderstood);
            }
            other => panic!("at {at}: what must be understood is passed over: {other:?}"),
        }
    }
}

macro_rules! later {
    ($($file:literal: $type:ty;)*) => {
        /// The bytes of this release, as files: the next one must read them, and what it adds must be read here.
        #[test]
        fn f35_what_a_later_release_adds() {
            $(check::<$type>(include_str!(concat!("golden/", $file, ".json")));)*
        }
    };
}

later! {
    "limits_v1": Limits;
    "limits_v2": Limits;
    "run_end_v1": RunEnd;
    "run_end_v2": RunEnd;
    "receipt_v1": NodeReceipt;
    "checkpoint_v1": Checkpoint;
    "checkpoint_ack_v1": CheckpointAck;
    "observation_v1": Observation;
    "observation_explained_v1": Observation;
    "observation_of_job_v1": Observation;
    "observation_of_job_v2": Observation;
    "route_v1": Route;
    "route_v2": Route;
    "version_route_v1": VersionRoute;
    "version_route_v2": VersionRoute;
    "node_report_v1": NodeReport;
    "node_report_full_v1": NodeReport;
    "node_record_v1": NodeRecord;
    "node_record_disks_v1": NodeRecord;
    "disk_space_v1": DiskSpace;
    "disk_segment_v1": DiskSegment;
    "hello_disks_v1": Hello;
    "hello_v1": Hello;
    "hello_v2": Hello;
    "hello_v3": Hello;
    "hello_reply_v2": HelloReply;
    "platform_statement_v1": PlatformStatement;
    "registration_v1": Registration;
    "node_request_v1": NodeRequest;
    "token_query_v1": TokenQuery;
    "token_terms_v1": TokenTerms;
    "admission_v1": Admission;
    "issuer_keys_v1": IssuerKeys;
    "version_spec_v1": VersionSpec;
    "version_spec_v2": VersionSpec;
    "prepared_v1": Prepared;
    "run_log_v1": RunLog;
    "grant_v1": Grant;
    "control_pulse_v1": ControlPulse;
    "gateway_pulse_v1": GatewayPulse;
}

/// Every file is read by some test: none is kept for nothing.
#[test]
fn f35_every_committed_form_is_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests");
    let tests: String =
        ["golden.rs", "tickets.rs"].iter().map(|file| std::fs::read_to_string(folder.join(file)).unwrap()).collect();
    for entry in std::fs::read_dir(folder.join("golden")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(tests.contains(name), "no test reads {name}");
    }
}

/// A version that this release cannot serve takes nothing from the others.
#[test]
fn f35_a_route_with_versions_of_a_later_release() {
    let mut json: Value = serde_json::from_str(include_str!("golden/route_v1.json")).unwrap();
    let whole = Route::read(json.to_string().as_bytes()).unwrap();
    assert!(whole.1.is_empty() && whole.0.versions.len() == 2);
    json["versions"]["2"]["limits"]["!gpus"] = 1.into();
    json["versions"]["4"] = json["versions"]["3"].clone();
    json["versions"]["4"]["kind"] = "stream".into();
    let (route, unknown) = Route::read(json.to_string().as_bytes()).unwrap();
    assert_eq!((route.versions.keys().collect::<Vec<_>>(), &unknown), (vec![&3], &[2, 4].into()));
    let may = |reference: &str| route.may_mean(Some(&reference.parse().unwrap()), &unknown);
    assert!(may("v2") && may("v4") && route.may_mean(None, &unknown), "`live` leads to v2");
    assert!(!may("v3") && !may("canary") && !may("v9"));
    json["!quota"] = 1.into();
    assert!(matches!(Route::read(json.to_string().as_bytes()), Err(WireError::NotUnderstood(_))));
    assert_eq!(Route::revision_of(json.to_string().as_bytes()), Some(42));
}

/// Words of a later release, where this one can do without.
#[test]
fn f35_unknown_words() {
    let report = |change: &dyn Fn(&mut Value)| {
        let mut json: Value = serde_json::from_str(include_str!("golden/node_report_full_v1.json")).unwrap();
        change(&mut json);
        wire::read::<NodeReport>(json.to_string().as_bytes()).unwrap()
    };
    assert_eq!(report(&|json| json["lanes"][0] = "gpu".into()).lanes, [crate::Lane::Vm]);
    assert_eq!(report(&|json| json["vm"]["accelerator"] = "hvf".into()).vm, None);
    let mut end: Value = serde_json::from_str(include_str!("golden/run_end_v1.json")).unwrap();
    end["code"] = "a_later_code".into();
    assert_eq!(wire::value::<RunEnd>(end.clone()).unwrap().code, Some(Code::NodeFailed), "it failed, whyever");
    end["outcome"] = "a_later_outcome".into();
    assert!(wire::value::<RunEnd>(end).is_err(), "how it ended must be understood");
}

/// What users write is strict: an unknown key is a mistake.
#[test]
fn f35_what_users_write_is_strict() {
    let manifest = |limits: Value| {
        serde_json::from_value::<Manifest>(json!({"name": "thumbs", "artifact": "a.wasm", "limits": limits}))
    };
    assert_eq!(manifest(json!({"memory": "64MiB"})).unwrap().limits.memory, crate::ByteSize::mib(64));
    let error = manifest(json!({"memry": "64MiB"})).unwrap_err().to_string();
    assert!(error.contains("unknown field `memry`, expected one of `memory`"), "{error}");
    let create = json!({"artifact": crate::Digest::of(b"a"), "limits": {"!gpus": 1}});
    assert!(serde_json::from_value::<crate::api::CreateVersion>(create).is_err());
    assert!(serde_json::from_value::<Limits>(json!({"gpus": 1})).is_ok());
}
