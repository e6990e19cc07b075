//! What a node and the runner inside a machine say to each other, over HTTP on one port of the machine.
//!
//! ```text
//! node --the request of a run--> runner --the function's answer, or 502 with `NODE_PROBLEM`--> node
//! node --a request with `ENDED`--> runner --how that run ended, once it has: `RunEnded`--> node
//! ```

use protocol::receipt::{Outcome, Usage};
use protocol::{ByteSize, Code, Limits};
use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::verdict::Verdict;

/// On a request: how has the run before ended? Only the node can ask: a function's caller sets no header of ours.
pub const ENDED: &str = "x-crowdcloud-ended";

/// The runner's only argument, in JSON. Its environment is the function's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// What the code is.
    pub format: Format,
    /// Where the code is.
    pub code: String,
    /// Where to listen.
    pub port: u16,
    /// What one run may use.
    pub limits: Limits,
    /// The port of the machine's own where the node's proxy is; none is no way out.
    pub proxy: Option<u16>,
}

/// How a run in a machine ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnded {
    /// In one word.
    pub outcome: Outcome,
    /// Why it failed, where it did.
    pub code: Option<Code>,
    /// The same for people.
    pub detail: String,
    /// The most memory that its instance held.
    pub memory_peak: ByteSize,
    /// What is to be remarked on it in its log.
    pub remarks: Vec<String>,
}

impl RunEnded {
    /// Of a verdict, what was used, and what the run's log has of the platform's.
    #[must_use]
    pub fn new(verdict: Verdict, usage: &Usage, mut remarks: Vec<String>) -> Self {
        // The node says itself how the run ended.
        let end = verdict.line();
        remarks.retain(|remark| Some(remark) != end.as_ref());
        let Verdict { outcome, code, detail } = verdict;
        Self { outcome, code, detail, memory_peak: usage.memory_peak, remarks }
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        Verdict { outcome: self.outcome, code: self.code, detail: self.detail }
    }
}
