//! From settled runs to a block.

use protocol::{AccountId, Timestamp};

use crate::{Error, Header, Run, Salt};

/// A new block: its header, and its body for the store.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The header.
    pub header: Header,
    /// The header's text, to be kept as it is.
    pub text: String,
    /// The body as it is stored: what [`Body::open`](crate::Body::open) reads.
    pub body: Vec<u8>,
}

/// Seals settled runs into the block after the one whose header's text is `previous`; the first has none. The runs come in
/// any order. The same arguments make the same block.
///
/// Where the clock went back, the origin is that of the block before.
///
/// # Errors
/// Where there is no run, more than [`BLOCK_RUNS_MAX`](crate::BLOCK_RUNS_MAX), one of another account, two of one id, or
/// one that cannot be written; and where `previous` is no header of this account's blocks.
pub fn seal(
    account: AccountId,
    salt: Salt,
    previous: Option<&str>,
    now: Timestamp,
    runs: Vec<Run>,
) -> Result<Sealed, Error> {
    todo!()
}
