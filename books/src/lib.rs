//! The history of an account's runs: blocks, which nobody can change or take out of their chain unnoticed.
//!
//! ```text
//! header 1 <--digest-- header 2 <--digest-- header 3      one line of JSON each, kept for 13 months
//!    |                    |                    |
//!  digest               digest               digest
//!    v                    v                    v
//!  body 1               body 2               body 3       lines, a run each, in the order of ids; they go earlier
//! ```
//!
//! A block holds runs of one account that were settled when it was sealed ([`seal()`]). Its [`Header`] commits to the text
//! of its body: the runs' lines. As stored, a [`Body`] is a table and compressed frames of at most [`FRAME_RUNS_MAX`]
//! runs each, so that a run or a page is read without unpacking the rest. [`Newest`] reads several blocks as one list.
//!
//! **Corrections.** A run that was settled without the gateway's half ([`Flag::NoObservation`](protocol::Flag)) may be
//! corrected by that half later: it is then a line of a later block too, as it is then. Of one run the line in the block
//! of the greatest number counts. [`Totals`] in headers count each line; sums over a period count the last line of each
//! run ([`download::Reader`] does that).
//!
//! Pure: nothing here does I/O, reads a clock or draws random numbers. Everything that is read from bytes is bounded and
//! checked; damage is an error that names its block, and leaves the rest readable.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod body;
pub mod download;
mod error;
mod header;
mod line;
mod month;
mod newest;
mod run;
mod seal;
mod tally;
mod totals;

#[cfg(test)]
mod tests;

pub use body::{Body, Frame};
pub use error::Error;
pub use header::{Header, ParseSaltError, Salt};
pub use month::{Month, ParseMonthError};
pub use newest::{Newest, Next, Span};
pub use run::Run;
pub use seal::{Sealed, seal};
pub use totals::Totals;

/// The form of headers and bodies that this code writes. Another one is refused when read.
pub const FORMAT: u32 = 1;
/// The most runs of a block.
pub const BLOCK_RUNS_MAX: usize = 16_384;
/// The most runs of a frame.
pub const FRAME_RUNS_MAX: usize = 256;
/// The longest line of a run, in bytes, without its line feed.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// The longest text of a header, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
/// The largest body, as stored, in bytes.
pub const BODY_BYTES_MAX: usize = 256 << 20;
