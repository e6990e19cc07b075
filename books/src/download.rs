//! Downloaded blocks, as lines of JSON: how they are written, and how a reader checks them.
//!
//! ```text
//! {"block":{..header..}}                        its runs follow, in the order of ids
//! {"run":"run_..",..}
//! {"block":{..header..},"body_gone":true}       its body is no longer kept
//! {"block":{..header..},"outside":true}         no run of it is of the period: it stands here for the chain
//! {"damaged":{"block":7,"why":".."}}            lines of the block before it may be missing, for this reason
//! ```
//!
//! Blocks stand in the order of their numbers, from the first to the last that has runs of the period, without gaps. A
//! header stands there as its text was written, so that its digest can be checked.

mod reader;

use protocol::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Error, HEADER_BYTES_MAX, Header, LINE_BYTES_MAX, Run, Totals};

pub use reader::Reader;

/// The longest line, in bytes, without its line feed.
const DOWNLOAD_LINE_BYTES_MAX: usize = LINE_BYTES_MAX + HEADER_BYTES_MAX;
/// So much of the reason for missing lines is said, in characters.
const WHY_CHARS_MAX: usize = 500;

/// What stands after a block's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// Its runs.
    Follow,
    /// Nothing: the body is no longer kept.
    Gone,
    /// Nothing: no run of it is of the period.
    Outside,
}

/// The line of a block, with its line feed. `header` is the header's text.
#[must_use]
pub fn block_line(header: &str, lines: Lines) -> String {
    let rest = match lines {
        Lines::Follow => "",
        Lines::Gone => r#","body_gone":true"#,
        Lines::Outside => r#","outside":true"#,
    };
    format!("{{\"block\":{header}{rest}}}\n")
}

/// The line that says that lines of a block are missing, and why; with its line feed.
#[must_use]
pub fn damaged_line(block: u64, why: &str) -> String {
    let damaged = Damaged { block, why: why.chars().take(WHY_CHARS_MAX).collect() };
    format!("{}\n", serde_json::json!({ "damaged": damaged }))
}

/// A line that is not a run's.
#[derive(Debug, Deserialize)]
struct Mark {
    #[serde(default)]
    block: Option<Box<RawValue>>,
    #[serde(default)]
    body_gone: bool,
    #[serde(default)]
    outside: bool,
    #[serde(default)]
    damaged: Option<Damaged>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Damaged {
    block: u64,
    why: String,
}

impl Mark {
    const fn lines(&self) -> Lines {
        match (self.body_gone, self.outside) {
            (true, _) => Lines::Gone,
            (false, true) => Lines::Outside,
            (false, false) => Lines::Follow,
        }
    }
}

/// From when to when runs were received: `from` included, `to` not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// The first moment; none: from the beginning.
    pub from: Option<Timestamp>,
    /// The first moment after; none: up to now.
    pub to: Option<Timestamp>,
}

impl Period {
    /// Whether this moment is of it.
    #[must_use]
    pub fn has(&self, moment: Timestamp) -> bool {
        self.overlaps(moment, moment)
    }

    /// Whether a moment of it is from `began` to `ended`, both included: whether a block with these times may have runs of
    /// the period. Only blocks of which this is not so may stand in a download as [`Lines::Outside`].
    #[must_use]
    pub fn overlaps(&self, began: Timestamp, ended: Timestamp) -> bool {
        self.from.is_none_or(|from| ended >= from) && self.to.is_none_or(|to| began < to)
    }
}

/// What a line was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A block begins.
    Block(Box<Header>),
    /// A run, in the period or not.
    Run {
        /// The run.
        run: Box<Run>,
        /// It stands for a line of an earlier block, which does not count any more.
        corrects: bool,
    },
    /// It says that lines are missing, or it is wrong: see [`Report::faults`].
    Fault,
}

/// What a download has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many blocks, by their headers.
    pub blocks: u64,
    /// The numbers of the first and the last of them.
    pub numbers: Option<(u64, u64)>,
    /// How many of them may have runs in the period, as far as their headers tell, but have no body any more.
    pub gone: u64,
    /// How many lines stood for a line of an earlier block.
    pub corrected: u64,
    /// The sums of the period's runs: of each the last line.
    pub totals: Totals,
    /// What is wrong, in the order of the lines: the first [`FAULTS_MAX`].
    pub faults: Vec<Fault>,
    /// How many faults there are in all.
    pub faults_count: u64,
}

/// So many faults are kept.
pub const FAULTS_MAX: usize = 100;

impl Report {
    /// Whether the sums are those of all of the period's runs in these blocks: nothing is wrong, and no body is gone.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.faults_count == 0 && self.gone == 0
    }
}

/// Something that is wrong with a download.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Fault {
    /// The line, from 1, at which it was found.
    pub line: u64,
    /// What is wrong.
    pub what: FaultKind,
}

/// What can be wrong with a download.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// A block, its header or its place in the chain.
    #[error(transparent)]
    Block(#[from] Error),
    /// The platform says that lines are missing.
    #[error("block {block} is not complete: {why}")]
    Missing {
        /// The block's number.
        block: u64,
        /// Why, as the platform says.
        why: String,
    },
    /// A line that cannot be read, or that stands where it should not.
    #[error("{0}")]
    Line(String),
    /// More runs without the gateway's half than a reader follows: their corrections are not found any more.
    #[error("more than {} runs could still be corrected; check a shorter time", CORRECTIONS_MAX)]
    Corrections,
}

/// So many runs that could still be corrected are followed.
pub const CORRECTIONS_MAX: usize = 1 << 18;
