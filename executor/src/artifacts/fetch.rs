//! What a node fetches with a ticket: the version's description, and the artifact, whose digest is checked while
//! it arrives.

use std::path::Path;
use std::time::Duration;

use fabric::{CallOptions, Fabric, NodeService, Target};
use http_body_util::BodyExt as _;
use protocol::node::VersionSpec;
use protocol::ticket::SignedTicket;
use protocol::wire::{self, WireError};
use protocol::{ByteSize, Code, Digest, Problem, VersionId, headers};
use tokio::io::AsyncWriteExt as _;

/// A description is small.
const SPEC_BYTES_MAX: usize = 1 << 20;
const SPEC_WITHIN: Duration = Duration::from_secs(5);
const ARTIFACT_WITHIN: Duration = Duration::from_secs(60);

fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(Code::NodeFailed, detail)
}

/// The version's description.
pub(crate) async fn spec(fabric: &Fabric, version: VersionId, ticket: &SignedTicket) -> Result<VersionSpec, Problem> {
    let response = get(fabric, &format!("/versions/{version}"), ticket, SPEC_WITHIN).await?;
    let limited = http_body_util::Limited::new(response.into_body(), SPEC_BYTES_MAX);
    let body = limited.collect().await.map_err(|error| unavailable(format!("the version's spec: {error}")))?;
    wire::read(&body.to_bytes()).map_err(|error| match error {
        WireError::NotUnderstood(why) => Problem::new(Code::NotUnderstood, format!("the version's spec: {why}")),
        WireError::Malformed { why, .. } => unavailable(format!("the version's spec: {why}")),
    })
}

/// Writes the artifact to a file. What does not match the digest is an error, and the file is of no use then.
pub(crate) async fn artifact(
    fabric: &Fabric,
    digest: Digest,
    size_max: ByteSize,
    ticket: &SignedTicket,
    to: &Path,
) -> Result<(), Problem> {
    let disk = |error: std::io::Error| unavailable(format!("the node's disk: {error}"));
    let mut body = get(fabric, &format!("/artifacts/{digest}"), ticket, ARTIFACT_WITHIN).await?.into_body();
    let mut file = tokio::fs::File::create(to).await.map_err(disk)?;
    let mut hasher = blake3::Hasher::new();
    let mut size = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unavailable(format!("the artifact's download broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        size = size.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if size > size_max.0 {
            return Err(Problem::new(Code::ArtifactTooLarge, format!("this node takes artifacts up to {size_max}")));
        }
        hasher.update(&data);
        file.write_all(&data).await.map_err(disk)?;
    }
    file.flush().await.map_err(disk)?;
    let found = Digest(*hasher.finalize().as_bytes());
    if found != digest {
        return Err(unavailable(format!("the artifact arrived damaged: {found} instead of {digest}")));
    }
    Ok(())
}

async fn get(
    fabric: &Fabric,
    path: &str,
    ticket: &SignedTicket,
    deadline: Duration,
) -> Result<http::Response<fabric::Body>, Problem> {
    let request = http::Request::get(path)
        .header(headers::TICKET, &ticket.0)
        .body(fabric::empty())
        .map_err(|error| unavailable(error.to_string()))?;
    let options = CallOptions { deadline, accept_within: Duration::from_secs(1) };
    let reply = fabric
        .call(Target::FromNode(NodeService::Blob), request, options)
        .await
        .map_err(|error| unavailable(format!("the platform's blobs cannot be reached: {error}")))?;
    let status = reply.response.status();
    if !status.is_success() {
        return Err(unavailable(format!("GET {path} was answered with {status}")));
    }
    Ok(reply.response)
}
