//! Names of HTTP headers and cookies that are ours.

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
