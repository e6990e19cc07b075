//! Months of UTC: statements are made by them.

use std::fmt;
use std::str::FromStr;

use protocol::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

use crate::Error;

/// A month of UTC, written as `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: u16,
    month: u8,
}

impl Month {
    /// The month of this time.
    ///
    /// # Errors
    /// Where the time is not of the years 0 to 9999.
    pub fn of(time: Timestamp) -> Result<Self, Error> {
        let wrong = |_| Error::Time { ms: time.0 };
        let date = OffsetDateTime::from_unix_timestamp(time.0.div_euclid(1000)).map_err(wrong)?.date();
        let year = u16::try_from(date.year()).ok().filter(|year| *year <= 9999);
        Ok(Self { year: year.ok_or(Error::Time { ms: time.0 })?, month: date.month().into() })
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// Why a text is not a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a month such as 2026-11")]
pub struct ParseMonthError;

impl FromStr for Month {
    type Err = ParseMonthError;

    fn from_str(text: &str) -> Result<Self, ParseMonthError> {
        let (year, month) = text.split_once('-').ok_or(ParseMonthError)?;
        let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return Err(ParseMonthError);
        }
        let (year, month) = (year.parse().ok(), month.parse().ok().filter(|month| (1..=12).contains(month)));
        year.zip(month).map(|(year, month)| Self { year, month }).ok_or(ParseMonthError)
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
