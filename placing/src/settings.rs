//! All that can be set about the way of a run. Calls and jobs differ in what their owners set here, and in nothing else.

use std::time::Duration;

use protocol::ByteSize;

/// Bounds of a run's way. Owners set what they have options for, and leave the rest.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a node may take to accept a run. Then the run is taken back.
    pub accept_within: Duration,
    /// A ticket is good for so long: to start the run, and to fetch its artifact.
    pub ticket_life: Duration,
    /// A node that has not ended a run at its deadline has this much more time to say so itself: its response carries what
    /// the run used.
    pub deadline_slack: Duration,
    /// How long to wait for a node's last word. (An exchange waits for 2 s once it is cancelled; this is longer.)
    pub last_word_within: Duration,
    /// A node that lost a run is asked last for so long, or until it reports again.
    pub suspect_for: Duration,
    /// The largest problem document that is read.
    pub problem_max: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            accept_within: Duration::from_millis(250),
            ticket_life: Duration::from_secs(20),
            deadline_slack: Duration::from_millis(50),
            last_word_within: Duration::from_secs(3),
            suspect_for: Duration::from_secs(3),
            problem_max: ByteSize::kib(64),
        }
    }
}
