//! One full value of each message that is stored or crosses versions.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::blob::{Blob, BlobId, BlobKey, Epoch};
use crate::manifest::{ArtifactForm, Kind, Lane, LaneChoice, Limits, PlacementClass};
use crate::model::ModelRecord;
use crate::node::{
    Accelerator, Admission, CapUse, Confinement, Fingerprint, Hello, HelloReply, Lending, LogLine, LogStream,
    NodeRecord, NodeReport, NodeRequest, NodeTrust, NodeWant, Nonce, PauseReason, Paused, PlatformStatement, Prepared,
    Probe, PublicKey, PublicKeys, Registration, RunLog, StoreDisk, TokenQuery, TokenTerms, TrustLevel, VersionSpec,
    VmLane,
};
use crate::placement::{
    Candidate, Considered, Explanation, LaneReason, Placement, Refusal, Refused, RefusedNodes, Warmth,
};
use crate::receipt::{Checkpoint, NodeReceipt, Observation, Outcome, RunEnd, Usage};
use crate::route::{ControlPulse, GatewayPulse, Grant, Principal, Route, Scope, Share, VersionRoute};
use crate::ticket::{Day, DayRoot, IssuerKeys, NodeKey, PayKey, Purpose, SignedTicket, Ticket, TwoDays};
use crate::wire::Written;
use crate::{
    AccountId, ByteSize, Code, Digest, DiskId, EpochId, FunctionId, InstanceId, JobId, KeyId, Name, NodeId, RunId,
    RunPrincipal, RunSource, Timestamp, TokenId, VersionId,
};

/// A UUIDv7 of a fixed time.
pub(super) fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0000 + number)
}

pub(super) const NOW: Timestamp = Timestamp(1_795_336_980_123);

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn ticket() -> Ticket {
    Ticket {
        purpose: Purpose::Run,
        run: RunId::from_uuid(uuid(1)),
        node: NodeId::from_uuid(uuid(2)),
        account: AccountId::from_uuid(uuid(3)),
        function: FunctionId::from_uuid(uuid(4)),
        version: VersionId::from_uuid(uuid(5)),
        artifact: Digest::of(b"artifact"),
        lane: Lane::Wasm,
        limits: Limits::default(),
        epoch: EpochId::from_uuid(uuid(6)),
        issued: NOW,
        expires: NOW.plus(std::time::Duration::from_secs(30)),
    }
}

pub(super) fn run_end() -> RunEnd {
    RunEnd {
        outcome: Outcome::Failed,
        code: Some(Code::Trap),
        detail: Some("wasm `unreachable` instruction executed".to_owned()),
        usage: Usage {
            wall_us: 1_500,
            cpu_us: 1_200,
            fuel: Some(1 << 60),
            memory_peak: ByteSize::mib(64),
            bytes_in: ByteSize(10),
            bytes_out: ByteSize(1 << 60),
            egress_bytes: ByteSize(0),
        },
        warm: true,
        cached: false,
        running: 3,
    }
}

pub(super) fn receipt(number: u128) -> NodeReceipt {
    NodeReceipt {
        run: RunId::from_uuid(uuid(number)),
        ticket: SignedTicket("body.signature".to_owned()),
        started: NOW,
        end: run_end(),
    }
}

pub(super) fn observation() -> Observation {
    Observation {
        run: RunId::from_uuid(uuid(1)),
        gateway: InstanceId::from_uuid(uuid(6)),
        account: AccountId::from_uuid(uuid(3)),
        function: FunctionId::from_uuid(uuid(4)),
        version: VersionId::from_uuid(uuid(5)),
        version_number: 3,
        node: Some(NodeId::from_uuid(uuid(2))),
        lane: Lane::Wasm,
        received: NOW,
        head_us: 900,
        wall_us: 1_600,
        outcome: Outcome::Failed,
        status: 502,
        code: Some(Code::Trap),
        method: "POST".to_owned(),
        path: "/resize?width=320".to_owned(),
        bytes_in: ByteSize(10),
        bytes_out: ByteSize(20),
        end: Some(run_end()),
        placement: None,
        job: None,
        limits: None,
        source: None,
        principal: None,
    }
}

/// With the explanation that gateways add since they have one.
pub(super) fn explained() -> Observation {
    let considered = |number, warmth, predicted_us: Option<u64>| Considered {
        node: NodeId::from_uuid(uuid(number)),
        warmth,
        running: 3,
        predicted_us,
        predicted_failure_permille: None,
    };
    let explanation = Explanation {
        policy: "learned".into(),
        candidates: vec![considered(2, Warmth::Warm, Some(12_500)), considered(9, Warmth::Cold, None)],
        refused: vec![RefusedNodes { why: Refusal::NoSlot, nodes: 2, agreed: None }],
        waited_ms: 40,
    };
    Observation { placement: Some(explanation), ..observation() }
}

/// Of a job's try: with all that an observation can have.
pub(super) fn of_job() -> Observation {
    Observation { job: Some(JobId::from_uuid(uuid(11))), limits: Some(Limits::default()), ..explained() }
}

/// Of a trigger's job: with what made it, and on whose behalf.
pub(super) fn of_trigger() -> Observation {
    let principal = RunPrincipal::Trigger(name("nightly"));
    Observation { source: Some(RunSource::Schedule), principal: Some(principal), ..of_job() }
}

pub(super) fn receipts() -> [Written<NodeReceipt>; 2] {
    [1, 10].map(|number| Written::new(receipt(number)).unwrap())
}

pub(super) fn checkpoint() -> Checkpoint {
    let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    Checkpoint::sign(NodeId::from_uuid(uuid(2)), 3, Digest::of(b"2"), vec![receipt(1), receipt(10)], &key)
}

pub(super) fn full_report() -> NodeReport {
    let ready = VmLane::Ready { accelerator: Accelerator::Kvm, turns_per_ms: 90_000 };
    NodeReport { cached: vec![Digest::of(b"on disk")], draining: true, vm: Some(ready), ..report() }
}

pub(super) fn prepared() -> Prepared {
    Prepared {
        kind: Kind::Command,
        format: "module (wasi p1)".to_owned(),
        compile_ms: 120,
        code_size: ByteSize::kib(300),
        form: ArtifactForm::Image,
        notes: Vec::new(),
    }
}

pub(super) fn run_log() -> RunLog {
    let run = RunId::from_uuid(uuid(1));
    let line = LogLine { run, sequence: 4, at: NOW, stream: LogStream::Stderr, text: "hello".to_owned() };
    RunLog { run, ticket: SignedTicket("body.signature".to_owned()), lines: vec![line] }
}

pub(super) fn blob() -> Blob {
    Blob { id: BlobId::new(Epoch(7), [9; 12]), key: BlobKey([8; 32]), size: ByteSize(54_321), digest: Digest([1; 32]) }
}

pub(super) fn model() -> ModelRecord {
    ModelRecord {
        v: ModelRecord::VERSION,
        version: 1_795_336_980_123,
        blob: blob(),
        trained: NOW,
        runs: 24_000,
        error: 0.25,
    }
}

pub(super) fn version_route(number: u32) -> VersionRoute {
    VersionRoute {
        version: VersionId::from_uuid(uuid(u128::from(number) + 100)),
        number,
        artifact: Digest::of(b"artifact"),
        artifact_size: ByteSize(54_321),
        kind: Kind::Http,
        lane: LaneChoice::Auto,
        placement: PlacementClass::Verified,
        limits: Limits::default(),
        form: ArtifactForm::Wasm,
    }
}

pub(super) fn route() -> Route {
    let split = vec![Share { version: 2, weight: 90 }, Share { version: 3, weight: 10 }];
    Route {
        v: Route::VERSION,
        revision: 42,
        account: AccountId::from_uuid(uuid(3)),
        account_name: name("ada"),
        function: FunctionId::from_uuid(uuid(4)),
        function_name: name("thumbs"),
        deleted: false,
        renamed: None,
        public: false,
        versions: [(2, version_route(2)), (3, version_route(3))].into(),
        aliases: [(name("canary"), vec![Share { version: 3, weight: 100 }]), (name("live"), split)].into(),
    }
}

pub(super) fn report() -> NodeReport {
    NodeReport {
        v: NodeReport::VERSION,
        node: NodeId::from_uuid(uuid(2)),
        sequence: 7,
        cores: 2,
        load: 0.5,
        memory_total: ByteSize::mib(4096),
        memory_free: ByteSize::mib(3968),
        slots: 64,
        running: 1,
        lanes: vec![Lane::Wasm, Lane::Vm],
        arch: "x86_64".to_owned(),
        warm: vec![Digest::of(b"artifact")],
        cached: Vec::new(),
        draining: false,
        vm: None,
        boot: None,
        lending: None,
        confinement: None,
        lists: None,
    }
}

pub(super) fn paused_report() -> NodeReport {
    let until = "2027-01-31T06:00:00Z".parse().unwrap();
    let lending = Lending {
        paused: Some(Paused { reason: PauseReason::QuietHours, until: Some(until) }),
        egress: false,
        disk: Some(CapUse { max: Some(ByteSize::mib(10)), used: ByteSize::mib(4) }),
        traffic: Some(CapUse { max: None, used: ByteSize::mib(7) }),
    };
    NodeReport { lending: Some(lending), ..report() }
}

pub(super) fn record() -> NodeRecord {
    NodeRecord {
        node: NodeId::from_uuid(uuid(2)),
        account: AccountId::from_uuid(uuid(3)),
        name: "basement".to_owned(),
        class: PlacementClass::Operator,
        arch: "x86_64".to_owned(),
        protocol: 1,
        trust: None,
        key: None,
        disks: Vec::new(),
    }
}

pub(super) fn trusted_record() -> NodeRecord {
    let trust = NodeTrust { level: TrustLevel::New, confirmed: true, lied: false, agreed: 3 };
    NodeRecord { class: PlacementClass::Any, trust: Some(trust), key: Some(keys().receipt), ..record() }
}

pub(super) fn confinement() -> Confinement {
    Confinement::Partial { missing: "TCP ports (Linux 6.7)".to_owned() }
}

pub(super) fn hello() -> Hello {
    Hello {
        protocol_min: 1,
        protocol_max: 1,
        software: "0.1.0".to_owned(),
        arch: "x86_64".to_owned(),
        os: "linux".to_owned(),
        name: "basement".to_owned(),
        cores: 2,
        memory: ByteSize::mib(4096),
        lanes: vec![Lane::Wasm],
        slots: 64,
        public_key: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned(),
        keys: None,
        boot: None,
        agreed: None,
        fingerprint: None,
        confinement: None,
        disks: Vec::new(),
    }
}

pub(super) fn disks() -> Vec<StoreDisk> {
    let id = DiskId::from_uuid(uuid(31));
    vec![StoreDisk { id, domain: "c0ffee/64769".to_owned() }]
}

pub(super) fn keys() -> PublicKeys {
    PublicKeys {
        nats: "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4".to_owned(),
        receipt: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".parse().unwrap(),
        ticket: PublicKey([2; 32]),
    }
}

pub(super) fn fingerprint() -> Fingerprint {
    Fingerprint { machine: Some(Digest([0xab; 32])), boot: Some(Digest([0xcd; 32])), starts: 12 }
}

pub(super) fn platform_statement() -> PlatformStatement {
    PlatformStatement {
        root: PublicKey([1; 32]),
        registrar: PublicKey([2; 32]),
        tickets: PublicKey([3; 32]),
        releases: Some(PublicKey([4; 32])),
        protocol_min: 2,
        protocol_max: 2,
        now: NOW,
        certificate: None,
    }
}

pub(super) fn registration() -> Registration {
    Registration {
        token: TokenId::from_uuid(uuid(9)),
        nonce: Nonce([5; 32]),
        keys: keys(),
        machine: Some(Digest::of(b"checkpoint")),
        protocol_min: 2,
        protocol_max: 2,
        probe: Probe {
            name: "basement".to_owned(),
            software: "0.1.0".to_owned(),
            arch: "x86_64".to_owned(),
            os: "linux".to_owned(),
            cores: 2,
            memory: ByteSize::mib(4096),
            slots: 64,
            disk: Some(ByteSize::mib(1024)),
            turns_per_ms: Some(5000),
            lanes: vec![Lane::Wasm, Lane::Vm],
            accelerator: Some(Accelerator::Kvm),
        },
    }
}

pub(super) fn node_request() -> NodeRequest {
    NodeRequest { node: NodeId::from_uuid(uuid(2)), wants: NodeWant::Renewal, nonce: Nonce([5; 32]) }
}

pub(super) fn token_query() -> TokenQuery {
    TokenQuery { token: TokenId::from_uuid(uuid(9)), keys: keys(), nonce: Nonce([5; 32]) }
}

pub(super) fn token_terms() -> TokenTerms {
    TokenTerms {
        nonce: Nonce([5; 32]),
        node: NodeId::from_uuid(uuid(2)),
        name: Some("basement".to_owned()),
        account: Some("ada".to_owned()),
        class: PlacementClass::Any,
        expires: NOW,
    }
}

pub(super) fn admission() -> Admission {
    Admission {
        node: NodeId::from_uuid(uuid(2)),
        nats: keys().nats,
        jwt: "e.y.J".to_owned(),
        expires: NOW,
        protocol: 2,
        account: Some("ada".to_owned()),
    }
}

pub(super) fn hello_reply() -> HelloReply {
    HelloReply {
        protocol: 2,
        node_keys: TwoDays { first: Day(20_779), keys: [NodeKey([1; 32]), NodeKey([2; 32])] },
        checkpoint: 12,
        checkpoint_digest: Digest::of(b"checkpoint"),
        now: NOW,
        wish: None,
    }
}

pub(super) fn issuer_keys() -> IssuerKeys {
    let days = TwoDays { first: Day(20_779), keys: [DayRoot([4; 32]), DayRoot([5; 32])] };
    IssuerKeys { epoch: EpochId::from_uuid(uuid(6)), pay: PayKey([3; 32]), days }
}

pub(super) fn spec() -> VersionSpec {
    VersionSpec {
        version: VersionId::from_uuid(uuid(5)),
        function: FunctionId::from_uuid(uuid(4)),
        account: AccountId::from_uuid(uuid(3)),
        artifact: Digest::of(b"artifact"),
        artifact_size: ByteSize(54_321),
        kind: Some(Kind::Http),
        lane: LaneChoice::Auto,
        limits: Limits::default(),
        env: BTreeMap::from([("MODE".to_owned(), "fast".to_owned())]),
        egress: vec!["api.example.com".to_owned()],
        base: None,
        command: Vec::new(),
    }
}

pub(super) fn grant() -> Grant {
    Grant {
        principal: Principal::Key { key: KeyId::from_uuid(uuid(8)) },
        account: AccountId::from_uuid(uuid(3)),
        scopes: vec![Scope::Invoke, Scope::Read],
        function: Some(FunctionId::from_uuid(uuid(4))),
        expires: Some(NOW),
    }
}

pub(super) fn control_pulse() -> ControlPulse {
    ControlPulse { instance: InstanceId::from_uuid(uuid(6)), revision: 42, revoked: vec!["00ff".to_owned()] }
}

pub(super) fn gateway_pulse() -> GatewayPulse {
    GatewayPulse { instance: InstanceId::from_uuid(uuid(7)), revision: 42, draining: true }
}

pub(super) fn placement() -> Placement {
    let candidate = Candidate {
        node: NodeId::from_uuid(uuid(2)),
        lane: Lane::Wasm,
        lane_reason: LaneReason::Wasm,
        warmth: Warmth::Warm,
        running: 3,
        pressure: 2.0,
        predicted_s: None,
        predicted_failure: None,
        distance_s: None,
        score: 2.25,
    };
    let refused = Refused::of(NodeId::from_uuid(uuid(9)), Refusal::NoSlot);
    Placement { ranked: vec![candidate], refused: vec![refused], policy: "warm_first".into() }
}
