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
    /// Writes it: one line of JSON, without a line feed. Its times must be of the years 0 to 9999, as those of each header
    /// are that was sealed or read.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a header's text.
    ///
    /// # Errors
    /// [`Error::Format`] of another form, [`Error::Header`] where it is no header or contradicts itself.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::Header { why };
        if text.len() > HEADER_BYTES_MAX {
            return Err(wrong(format!("{} bytes are too long", text.len())));
        }
        if text.contains('\n') {
            return Err(wrong("it is more than a line".to_owned()));
        }
        // The form first: of another one nothing else is known.
        let Form { format } = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if format != FORMAT {
            return Err(Error::Format { format });
        }
        let header: Self = wire::read(text.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        match header.contradiction() {
            Some(why) => Err(wrong(why.to_owned())),
            None => Ok(header),
        }
    }

    /// What in it cannot be so.
    fn contradiction(&self) -> Option<&'static str> {
        let in_range = |time| Month::of(time).is_ok();
        let runs = usize::try_from(self.runs).unwrap_or(usize::MAX);
        let checks = [
            (self.number > 0, "blocks are counted from 1"),
            (self.previous.is_none() == (self.number == 1), "only the first block has none before it"),
            ((1..=BLOCK_RUNS_MAX).contains(&runs), "so many runs are in no block"),
            ((self.runs == 1) == (self.first == self.last) && self.first <= self.last, "its ids are not its runs'"),
            ([self.began, self.ended].into_iter().all(in_range), "its times are out of range"),
            (self.began <= self.ended, "it ended before it began"),
            (Month::of(self.origin) == Ok(self.month), "its month is not that of its origin"),
            (self.totals.runs == u64::from(self.runs), "its sums are of another number of runs"),
            (self.month_totals.runs >= self.totals.runs, "its month has fewer runs than it has itself"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, why)| why)
    }

    /// The sums of a month up to and including a block of these sums, after this block.
    pub(crate) fn running(before: Option<&Self>, month: Month, totals: Totals) -> Totals {
        let before = before.filter(|before| before.month == month);
        let mut running = before.map(|before| before.month_totals).unwrap_or_default();
        running.add(&totals);
        running
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
        let before = Self::parse(previous)?;
        let running = Self::running(Some(&before), self.month, self.totals);
        let checks = [
            (self.account == before.account, "it is of another account"),
            (before.number.checked_add(1) == Some(self.number), "its number is not the next"),
            (
                self.previous == Some(Self::digest_of(previous)),
                "it names another digest than that of the header before",
            ),
            (self.origin >= before.origin, "it is older"),
            (self.month_totals == running, "its sums of the month do not go on from those before"),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(Error::Chain { block: self.number, why }),
            None => Ok(()),
        }
    }
}

/// What is read of a header before anything else.
#[derive(Deserialize)]
struct Form {
    format: u32,
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
