//! Headers: what a block is, in one line that the next block commits to.

use std::fmt;
use std::str::FromStr;

use protocol::{AccountId, Digest, RunId, Timestamp, wire};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{BLOCK_RUNS_MAX, Error, FORMAT, HEADER_BYTES_MAX, Month, Totals};

/// What a block says of itself. What counts is its text, which is kept and handed on as it was written first: digests
/// are of the text, and a later release may say more in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The form of header and body: [`FORMAT`].
    pub format: u32,
    /// Whose runs these are.
    pub account: AccountId,
    /// Counts the account's blocks from 1, without gaps.
    pub number: u64,
    /// When it was sealed. Never before the block before it.
    pub origin: Timestamp,
    /// How many lines the body has.
    pub runs: u32,
    /// The least id of a run.
    pub first: RunId,
    /// The greatest id of a run.
    pub last: RunId,
    /// The least `received` of a run.
    pub began: Timestamp,
    /// The greatest `received` of a run.
    pub ended: Timestamp,
    /// The sums of all its lines, corrections included.
    pub totals: Totals,
    /// The month of `origin`.
    pub month: Month,
    /// The sums of all lines of the account's blocks of that month up to and including this one.
    pub month_totals: Totals,
    /// The digest of the body's text: the runs' lines in the order of their ids, each with a line feed.
    pub body: Digest,
    /// Random bytes, so that nobody can guess a header from its digest.
    pub salt: Salt,
    /// The digest of the text of the header before; none of the first.
    pub previous: Option<Digest>,
}

impl Header {
    /// Writes it: one line of JSON, without a line feed.
    #[must_use]
    pub fn text(&self) -> String {
        todo!()
    }

    /// Reads a header's text.
    ///
    /// # Errors
    /// [`Error::Format`] of another form, [`Error::Header`] where it is no header or contradicts itself.
    pub fn parse(text: &str) -> Result<Self, Error> {
        todo!()
    }

    /// The digest of a header's text, by which the next block names it.
    #[must_use]
    pub fn digest_of(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    /// Checks that this block goes on from the one whose header's text is `previous`: account, number, digest, origin, and
    /// the running sums of the month.
    ///
    /// # Errors
    /// [`Error::Chain`] where it does not, and as [`Header::parse`] of `previous`.
    pub fn follows(&self, previous: &str) -> Result<(), Error> {
        todo!()
    }
}

/// Random bytes of a header, written as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a text is not a salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hex digits")]
pub struct ParseSaltError;

impl FromStr for Salt {
    type Err = ParseSaltError;

    fn from_str(text: &str) -> Result<Self, ParseSaltError> {
        let hex = |digit: &u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit);
        if text.len() != 32 || !text.as_bytes().iter().all(hex) {
            return Err(ParseSaltError);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| ParseSaltError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
