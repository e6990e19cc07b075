//! `Proxy-Status` (RFC 9209): the mark of a response that the platform gave instead of a function. A function may answer
//! with any status and any media type, a problem document too; this header of ours it cannot set.

use crate::error::{Code, Problem};
use crate::receipt::Outcome;

/// The header's name.
pub const HEADER: &str = "proxy-status";
/// The name by which the platform calls itself in it.
const NAME: &str = "crowdcloud";

impl Problem {
    /// The value that goes with this problem.
    #[must_use]
    pub fn proxy_status(&self) -> String {
        format!("{NAME}; error={}; details=\"{}\"", error_type(self.code), self.code.as_str())
    }
}

/// Whether a value of the header is the platform's.
#[must_use]
pub fn is_ours(value: &str) -> bool {
    value.split([';', ',']).next().is_some_and(|name| name.trim() == NAME)
}

/// The error type of RFC 9209 that comes nearest.
fn error_type(code: Code) -> &'static str {
    match code {
        Code::TimedOut => "http_response_timeout",
        Code::NodeLost | Code::NodePaused => "connection_terminated",
        Code::NodeFailed | Code::Internal => "proxy_internal_error",
        Code::NoNode | Code::Overloaded | Code::Draining | Code::ControlPlaneUnavailable | Code::StorageUnavailable => {
            "destination_unavailable"
        }
        Code::ConcurrencyLimit | Code::RateLimited | Code::ShareExceeded => "connection_limit_reached",
        Code::FunctionNotFound | Code::VersionNotFound => "destination_not_found",
        Code::ResponseTooLarge => "http_response_body_size",
        Code::InvalidResponse => "http_protocol_error",
        Code::Unauthenticated | Code::InvalidKey | Code::Forbidden | Code::CrossSite => "http_request_denied",
        _ if Outcome::of(code) == Outcome::Failed => "http_response_incomplete",
        _ => "http_request_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f27_every_problem_is_marked_and_nothing_else_is() {
        for &code in Code::ALL {
            assert!(is_ours(&Problem::from(code).proxy_status()), "{code}");
        }
        assert!(is_ours(" crowdcloud ; error=x"));
        for other in ["upstream; error=y", "crowdclouds", "crowdcloud.example.com; error=x", ""] {
            assert!(!is_ours(other), "{other:?}");
        }
    }
}
