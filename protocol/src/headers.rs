//! Names of HTTP headers and cookies that are ours, and the table of what becomes of each header.

mod idempotency;
mod request;
mod table;

pub use idempotency::{IDEMPOTENCY_KEY, IdempotencyKey, IdempotencyKeyError};
pub use request::{WrittenBy, clean, cookie_name, is_our_cookie, remove_where, retain};
pub use table::{About, HOP_BY_HOP, PLAIN, Row, TABLE, ToCaller, ToFunction, UNCOMMON, is_common_name, may_trail, row};

use crate::ByteSize;

/// The largest head of a request that gateways take, where nothing else is configured, and of a job's request.
pub const HEAD_SIZE_MAX: ByteSize = ByteSize::kib(32);
/// The most headers of a request.
pub const HEADERS_MAX: usize = 128;

/// The run's id, on every answer of a function.
pub const RUN: &str = "x-crowdcloud-run";
/// The node that did the run.
pub const NODE: &str = "x-crowdcloud-node";
/// The account that a session acts for.
pub const ACCOUNT: &str = "x-crowdcloud-account";
/// The numbers of the first and the last block of a download of receipts: `3-17`, or `none`.
pub const BLOCKS: &str = "x-crowdcloud-blocks";
/// The ticket, from gateway to node and from node to the blob service. Never reaches a function.
pub const TICKET: &str = "x-crowdcloud-ticket";
/// The error code, from node to gateway, on answers that the node made instead of the function.
pub const NODE_PROBLEM: &str = "x-crowdcloud-problem";
/// On a stream of logs: the time from which the account's lines are complete. Earlier ones may be gone.
pub const LOGS_SINCE: &str = "x-crowdcloud-logs-since";
/// On every response of the API: which release of the portal goes with it. A page of another one says so.
pub const PORTAL: &str = "x-crowdcloud-portal";
/// From gateway to control plane, of what is asked by HTTPS: the digest of the key in the gateway's certificate.
pub const CERTIFICATE: &str = "x-crowdcloud-certificate";
/// From gateway to node, before it connects: what it is to sign.
pub const CHALLENGE: &str = "x-crowdcloud-challenge";
/// From node to gateway: the connection that it asks for, as JSON text.
pub const CONNECTION: &str = "x-crowdcloud-connection";
/// From node to gateway: the signature of that text.
pub const SIGNATURE: &str = "x-crowdcloud-signature";
/// Of a segment on its way to or from a node's disk: its BLAKE3.
pub const SEGMENT_DIGEST: &str = "x-crowdcloud-segment-digest";
/// How many bytes such a segment has.
pub const SEGMENT_SIZE: &str = "x-crowdcloud-segment-size";
/// What is wrong with a node's disk: `full`, `slow`, `failed`, or `busy` with as much as it does at once.
pub const DISK_TROUBLE: &str = "x-crowdcloud-disk-trouble";
/// Every header of ours begins so; a function neither sees nor sets them.
pub const OURS: &str = "x-crowdcloud-*";
/// The portal's session cookie.
pub const SESSION_COOKIE: &str = "cc_session";
/// The cookie by which a device that has logged in before is known.
pub const DEVICE_COOKIE: &str = "cc_device";
/// The cookie of a log-in that waits for a code of the second factor.
pub const CHALLENGE_COOKIE: &str = "cc_challenge";
/// What every API key begins with.
pub const KEY_PREFIX: &str = "cck_";

/// The size of a request's head, about as it is on the wire: of its target, and of each header's name and value.
#[must_use]
pub fn head_size(target: usize, headers: impl Iterator<Item = (usize, usize)>) -> usize {
    target + headers.map(|(name, value)| name + value + ": \r\n".len()).sum::<usize>()
}

/// Whether a header says what a request's body is. Of all headers these alone tell two requests apart that have the same
/// `Idempotency-Key`: tracers, proxies and clients that try again put something else into the others each time. The
/// length is the body's.
#[must_use]
pub fn describes_content(name: &str) -> bool {
    const PREFIX: &str = "content-";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        && !name.eq_ignore_ascii_case("content-length")
}

/// Whether only a proxy may set this header: calls, calls that are answered later and jobs reach a function without
/// what their caller wrote there; the gateway then sets the few that it vouches for.
#[must_use]
pub fn is_told_by_proxies(name: &str) -> bool {
    row(name).about == About::Way
}

/// Whether this header is ours.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    // Asked of each header of each call at each of its stations: none but these begin so.
    name.as_bytes().first().is_some_and(|first| first.eq_ignore_ascii_case(&b'x')) && row(name).names == [OURS]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a22_names_that_only_proxies_set() {
        for name in ["X-Real-IP", "x_real_ip", "Forwarded", "x-forwarded-anything", "X_Forwarded_For", "x-forwarded"] {
            assert!(is_told_by_proxies(name), "{name}");
        }
        for name in ["x-forward", "x-real-ip-of-mine", "host", "via", "user-agent", ""] {
            assert!(!is_told_by_proxies(name), "{name}");
        }
        assert!(is_ours("X_CrowdCloud_Ticket") && is_ours("x-crowdcloud-run") && !is_ours("x-crowdcloud"));
    }
}
