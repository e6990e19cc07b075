//! What a failed call, a node's problem, a response that breaks off, or a node's last word means for a run. Pure.
//!
//! ```text
//! call failed, response broke off --+
//! problem of the node --------------+--> Verdict --with_last_word--> Verdict --> outcome and code of the observation
//! response is whole ----------------+                                      \---> what the run's owner does next
//! ```
//! Whether a run is tried again is its owner's to say: nothing here knows methods, retries or bodies that can be sent twice.

#[cfg(test)]
mod tests;

use fabric::{BodyError, CallError};
use protocol::receipt::{Outcome, RunEnd};
use protocol::{ByteSize, Code, Problem};

/// What has become of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it was done, and whose fault it is where it was not.
    pub fate: Fate,
    /// The cause, where there is one.
    pub code: Option<Code>,
    /// The cause for people; empty where the code says all.
    pub detail: String,
    /// What to do about it, where a node says so.
    pub help: Option<String>,
}

/// Whether a run was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The function has responded, and all of its response has come.
    Answered,
    /// The node has surely not begun it.
    NotTaken(NotTaken),
    /// The platform has lost it, perhaps half done.
    Lost,
    /// The function has failed.
    Failed,
    /// Its deadline has passed.
    TimedOut,
    /// Whoever it was for went away, or did not send what was announced.
    Cancelled,
}

/// Why a node has not begun a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// It has no room.
    Busy,
    /// The account holds its share of it.
    ShareExceeded,
    /// It is not there, or did not accept in time and has confirmed that it never will.
    Absent,
    /// It accepted the call, and then sent the run back.
    Declined,
    /// This process has no connection to any node.
    Disconnected,
    /// This process can make no ticket now.
    NoTicket,
    /// No node could be sent this request.
    Unsendable,
}

impl Verdict {
    /// The response is whole.
    pub const ANSWERED: Self = Self::plain(Fate::Answered, None);
    /// Nobody waits for it any more.
    pub const CANCELLED: Self = Self::plain(Fate::Cancelled, None);

    const fn plain(fate: Fate, code: Option<Code>) -> Self {
        Self { fate, code, detail: String::new(), help: None }
    }

    fn new(fate: Fate, code: Code, detail: impl Into<String>) -> Self {
        Self { fate, code: Some(code), detail: detail.into(), help: None }
    }

    /// The platform has lost it.
    #[must_use]
    pub fn lost(code: Code, detail: impl Into<String>) -> Self {
        Self::new(Fate::Lost, code, detail)
    }

    /// It is the function's fault, or its account's.
    #[must_use]
    pub fn failed(code: Code, detail: impl Into<String>) -> Self {
        Self::new(Fate::Failed, code, detail)
    }

    /// The response is larger than it may be.
    #[must_use]
    pub fn too_large(size_max: ByteSize) -> Self {
        Self::failed(Code::ResponseTooLarge, format!("the answer is larger than {size_max}"))
    }

    pub(crate) fn no_ticket() -> Self {
        Self::new(Fate::NotTaken(NotTaken::NoTicket), Code::NoNode, "no ticket can be made now")
    }

    /// Of what its owner answers instead of the function.
    #[must_use]
    pub fn of_code(code: Code) -> Self {
        let fate = match Outcome::of(code) {
            Outcome::Succeeded | Outcome::Failed => Fate::Failed,
            Outcome::TimedOut => Fate::TimedOut,
            Outcome::Cancelled => Fate::Cancelled,
            Outcome::PlatformFailed => Fate::Lost,
        };
        Self::plain(fate, Some(code))
    }

    /// Of a call that brought no response.
    #[must_use]
    pub fn of_error(error: &CallError) -> Self {
        let not_taken = |why, code| Self::new(Fate::NotTaken(why), code, error.to_string());
        match error {
            CallError::Busy(why) => match why.strip_prefix(Code::ShareExceeded.as_str()) {
                Some(of) => {
                    let of = of.trim_start_matches([':', ' ']);
                    Self::new(Fate::NotTaken(NotTaken::ShareExceeded), Code::ShareExceeded, of)
                }
                None => not_taken(NotTaken::Busy, Code::Overloaded),
            },
            CallError::NoResponder | CallError::NotAccepted { revoked: true } => {
                not_taken(NotTaken::Absent, Code::Overloaded)
            }
            CallError::Disconnected(_) => not_taken(NotTaken::Disconnected, Code::NoNode),
            CallError::Unsendable(_) => not_taken(NotTaken::Unsendable, Code::HeadersTooLarge),
            CallError::Deadline => Self::plain(Fate::TimedOut, Some(Code::TimedOut)),
            CallError::Source(why) => Self::lost(Code::BodyIncomplete, why.clone()),
            CallError::Aborted(why) => Self::lost(Code::NodeFailed, why.clone()),
            CallError::Lost | CallError::NotAccepted { revoked: false } => {
                Self::lost(Code::NodeLost, error.to_string())
            }
        }
    }

    /// Of a problem that the node has sent instead of the function's response.
    #[must_use]
    pub fn of_problem(code: Code, said: Option<Problem>) -> Self {
        let fate = match (code, Outcome::of(code)) {
            (Code::Overloaded | Code::Draining, _) => Fate::NotTaken(NotTaken::Declined),
            (_, Outcome::PlatformFailed) => Fate::Lost,
            (_, Outcome::TimedOut) => Fate::TimedOut,
            (_, Outcome::Succeeded | Outcome::Failed | Outcome::Cancelled) => Fate::Failed,
        };
        match said {
            Some(problem) => Self { help: Some(problem.help), ..Self::new(fate, code, problem.detail) },
            None => Self::plain(fate, Some(code)),
        }
    }

    /// Of a response that broke off.
    #[must_use]
    pub fn of_body(error: &BodyError) -> Self {
        match error {
            BodyError::Deadline => Self::plain(Fate::TimedOut, Some(Code::TimedOut)),
            BodyError::Lost => Self::lost(Code::NodeLost, error.to_string()),
            BodyError::Aborted(_) => Self::lost(Code::NodeFailed, error.to_string()),
            BodyError::Source(_) => Self::lost(Code::BodyIncomplete, error.to_string()),
        }
    }

    /// Whether another node may be asked without a run being done twice.
    #[must_use]
    pub fn surely_not_started(&self) -> bool {
        matches!(self.fate, Fate::NotTaken(_))
    }

    /// Whether others should be asked before this node for a while. It is well where the request broke off on its way to
    /// it: whoever calls could make any node suspect; and where its owner has taken it back, which it reports itself.
    #[must_use]
    pub fn suspect(&self) -> bool {
        matches!(self.fate, Fate::Lost | Fate::NotTaken(NotTaken::Absent))
            && !matches!(self.code, Some(Code::BodyIncomplete | Code::NodePaused))
    }

    /// As the observation has it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.fate {
            Fate::Answered => Outcome::Succeeded,
            Fate::Failed => Outcome::Failed,
            Fate::TimedOut => Outcome::TimedOut,
            Fate::Cancelled => Outcome::Cancelled,
            Fate::Lost | Fate::NotTaken(_) => Outcome::PlatformFailed,
        }
    }

    /// The same, once the node has said its last word. The node knows why a response broke off; whether anybody still
    /// waited for it, only the caller does.
    #[must_use]
    pub fn with_last_word(self, end: Option<&RunEnd>) -> Self {
        let Some(end) = end else { return self };
        let (fate, otherwise) = match (self.fate, end.outcome) {
            (Fate::Cancelled | Fate::NotTaken(_), _) | (_, Outcome::Succeeded | Outcome::Cancelled) => return self,
            (_, Outcome::Failed) => (Fate::Failed, None),
            (_, Outcome::TimedOut) => (Fate::TimedOut, Some(Code::TimedOut)),
            (_, Outcome::PlatformFailed) => (Fate::Lost, Some(Code::NodeFailed)),
        };
        // What was seen here stands where the node does not say more.
        let (seen, detail) = if fate == self.fate { (self.code, self.detail) } else { (None, String::new()) };
        Self { fate, code: end.code.or(seen).or(otherwise), detail: end.detail.clone().unwrap_or(detail), help: None }
    }
}
