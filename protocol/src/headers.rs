//! Names of HTTP headers and cookies that are ours, and of those that nobody but a proxy of ours may set.

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
/// The signed ticket, from gateway to node and from node to the blob service. Never reaches a function.
pub const TICKET: &str = "x-crowdcloud-ticket";
/// The error code, from node to gateway, on answers that the node made instead of the function.
pub const NODE_PROBLEM: &str = "x-crowdcloud-problem";
/// Every header of ours begins so; a function neither sees nor sets them.
pub const PREFIX: &str = "x-crowdcloud-";
/// The portal's session cookie.
pub const SESSION_COOKIE: &str = "cc_session";
/// The cookie by which a device that has logged in before is known.
pub const DEVICE_COOKIE: &str = "cc_device";
/// What every API key begins with.
pub const KEY_PREFIX: &str = "cck_";

/// Headers of an answer that bind the whole origin: a function that shares one with the portal may not send them.
pub const ORIGIN_WIDE: [&str; 7] = [
    "clear-site-data",
    "service-worker-allowed",
    "strict-transport-security",
    "alt-svc",
    "nel",
    "report-to",
    "origin-agent-cluster",
];

/// Where proxies and content networks tell who called them, and how. Calls, calls that are answered later and jobs
/// reach a function without what their caller wrote there; the gateway then sets the few that it vouches for.
pub const TOLD_BY_PROXIES: [&str; 33] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "client-ip",
    "cloudfront-viewer-address",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "remote-addr",
    "remote-user",
    "true-client-ip",
    "x-appengine-user-ip",
    "x-arr-ssl",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-cert",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-host",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-rewrite-url",
    "x-url-scheme",
];
/// All that begins so is told by proxies, too: `-for`, `-host`, `-proto`, `-ssl`, `-scheme`, `-user`, ...
const FORWARDED_PREFIX: &str = "x-forwarded";

/// Whether only a proxy may set this header.
#[must_use]
pub fn is_told_by_proxies(name: &str) -> bool {
    begins_as(name, FORWARDED_PREFIX)
        || TOLD_BY_PROXIES.iter().any(|told| told.len() == name.len() && begins_as(name, told))
}

/// Whether this header is ours.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    begins_as(name, PREFIX)
}

/// In any case, and with `_` for `-`: what serves by CGI's rules gives both the same variable.
fn begins_as(name: &str, prefix: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(|(byte, wanted)| plain(byte) == wanted)
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
