//! Problem documents that a node, or the control plane, sends instead of what it was asked for.

use http::HeaderMap;
use http_body_util::{BodyExt as _, Limited};
use protocol::{ByteSize, Code, Problem, headers};

/// The code, where the platform has answered instead of the function.
#[must_use]
pub fn code_of(headers: &HeaderMap) -> Option<Code> {
    let text = headers.get(headers::NODE_PROBLEM)?.to_str().unwrap_or_default();
    Some(Code::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Code::NodeFailed))
}

/// Reads the document; none where it is too large, breaks off, or is none. (A node's last word comes after its last byte.)
pub async fn read(body: fabric::Body, size_max: ByteSize) -> Option<Problem> {
    let read = Limited::new(body, size_max.as_usize()).collect().await.ok()?;
    serde_json::from_slice(&read.to_bytes()).ok()
}
