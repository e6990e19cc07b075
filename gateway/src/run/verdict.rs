//! What a call to a node that brought no answer means. Pure.

use fabric::CallError;
use http::Method;
use protocol::Code;

/// What to do after a node failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ask the next node; this one may be sick.
    Next { suspect: bool },
    /// The connection is away: wait a little, ask again.
    Wait,
    /// That was it.
    Fail(Code),
}

/// What a failed call means for a request of this method; `replayable`: the body can be sent again.
pub(crate) fn after_error(error: &CallError, method: &Method, replayable: bool) -> Verdict {
    let again = replayable && is_idempotent(method);
    match error {
        CallError::Deadline => Verdict::Fail(Code::TimedOut),
        CallError::Unsendable(_) => Verdict::Fail(Code::HeadersTooLarge),
        CallError::Disconnected(_) if replayable => Verdict::Wait,
        _ if error.surely_not_started() && replayable => {
            Verdict::Next { suspect: !matches!(error, CallError::Busy(_)) }
        }
        _ if error.surely_not_started() => Verdict::Fail(Code::Overloaded),
        _ if again => Verdict::Next { suspect: true },
        CallError::Aborted(_) => Verdict::Fail(Code::NodeFailed),
        _ => Verdict::Fail(Code::NodeLost),
    }
}

/// What it means that a node answered with a problem of its own instead of the function's answer.
pub(crate) fn after_problem(code: Code, method: &Method, replayable: bool) -> Verdict {
    match code {
        Code::Overloaded | Code::Draining if replayable => Verdict::Next { suspect: false },
        Code::NodeFailed if replayable && is_idempotent(method) => Verdict::Next { suspect: true },
        code => Verdict::Fail(code),
    }
}

/// Doing it twice is as doing it once (RFC 9110, 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || matches!(*method, Method::PUT | Method::DELETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_never_done_twice_unless_it_may() {
        let lost = CallError::Lost;
        let unsure = CallError::NotAccepted { revoked: false };
        for error in [&lost, &unsure] {
            assert_eq!(after_error(error, &Method::POST, true), Verdict::Fail(Code::NodeLost));
            assert_eq!(after_error(error, &Method::PUT, true), Verdict::Next { suspect: true });
            assert_eq!(after_error(error, &Method::GET, false), Verdict::Fail(Code::NodeLost));
        }
        assert_eq!(
            after_error(&CallError::Aborted(String::new()), &Method::POST, true),
            Verdict::Fail(Code::NodeFailed)
        );
    }

    #[test]
    fn what_has_surely_not_started_goes_to_the_next_node() {
        let cases = [
            (CallError::NoResponder, true),
            (CallError::Busy(String::new()), false),
            (CallError::NotAccepted { revoked: true }, true),
        ];
        for (error, suspect) in cases {
            assert_eq!(after_error(&error, &Method::POST, true), Verdict::Next { suspect });
            assert_eq!(after_error(&error, &Method::POST, false), Verdict::Fail(Code::Overloaded));
        }
    }

    #[test]
    fn problems_of_nodes() {
        assert_eq!(after_problem(Code::Trap, &Method::GET, true), Verdict::Fail(Code::Trap));
        assert_eq!(after_problem(Code::Draining, &Method::POST, true), Verdict::Next { suspect: false });
        assert_eq!(after_problem(Code::NodeFailed, &Method::POST, true), Verdict::Fail(Code::NodeFailed));
        assert_eq!(after_error(&CallError::Deadline, &Method::GET, true), Verdict::Fail(Code::TimedOut));
    }
}
