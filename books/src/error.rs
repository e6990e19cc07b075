//! What can be wrong with a block.

use protocol::{AccountId, RunId};

/// Why a block cannot be sealed, or what of it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A block of no runs.
    #[error("a block needs a run")]
    Empty,
    /// More runs than a block holds.
    #[error("{runs} runs are more than the {} of a block", crate::BLOCK_RUNS_MAX)]
    TooMany {
        /// How many there are.
        runs: usize,
    },
    /// A run of another account than the block's.
    #[error("{run} is of {account}, which is not the account of the block")]
    OtherAccount {
        /// The run.
        run: RunId,
        /// Its account.
        account: AccountId,
    },
    /// Two runs of one id.
    #[error("{run} stands in the block twice")]
    Twice {
        /// The run.
        run: RunId,
    },
    /// A time that has no form in RFC 3339: it is not of the years 0 to 9999.
    #[error("{ms} ms since 1970 is a time out of range")]
    Time {
        /// The time, in milliseconds since 1970.
        ms: i64,
    },
    /// A run whose line cannot be written, or is too long.
    #[error("the line of {run} cannot be written: {why}")]
    Line {
        /// The run.
        run: RunId,
        /// Why.
        why: String,
    },
    /// Of another form than this code reads.
    #[error("a block of format {format}, which this software does not know; update it")]
    Format {
        /// The form.
        format: u32,
    },
    /// A text that is no header, or a header that contradicts itself.
    #[error("not a block's header: {why}")]
    Header {
        /// What is wrong.
        why: String,
    },
    /// A header that does not go on from the one before it.
    #[error("block {block} does not follow the block before it: {why}")]
    Chain {
        /// The later block's number.
        block: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// Bytes that are no body, or whose table is damaged, so that not even the block's number can be told.
    #[error("not a block's body: {why}")]
    Body {
        /// What is wrong.
        why: &'static str,
    },
    /// A part of a block's body that is damaged, or is not what its header commits to.
    #[error("block {block} is damaged{}: {why}", .frame.map(|frame| format!(" (frame {frame})")).unwrap_or_default())]
    Damaged {
        /// The block's number.
        block: u64,
        /// The frame, from 0; none where it is not of one frame.
        frame: Option<usize>,
        /// What is wrong.
        why: String,
    },
}
