//! Checkpoints on their way to the control plane.

use std::time::Duration;

use fabric::{CallError, CallOptions, Fabric, NodeService, Target};
use http_body_util::BodyExt as _;
use protocol::node::Hello;
use protocol::receipt::{Checkpoint, CheckpointAck};
use protocol::{Code, Problem};

use super::hello;
use crate::journal::{Deliver, Stand, Undelivered};

const WITHIN: Duration = Duration::from_secs(10);
const ACK_BYTES_MAX: usize = 64 << 10;

/// Delivers over the fabric.
pub(super) struct OverFabric {
    pub(super) fabric: Fabric,
    /// Its answer says how far the control plane is.
    pub(super) hello: Hello,
}

impl Deliver for OverFabric {
    async fn deliver(&self, checkpoint: &Checkpoint) -> Result<u64, Undelivered> {
        let failed = |error: &dyn std::fmt::Display| Undelivered::Failed(error.to_string());
        let json = serde_json::to_vec(checkpoint).map_err(|error| failed(&error))?;
        let request = http::Request::post("/checkpoints")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(fabric::full(json))
            .map_err(|error| failed(&error))?;
        let options = CallOptions { deadline: WITHIN, accept_within: Duration::from_secs(1) };
        let target = Target::FromNode(NodeService::Receipt);
        let reply = self.fabric.call(target, request, options).await.map_err(|error| match error {
            CallError::NoResponder | CallError::Busy(_) | CallError::Disconnected(_) | CallError::Lost => {
                Undelivered::Absent(error.to_string())
            }
            error => failed(&error),
        })?;
        let status = reply.response.status();
        let limited = http_body_util::Limited::new(reply.response.into_body(), ACK_BYTES_MAX);
        let bytes = limited.collect().await.map_err(|error| failed(&error))?.to_bytes();
        if !status.is_success() {
            return Err(refused(status, &bytes));
        }
        let ack: CheckpointAck = protocol::wire::read(&bytes).map_err(|error| failed(&error))?;
        Ok(ack.sequence)
    }

    async fn stand(&self) -> Result<Stand, String> {
        let reply = hello::attempt(&self.fabric, &self.hello).await.map_err(|error| error.to_string())?;
        Ok(Stand { sequence: reply.checkpoint, digest: reply.checkpoint_digest })
    }
}

/// What a refusal means: where the checkpoint does not fit those that are committed, it must become another one.
fn refused(status: http::StatusCode, body: &[u8]) -> Undelivered {
    let why = format!("{status}: {}", String::from_utf8_lossy(body));
    let code = serde_json::from_slice::<Problem>(body).map(|problem| problem.code);
    match code {
        Ok(Code::PreconditionFailed | Code::BatchConflict) => Undelivered::OutOfPlace(why),
        Ok(Code::ControlPlaneUnavailable) => Undelivered::Absent(why),
        _ => Undelivered::Failed(why),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn what_does_not_fit_is_told_from_what_failed() {
        let said = |code: Code| {
            let body = serde_json::to_vec(&Problem::new(code, "why")).unwrap();
            matches!(refused(StatusCode::CONFLICT, &body), Undelivered::OutOfPlace(_))
        };
        assert!(said(Code::PreconditionFailed) && said(Code::BatchConflict));
        assert!(!said(Code::ControlPlaneUnavailable) && !said(Code::NotFound));
        let paused = serde_json::to_vec(&Problem::new(Code::ControlPlaneUnavailable, "why")).unwrap();
        assert!(matches!(refused(StatusCode::SERVICE_UNAVAILABLE, &paused), Undelivered::Absent(_)));
        assert!(matches!(refused(StatusCode::CONFLICT, b"a proxy"), Undelivered::Failed(_)));
    }
}
