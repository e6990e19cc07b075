//! Each error, each problem, each last word.

use fabric::{BodyError, CallError};
use protocol::receipt::{Outcome, RunEnd, Usage};
use protocol::{ByteSize, Code, Problem};

use super::{Fate, NotTaken, Verdict};

fn end(outcome: Outcome, code: Option<Code>, detail: Option<&str>) -> RunEnd {
    let detail = detail.map(str::to_owned);
    RunEnd { outcome, code, detail, usage: Usage::default(), warm: true, cached: false, running: 0 }
}

#[test]
fn errors_of_calls() {
    let not_taken = Fate::NotTaken;
    let cases = [
        (CallError::NoResponder, not_taken(NotTaken::Absent), Code::Overloaded, true),
        (CallError::NotAccepted { revoked: true }, not_taken(NotTaken::Absent), Code::Overloaded, true),
        (CallError::Busy("no slot".to_owned()), not_taken(NotTaken::Busy), Code::Overloaded, false),
        (CallError::Disconnected(String::new()), not_taken(NotTaken::Disconnected), Code::NoNode, false),
        (CallError::Unsendable(String::new()), not_taken(NotTaken::Unsendable), Code::HeadersTooLarge, false),
        (CallError::NotAccepted { revoked: false }, Fate::Lost, Code::NodeLost, true),
        (CallError::Lost, Fate::Lost, Code::NodeLost, true),
        (CallError::Aborted("it broke".to_owned()), Fate::Lost, Code::NodeFailed, true),
        (CallError::Source("it broke off".to_owned()), Fate::Lost, Code::BodyIncomplete, false),
        (CallError::Deadline, Fate::TimedOut, Code::TimedOut, false),
    ];
    for (error, fate, code, suspect) in cases {
        let verdict = Verdict::of_error(&error);
        assert_eq!((verdict.fate, verdict.code, verdict.suspect()), (fate, Some(code), suspect), "{error:?}");
        // The fabric and this crate must agree: what has surely not begun may be done elsewhere.
        assert_eq!(verdict.surely_not_started(), error.surely_not_started(), "{error:?}");
    }
}

#[test]
fn a_share_is_told_apart_from_a_full_node() {
    let verdict = Verdict::of_error(&CallError::Busy("share_exceeded: of slots".to_owned()));
    assert_eq!(verdict.fate, Fate::NotTaken(NotTaken::ShareExceeded));
    assert_eq!((verdict.code, verdict.detail.as_str()), (Some(Code::ShareExceeded), "of slots"));
    assert!(!verdict.suspect(), "the node is well");
}

#[test]
fn problems_of_nodes() {
    let cases = [
        (Code::Overloaded, Fate::NotTaken(NotTaken::Declined)),
        (Code::Draining, Fate::NotTaken(NotTaken::Declined)),
        (Code::Trap, Fate::Failed),
        (Code::OutOfMemory, Fate::Failed),
        (Code::InvalidRequest, Fate::Failed),
        (Code::TimedOut, Fate::TimedOut),
        (Code::NodeFailed, Fate::Lost),
        (Code::StorageUnavailable, Fate::Lost),
    ];
    for (code, fate) in cases {
        let verdict = Verdict::of_problem(code, None);
        assert_eq!((verdict.fate, verdict.code, verdict.detail.as_str()), (fate, Some(code), ""), "{code}");
    }
    let said = Problem::new(Code::Trap, "unreachable").with_help("See the log.");
    let verdict = Verdict::of_problem(Code::Trap, Some(said));
    assert_eq!((verdict.detail.as_str(), verdict.help.as_deref()), ("unreachable", Some("See the log.")));
}

#[test]
fn responses_that_break_off() {
    let cases = [
        (BodyError::Deadline, Outcome::TimedOut, Code::TimedOut),
        (BodyError::Lost, Outcome::PlatformFailed, Code::NodeLost),
        (BodyError::Aborted(String::new()), Outcome::PlatformFailed, Code::NodeFailed),
        (BodyError::Source("it broke off".into()), Outcome::PlatformFailed, Code::BodyIncomplete),
    ];
    for (error, outcome, code) in cases {
        let verdict = Verdict::of_body(&error);
        assert_eq!((verdict.outcome(), verdict.code), (outcome, Some(code)), "{error:?}");
    }
    assert_eq!(Verdict::too_large(ByteSize::kib(1)).outcome(), Outcome::Failed);
}

#[test]
fn codes_of_owners() {
    assert_eq!(Verdict::of_code(Code::NoNode).outcome(), Outcome::PlatformFailed);
    assert_eq!(Verdict::of_code(Code::BodyTooLarge).outcome(), Outcome::Cancelled);
    assert_eq!(Verdict::of_code(Code::InvalidResponse).outcome(), Outcome::Failed);
    assert_eq!(Verdict::of_code(Code::TimedOut).outcome(), Outcome::TimedOut);
}

#[test]
fn the_node_knows_why_it_broke_off() {
    let broke_off = || Verdict::lost(Code::NodeFailed, "the peer aborted");
    let trapped = end(Outcome::Failed, Some(Code::Trap), Some("unreachable"));
    let told = broke_off().with_last_word(Some(&trapped));
    assert_eq!((told.fate, told.code, told.detail.as_str()), (Fate::Failed, Some(Code::Trap), "unreachable"));
    // A response that seemed whole was not.
    let told = Verdict::ANSWERED.with_last_word(Some(&end(Outcome::PlatformFailed, None, None)));
    assert_eq!((told.fate, told.code), (Fate::Lost, Some(Code::NodeFailed)));
    let told = Verdict::ANSWERED.with_last_word(Some(&end(Outcome::TimedOut, None, None)));
    assert_eq!((told.fate, told.code), (Fate::TimedOut, Some(Code::TimedOut)));
    // Where it says less than was seen, that stands; what was seen of something else does not.
    let seen = || Verdict::of_problem(Code::Trap, Some(Problem::new(Code::Trap, "unreachable")));
    let told = seen().with_last_word(Some(&end(Outcome::Failed, None, None)));
    assert_eq!((told.code, told.detail.as_str()), (Some(Code::Trap), "unreachable"));
    let told = broke_off().with_last_word(Some(&end(Outcome::Failed, None, None)));
    assert_eq!((told.fate, told.code, told.detail.as_str()), (Fate::Failed, None, ""));
}

#[test]
fn what_only_the_caller_knows_stays() {
    let trapped = end(Outcome::Failed, Some(Code::Trap), None);
    assert_eq!(Verdict::CANCELLED.with_last_word(Some(&trapped)), Verdict::CANCELLED);
    let busy = Verdict::of_error(&CallError::Busy(String::new()));
    assert_eq!(busy.clone().with_last_word(Some(&trapped)), busy);
    // That all went well, or that nobody waited, explains no failure.
    for outcome in [Outcome::Succeeded, Outcome::Cancelled] {
        let large = Verdict::too_large(ByteSize(1));
        assert_eq!(large.clone().with_last_word(Some(&end(outcome, None, None))), large);
    }
    assert_eq!(Verdict::ANSWERED.with_last_word(None), Verdict::ANSWERED);
}
