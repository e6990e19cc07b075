//! Names of segments: a blob's id and the segment's number in it. An engine knows nothing else of what it keeps.

use std::fmt;
use std::str::FromStr;

use protocol::BlobId;

/// Names one segment. Written as `<32 hex digits>.<8 hex digits>`; names and their texts have the same order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// Of which blob.
    pub blob: BlobId,
    /// Which of its segments, from 0.
    pub number: u32,
}

/// The text names no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a segment's name is 32 hex digits, a point and 8 hex digits")]
pub struct ParseSegmentNameError;

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08x}", self.blob, self.number)
    }
}

impl fmt::Debug for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SegmentName {
    type Err = ParseSegmentNameError;

    fn from_str(text: &str) -> Result<Self, ParseSegmentNameError> {
        let (blob, number) = text.split_once('.').ok_or(ParseSegmentNameError)?;
        if number.len() != 8 || !number.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ParseSegmentNameError);
        }
        let blob = blob.parse().map_err(|_| ParseSegmentNameError)?;
        let number = u32::from_str_radix(number, 16).map_err(|_| ParseSegmentNameError)?;
        Ok(Self { blob, number })
    }
}
