//! While the operator has suspended a node, or the platform refuses it for a reason that may pass, the process that lends
//! stays, and asks now and then whether that still holds.
//!
//! ```text
//! works --refused: suspended, or for now--> waits --asks for a JWT--> refused still: waits twice as long, up to 5 minutes
//!   '-----refused for good--> ends                                    let in: works, and nothing is kept of it
//! ```

use std::time::Duration;

use protocol::{Code, Timestamp};

use super::folder::{Folder, Lent};
use crate::client::UNEXPECTED_ANSWER;
use crate::failure::Failure;

const ASK_AFTER: Duration = Duration::from_secs(2);
const ASK_AFTER_MAX: Duration = Duration::from_secs(300);
/// A node that worked for so long before it was suspended begins with short pauses again.
const WORKED: Duration = Duration::from_secs(60);

/// Refusals that no pause changes: the node has left or was revoked, or the machine is not the one that has joined.
const FOR_GOOD: [Code; 4] = [Code::NodeLeft, Code::NodeKeysDiffer, Code::NodeMachineDiffers, Code::NodeRestored];

/// What comes after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The end: this machine's own failure, or a refusal for good.
    End,
    /// It asks whether it is still suspended.
    Suspended,
    /// It asks again: what the platform refuses now, it may take later.
    Again,
}

impl Next {
    pub(super) fn after(failure: &Failure) -> Self {
        let is_for_good = FOR_GOOD.iter().any(|code| failure.is(*code));
        // Something in between may answer while the platform is away.
        let is_said = failure.is_platforms() || failure.code() == UNEXPECTED_ANSWER;
        match is_said {
            true if failure.is(Code::NodeSuspended) => Self::Suspended,
            true if !is_for_good => Self::Again,
            _ => Self::End,
        }
    }
}

/// How long it waits before it asks again.
#[derive(Debug)]
pub(super) struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(ASK_AFTER)
    }
}

impl Patience {
    /// The next pause, after the node has worked for so long. Of each, the second half is up to `chance` (0 to 1): nodes that
    /// were suspended together do not ask together.
    pub(super) fn next(&mut self, worked: Duration, chance: f64) -> Duration {
        let pause = if worked > WORKED { ASK_AFTER } else { self.0 };
        self.0 = (pause * 2).min(ASK_AFTER_MAX);
        pause.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// Forgets that the platform has shut the node out: it has said otherwise since.
pub(super) fn clear(folder: &Folder, lent: &mut Lent) {
    let was_shut_out = lent.shut_out.take().is_some();
    let asked_again = lent.asks_again.take().is_some();
    if (was_shut_out || asked_again)
        && let Err(unkept) = folder.keep(lent)
    {
        tracing::warn!(error = unkept.what(), "that the node is shut out no longer is not kept");
    }
}

/// Keeps why the platform shuts the node out, and when it asks again where it does: its owner is told also later.
pub(super) fn keep(folder: &Folder, lent: &mut Lent, why: &Failure, asks_again: Option<Timestamp>) {
    lent.shut_out = Some(why.what());
    lent.asks_again = asks_again;
    if let Err(unkept) = folder.keep(lent) {
        tracing::warn!(error = unkept.what(), "why the node was shut out is not kept");
    }
}

#[cfg(test)]
mod tests {
    use protocol::Problem;

    use super::super::folder::tests::unsigned;
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn only_a_refusal_for_good_or_a_failure_of_its_own_ends_a_lender() {
        let refused = |code: Code| Failure::from(Problem::from(code));
        for (failure, next) in [
            (refused(Code::NodeLeft), Next::End),
            (refused(Code::NodeKeysDiffer), Next::End),
            (refused(Code::NodeMachineDiffers), Next::End),
            (refused(Code::NodeRestored), Next::End),
            (refused(Code::NodeSuspended), Next::Suspended),
            (refused(Code::NodeCopied), Next::Again),
            (refused(Code::Unauthenticated), Next::Again),
            (refused(Code::NotFound), Next::Again),
            (refused(Code::InvalidRequest), Next::Again),
            (refused(Code::Overloaded), Next::Again),
            (refused(Code::RateLimited), Next::Again),
            (refused(Code::ControlPlaneUnavailable), Next::Again),
            (refused(Code::Internal), Next::Again),
            (Failure::new(Exit::NotFound, UNEXPECTED_ANSWER, "a proxy's page"), Next::Again),
            (Failure::new(Exit::Platform, "worker", "it cannot be started"), Next::End),
            (Failure::new(Exit::Authentication, "platform_key", "it is another platform"), Next::End),
        ] {
            assert_eq!(Next::after(&failure), next, "{}", failure.code());
        }
    }

    #[test]
    fn nothing_is_kept_of_a_suspension_that_is_over() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path().join("node")).unwrap();
        let mut lent = unsigned();
        keep(&folder, &mut lent, &Failure::from(Problem::from(Code::NodeSuspended)), Some(Timestamp::now()));
        let kept = || folder.lent().unwrap().map(|lent| (lent.shut_out.is_some(), lent.asks_again.is_some())).unwrap();
        assert_eq!(kept(), (true, true));
        clear(&folder, &mut lent);
        assert_eq!(kept(), (false, false));
    }

    #[test]
    fn pauses_grow_up_to_a_bound_and_are_short_again_for_a_node_that_has_worked() {
        let mut patience = Patience::default();
        let pauses: Vec<u64> = (0..10).map(|_| patience.next(Duration::ZERO, 1.0).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(patience.next(Duration::ZERO, 0.0), ASK_AFTER_MAX / 2);
        assert_eq!(patience.next(WORKED * 2, 1.0), ASK_AFTER);
        assert_eq!(patience.next(Duration::ZERO, 7.0), ASK_AFTER * 2, "chance is no more than that");
    }
}
