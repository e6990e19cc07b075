//! Runs, what they used, and where they take place.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Code;
use crate::flag::Flag;
use crate::ids::{JobId, NodeId, RunId};
use crate::manifest::{Lane, Limits, PlacementClass};
use crate::names::{Name, Reference};
use crate::node::{Confinement, LogLine, NodeState, Paused, TrustLevel, VmLane};
use crate::placement::{Explanation, LaneReason};
use crate::receipt::{Outcome, Usage};
use crate::source::{RunPrincipal, RunSource};
use crate::units::{ByteSize, Timestamp};

api_types! {
    /// A run, as lists show it.
    pub struct Invocation {
        /// The run.
        pub run: RunId,
        /// The function's name.
        pub function: Name,
        /// The version's number.
        pub version: u32,
        /// The node that did it.
        pub node: Option<NodeId>,
        /// The lane.
        pub lane: Lane,
        /// Why that lane; none where its version was deleted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub lane_reason: Option<LaneReason>,
        /// What it was allowed to use: CPUs, memory, time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limits: Option<Limits>,
        /// How it ended.
        pub outcome: Outcome,
        /// The answer's status.
        pub status: u16,
        /// The platform's code, where it answered instead of the function.
        pub code: Option<Code>,
        /// The request's method.
        pub method: String,
        /// The request's path.
        pub path: String,
        /// When its head was read.
        pub received: Timestamp,
        /// From then to the answer's end, in microseconds.
        pub wall_us: u64,
        /// What it used, as settled.
        pub usage: Usage,
        /// It has ended and its figures are final; else one of its halves has not come so far.
        pub settled: bool,
        /// Why the figures are not what both halves say; none where both have come and agree.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub flag: Option<Flag>,
        /// Why it went where it went: candidates, predicted times, refusals. Lists leave it out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub placement: Option<Explanation>,
        /// Of which job it was a try; none of a call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub job: Option<JobId>,
        /// What made it, where that is known: its gateway says it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub source: Option<RunSource>,
        /// On whose behalf it was made, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub principal: Option<RunPrincipal>,
    }

    /// `GET /invocations`: a page of the account's runs, the newest first. Where runs are searched for, a page may be short,
    /// or empty, with `next` set: so far was looked.
    pub struct InvocationPage {
        /// The rows.
        pub items: Vec<Invocation>,
        /// The cursor of the next page; none on the last.
        pub next: Option<String>,
        /// The time from which the account's runs are complete: earlier ones may be gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub since: Option<Timestamp>,
        /// Blocks of the history that would belong here and cannot be read, or not all of them, by their numbers: runs are
        /// missing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub damaged: Vec<u64>,
    }

    /// What runs wrote.
    pub struct LogPage {
        /// The lines. Where some cannot be read, a line of the platform's says which, and the others are there.
        pub items: Vec<LogLine>,
        /// The cursor of the next page: there is none.
        pub next: Option<String>,
        /// The time from which the account's lines are complete: earlier ones may be gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub since: Option<Timestamp>,
    }

    /// `POST /functions/{name}/test`: one call from the portal, answered as data, never as a page.
    #[serde(deny_unknown_fields)]
    pub struct TestCall {
        /// The method.
        pub method: String,
        /// Path and query.
        pub path: String,
        /// Headers.
        #[serde(default)]
        pub headers: Vec<(String, String)>,
        /// The body, base64.
        #[serde(default)]
        pub body: String,
        /// A version or an alias.
        #[serde(default)]
        pub reference: Option<Reference>,
    }

    /// What the function answered to a test call.
    pub struct TestAnswer {
        /// The run.
        pub run: RunId,
        /// The node that did it.
        pub node: Option<NodeId>,
        /// The status.
        pub status: u16,
        /// The headers.
        pub headers: Vec<(String, String)>,
        /// The body, base64.
        pub body: String,
        /// From the call to the answer's end, in microseconds.
        pub wall_us: u64,
        /// The platform's code, where it answered instead of the function.
        pub code: Option<Code>,
    }

    /// A lender's machine.
    pub struct Node {
        /// The id.
        pub id: NodeId,
        /// For people.
        pub name: String,
        /// Where it is: what is kept, with what its last report says. It is offline where it has not reported for 3 s.
        pub state: NodeState,
        /// Why it was suspended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub state_reason: Option<String>,
        /// Why it is paused or drains, and until when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub paused: Option<Paused>,
        /// The widest placement class that it serves for others.
        pub class: PlacementClass,
        /// Whether it is one of this account's own.
        #[serde(default)]
        pub own: bool,
        /// Whose it is: the operator alone sees it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub owner: Option<String>,
        /// How far it is trusted; none of one that was suspended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub level: Option<TrustLevel>,
        /// The architecture.
        pub arch: String,
        /// The lanes.
        pub lanes: Vec<Lane>,
        /// Cores lent.
        pub cores: u32,
        /// Memory lent.
        pub memory: ByteSize,
        /// Of that, not promised to a run.
        pub memory_free: ByteSize,
        /// The machine's load, 0 to 1.
        pub load: f32,
        /// Runs that it takes at once.
        pub slots: u32,
        /// Runs now.
        pub running: u32,
        /// The last report.
        pub last_seen: Option<Timestamp>,
        /// How its VM lane is, by its last report.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub vm: Option<VmLane>,
        /// How far it is confined, by its last report.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub confinement: Option<Confinement>,
    }

    /// `GET /limits`
    pub struct PlatformLimits {
        /// What a version gets where it says nothing.
        pub defaults: Limits,
        /// The most that it may ask for.
        pub maxima: Limits,
        /// The least.
        pub minima: Limits,
        /// The largest artifact.
        pub artifact: ByteSize,
        /// The largest request head.
        pub headers: ByteSize,
        /// Bytes of a run's log that are kept.
        pub log: ByteSize,
        /// Versions that a function keeps.
        pub versions: u32,
        /// Functions that an account has.
        pub functions: u32,
        /// Environment variables of a version: count.
        pub env_count: u32,
        /// Environment variables of a version: bytes in all.
        pub env_bytes: ByteSize,
        /// How long runs and logs are kept, in days.
        pub runs_days: u32,
        /// For how long a deleted function can be restored, in days.
        pub deleted_days: u32,
    }
}

/// The statuses that a list of runs is asked for: one such as `404`, a class such as `5xx`, or `none` for runs that brought
/// no response. These are the words of usage by status, too: functions may answer with any status of three digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    /// The first of them, 100 to 999; 0 for none.
    pub first: u16,
    /// The last of them, 100 to 999; 0 for none.
    pub last: u16,
}

/// The word for runs without a response.
const NO_STATUS: &str = "none";

impl Statuses {
    /// No response, which has the status 0.
    pub const NONE: Self = Self { first: 0, last: 0 };

    /// All of a class, by the first digit; 0 is [`NONE`](Self::NONE), and there is none above 9.
    #[must_use]
    pub const fn class(digit: u16) -> Self {
        match digit {
            0 => Self::NONE,
            1..=9 => Self { first: digit * 100, last: digit * 100 + 99 },
            _ => Self { first: 900, last: 999 },
        }
    }

    /// Whether this status is one of them.
    #[must_use]
    pub const fn contains(&self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }
}

impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digit = text.strip_suffix("xx").filter(|digit| digit.bytes().all(|byte| byte.is_ascii_digit()));
        let digit = digit.and_then(|digit| digit.parse::<u16>().ok());
        let one = || text.parse::<u16>().ok().filter(|status| (100..=999).contains(status));
        match digit.filter(|digit| (1..=9).contains(digit)) {
            Some(digit) => Ok(Self::class(digit)),
            None if text == NO_STATUS => Ok(Self::NONE),
            None => one().map(|status| Self { first: status, last: status }).ok_or_else(|| {
                let text: String = text.chars().take(60).collect();
                format!("{text:?} is neither a status such as 404, nor a class such as 5xx, nor `none`")
            }),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str(NO_STATUS),
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, .. } => write!(f, "{}xx", first / 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_or_a_class() {
        for text in ["100", "404", "999", "1xx", "5xx", "9xx", "none"] {
            assert_eq!(text.parse::<Statuses>().unwrap().to_string(), text);
        }
        assert_eq!("4xx".parse(), Ok(Statuses { first: 400, last: 499 }));
        assert!(Statuses::class(9).contains(999) && !Statuses::NONE.contains(100) && Statuses::class(0).contains(0));
        for text in ["", "xx", "10xx", "+4xx", "0", "None", "0xx", "99", "1000", "5XX", "5x", "-4xx", "4 04", "55xx"] {
            text.parse::<Statuses>().unwrap_err();
        }
    }
}
