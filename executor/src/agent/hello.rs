//! The hello: which protocol is spoken, what tickets are checked with, and where the receipts stand. Repeated for ever
//! until it is answered or refused for good, and each minute after that: a node's keys are of two days, and its clock may
//! drift.

use std::time::Duration;

use fabric::{CallOptions, Fabric, NodeService, Target};
use http_body_util::BodyExt as _;
use protocol::node::{BootKey, Hello, HelloReply, PROTOCOL_MAX, PROTOCOL_MIN, StoreDisk, printable};
use protocol::{Code, Lane, Problem};

use crate::config::Config;
use crate::given::Told;
use crate::keeper;

const REPLY_BYTES_MAX: usize = 64 << 10;
const WITHIN: Duration = Duration::from_secs(5);
/// Between two attempts.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What this node says of itself.
pub(super) fn hello(config: &Config, told: Told, boot: &BootKey, vm: bool, disks: Vec<StoreDisk>) -> Hello {
    let Told { public, fingerprint, confinement } = told;
    Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        os: std::env::consts::OS.to_owned(),
        name: printable(&config.name),
        cores: config.cores,
        memory: config.memory,
        lanes: lanes(vm),
        slots: config.slots,
        public_key: public.receipt.to_string(),
        keys: Some(public),
        boot: Some(boot.clone()),
        agreed: Some(keeper::agreed(config)),
        fingerprint,
        confinement,
        disks,
    }
}

/// The lanes that a node has, with a VM lane or without.
pub(super) fn lanes(vm: bool) -> Vec<Lane> {
    if vm { vec![Lane::Wasm, Lane::Vm] } else { vec![Lane::Wasm] }
}

/// Why a hello has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The next may have one.
    #[error("{0}")]
    Yet(String),
    /// None will have.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
}

impl From<String> for Unanswered {
    fn from(why: String) -> Self {
        Self::Yet(why)
    }
}

/// Codes with which the platform says that this node is none, whenever it asks.
const FOR_GOOD: [Code; 5] =
    [Code::NodeLeft, Code::NodeSuspended, Code::NodeKeysDiffer, Code::NodeMachineDiffers, Code::NodeRestored];

/// Says hello until somebody answers.
pub(super) async fn greet(fabric: &Fabric, hello: &Hello) -> Result<HelloReply, Box<Problem>> {
    let mut wait = RETRY.0;
    loop {
        match attempt(fabric, hello).await {
            Ok(reply) => return Ok(reply),
            Err(Unanswered::Refused(problem)) => return Err(problem),
            Err(Unanswered::Yet(reason)) => tracing::info!(reason, "no answer to the hello yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

/// Says hello once.
pub(super) async fn attempt(fabric: &Fabric, hello: &Hello) -> Result<HelloReply, Unanswered> {
    let body = serde_json::to_vec(hello).map_err(|error| error.to_string())?;
    let request = http::Request::post("/hello")
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(fabric::full(body))
        .map_err(|error| error.to_string())?;
    let options = CallOptions { deadline: WITHIN, accept_within: Duration::from_secs(1) };
    let reply =
        fabric.call(Target::FromNode(NodeService::Api), request, options).await.map_err(|error| error.to_string())?;
    let status = reply.response.status();
    let limited = http_body_util::Limited::new(reply.response.into_body(), REPLY_BYTES_MAX);
    let bytes = limited.collect().await.map_err(|error| error.to_string())?.to_bytes();
    if !status.is_success() {
        let problem = serde_json::from_slice::<Problem>(&bytes).ok();
        return Err(match problem.filter(|problem| FOR_GOOD.contains(&problem.code)) {
            Some(problem) => Unanswered::Refused(Box::new(problem)),
            None => Unanswered::Yet(format!("{status}: {}", String::from_utf8_lossy(&bytes))),
        });
    }
    let reply: HelloReply = protocol::wire::read(&bytes).map_err(|error| error.to_string())?;
    if !(PROTOCOL_MIN..=PROTOCOL_MAX).contains(&reply.protocol) {
        let chosen = reply.protocol;
        return Err(format!("the platform chose protocol {chosen}, which this node does not speak").into());
    }
    Ok(reply)
}
