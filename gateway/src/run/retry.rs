//! What a gateway does after a node has not done a call's run: the next node, a moment's patience, or the end. Pure.

use http::Method;
use placing::{Fate, NotTaken, Verdict};
use protocol::Code;

/// What to do after a node failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask the next node.
    Node,
    /// No node can be asked now: wait a little, ask again.
    Wait,
    /// That was it.
    Fail(Code),
}

/// What comes after this, for a request of this method; `replayable`: the body can be sent again.
pub(crate) fn after(verdict: &Verdict, method: &Method, replayable: bool) -> Next {
    let code = verdict.code.unwrap_or(Code::Internal);
    match verdict.fate {
        Fate::NotTaken(NotTaken::Unsendable) => Next::Fail(Code::HeadersTooLarge),
        Fate::NotTaken(NotTaken::Disconnected | NotTaken::NoTicket) if replayable => Next::Wait,
        Fate::NotTaken(_) if replayable => Next::Node,
        Fate::NotTaken(NotTaken::Declined | NotTaken::ShareExceeded) => Next::Fail(code),
        Fate::NotTaken(_) => Next::Fail(Code::Overloaded),
        Fate::Lost
            if matches!(code, Code::NodeLost | Code::NodeFailed | Code::NodePaused)
                && replayable
                && is_idempotent(method) =>
        {
            Next::Node
        }
        _ => Next::Fail(code),
    }
}

/// Doing it twice is as doing it once (RFC 9110, 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || matches!(*method, Method::PUT | Method::DELETE)
}

#[cfg(test)]
mod tests {
    use fabric::CallError;

    use super::*;

    fn after_error(error: &CallError, method: &Method, replayable: bool) -> Next {
        after(&Verdict::of_error(error), method, replayable)
    }

    fn after_problem(code: Code, method: &Method, replayable: bool) -> Next {
        after(&Verdict::of_problem(code, None), method, replayable)
    }

    #[test]
    fn a_run_is_never_done_twice_unless_it_may() {
        let lost = CallError::Lost;
        let unsure = CallError::NotAccepted { revoked: false };
        for error in [&lost, &unsure] {
            assert_eq!(after_error(error, &Method::POST, true), Next::Fail(Code::NodeLost));
            assert_eq!(after_error(error, &Method::PUT, true), Next::Node);
            assert_eq!(after_error(error, &Method::GET, false), Next::Fail(Code::NodeLost));
        }
        assert_eq!(after_error(&CallError::Aborted(String::new()), &Method::POST, true), Next::Fail(Code::NodeFailed));
    }

    #[test]
    fn what_has_surely_not_started_goes_to_the_next_node() {
        let not_taken =
            [CallError::NoResponder, CallError::Busy(String::new()), CallError::NotAccepted { revoked: true }];
        for error in not_taken {
            assert_eq!(after_error(&error, &Method::POST, true), Next::Node);
            assert_eq!(after_error(&error, &Method::POST, false), Next::Fail(Code::Overloaded));
        }
        let share = CallError::Busy(format!("{}: of slots", Code::ShareExceeded));
        assert_eq!(after_error(&share, &Method::POST, true), Next::Node);
        assert_eq!(after_error(&share, &Method::POST, false), Next::Fail(Code::ShareExceeded));
        let away = CallError::Disconnected(String::new());
        assert_eq!(after_error(&away, &Method::POST, true), Next::Wait);
        assert_eq!(after_error(&away, &Method::POST, false), Next::Fail(Code::Overloaded));
        let unsendable = CallError::Unsendable(String::new());
        assert_eq!(after_error(&unsendable, &Method::GET, true), Next::Fail(Code::HeadersTooLarge));
    }

    #[test]
    fn problems_of_nodes() {
        assert_eq!(after_problem(Code::Trap, &Method::GET, true), Next::Fail(Code::Trap));
        assert_eq!(after_problem(Code::Draining, &Method::POST, true), Next::Node);
        assert_eq!(after_problem(Code::Draining, &Method::POST, false), Next::Fail(Code::Draining));
        assert_eq!(after_problem(Code::NodeFailed, &Method::POST, true), Next::Fail(Code::NodeFailed));
        assert_eq!(after_problem(Code::NodeFailed, &Method::GET, true), Next::Node);
        assert_eq!(after_problem(Code::NodePaused, &Method::GET, true), Next::Node);
        assert_eq!(after_problem(Code::NodePaused, &Method::POST, true), Next::Fail(Code::NodePaused));
        // Another node would have the same store.
        let store = Code::StorageUnavailable;
        assert_eq!(after_problem(store, &Method::GET, true), Next::Fail(store));
        assert_eq!(after_error(&CallError::Deadline, &Method::GET, true), Next::Fail(Code::TimedOut));
    }
}
