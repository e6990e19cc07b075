//! When a job may begin: at a time, or so long after it was submitted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::{Millis, Timestamp};

/// The earliest begin of a job. A time that is relative is sent as such, so that who repeats a request asks for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NotBefore {
    /// At this time.
    At(Timestamp),
    /// So long after it was submitted.
    After(Millis),
}

impl fmt::Display for NotBefore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => time.fmt(f),
            Self::After(duration) => duration.fmt(f),
        }
    }
}

impl FromStr for NotBefore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(duration) = text.parse() {
            return Ok(Self::After(duration));
        }
        text.parse().map(Self::At).map_err(|_| {
            let shown: String = text.chars().take(60).collect();
            format!("{shown:?} is neither a time in RFC 3339 nor a duration such as 10m")
        })
    }
}

impl TryFrom<String> for NotBefore {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<NotBefore> for String {
    fn from(start: NotBefore) -> Self {
        start.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f23_a_relative_time_stays_relative() {
        let after: NotBefore = serde_json::from_str(r#""2h""#).unwrap();
        assert_eq!(after, NotBefore::After(Millis::seconds(7200)));
        assert_eq!(serde_json::to_string(&after).unwrap(), r#""7200s""#);
        let at: NotBefore = serde_json::from_str(r#""2027-01-31T08:00:00Z""#).unwrap();
        assert_eq!(serde_json::to_string(&at).unwrap(), r#""2027-01-31T08:00:00Z""#);
        for bad in [r#""soon""#, r#""""#, "7200", r#""2h ago""#, r#""-2h""#] {
            assert!(serde_json::from_str::<NotBefore>(bad).is_err(), "{bad}");
        }
    }
}
