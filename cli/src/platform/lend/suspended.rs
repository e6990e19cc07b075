//! While the operator has suspended a node, the process that lends stays, and asks now and then whether that still holds.
//!
//! ```text
//! works --refused: suspended--> waits --asks for a JWT--> suspended still: waits twice as long, up to 5 minutes
//!                                                         let in again: works
//! ```

use std::time::Duration;

use protocol::Timestamp;

use super::folder::{Folder, Lent};
use crate::failure::Failure;

const ASK_AFTER: Duration = Duration::from_secs(2);
const ASK_AFTER_MAX: Duration = Duration::from_secs(300);
/// A node that worked for so long before it was suspended begins with short pauses again.
const WORKED: Duration = Duration::from_secs(60);

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
    use super::*;

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
