//! Checkpoints on their way to the control plane.

use std::time::Duration;

use fabric::{CallOptions, Fabric, NodeService, Target};
use http_body_util::BodyExt as _;
use protocol::receipt::{Checkpoint, CheckpointAck};

use crate::journal::Deliver;

const WITHIN: Duration = Duration::from_secs(10);
const ACK_BYTES_MAX: usize = 64 << 10;

/// Delivers over the fabric.
pub(super) struct OverFabric(pub(super) Fabric);

impl Deliver for OverFabric {
    async fn deliver(&mut self, checkpoint: &Checkpoint) -> Result<u64, String> {
        let json = serde_json::to_vec(checkpoint).map_err(|error| error.to_string())?;
        let request = http::Request::post("/checkpoints")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(fabric::full(json))
            .map_err(|error| error.to_string())?;
        let options = CallOptions { deadline: WITHIN, accept_within: Duration::from_secs(1) };
        let target = Target::FromNode(NodeService::Receipt);
        let reply = self.0.call(target, request, options).await.map_err(|error| error.to_string())?;
        let status = reply.response.status();
        let limited = http_body_util::Limited::new(reply.response.into_body(), ACK_BYTES_MAX);
        let bytes = limited.collect().await.map_err(|error| error.to_string())?.to_bytes();
        if !status.is_success() {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&bytes)));
        }
        let ack: CheckpointAck = protocol::wire::read(&bytes).map_err(|error| error.to_string())?;
        Ok(ack.sequence)
    }
}
