//! Times as people type them, for every flag that takes one: a time in RFC 3339, a date in UTC, or how long ago.

use protocol::{Millis, Timestamp};

const DAY_MS: i64 = 86_400_000;

/// The beginning of a period: the first moment that belongs to it. A date begins at midnight in UTC.
pub(crate) fn from(text: &str) -> Result<Timestamp, String> {
    moment(text, Timestamp::now(), 0)
}

/// The end of a period: the first moment that does not belong to it any more. A date belongs to the period.
pub(crate) fn to(text: &str) -> Result<Timestamp, String> {
    moment(text, Timestamp::now(), DAY_MS)
}

/// `day_ms`: how long after its midnight a date stands for.
fn moment(text: &str, now: Timestamp, day_ms: i64) -> Result<Timestamp, String> {
    if let Ok(ago) = text.parse::<Millis>() {
        let ago = i64::try_from(ago.0).unwrap_or(i64::MAX);
        return Ok(Timestamp(now.0.saturating_sub(ago).max(0)));
    }
    if let Ok(midnight) = format!("{text}T00:00:00Z").parse::<Timestamp>() {
        return Ok(Timestamp(midnight.0.saturating_add(day_ms)));
    }
    text.parse().map_err(|_| {
        "expected a time such as 2027-01-31T08:00:00Z, a date such as 2027-01-31, or how long ago, such as 1h"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_a_date_or_an_age() {
        let now: Timestamp = "2027-01-31T12:00:00Z".parse().unwrap();
        let read = |text: &str, day_ms| moment(text, now, day_ms).map(|at| at.to_string());
        for day_ms in [0, DAY_MS] {
            assert_eq!(read("2027-01-31T08:00:00Z", day_ms).unwrap(), "2027-01-31T08:00:00Z");
            assert_eq!(read("2027-01-31T08:00:00+02:00", day_ms).unwrap(), "2027-01-31T06:00:00Z");
            assert_eq!(read("1h", day_ms).unwrap(), "2027-01-31T11:00:00Z");
            assert_eq!(read("7d", day_ms).unwrap(), "2027-01-24T12:00:00Z");
            assert_eq!(read("100000d", day_ms).unwrap(), "1970-01-01T00:00:00Z", "there is nothing before");
            for wrong in ["yesterday", "2027-02-30", "", "1", "h", "2027-01"] {
                assert!(read(wrong, day_ms).unwrap_err().contains("a date such as"), "{wrong}");
            }
        }
        assert_eq!(read("2027-01-30", 0).unwrap(), "2027-01-30T00:00:00Z");
        assert_eq!(read("2027-01-30", DAY_MS).unwrap(), "2027-01-31T00:00:00Z", "the whole day");
        assert!(to("1m").unwrap() <= Timestamp::now() && from("1m").unwrap() < Timestamp::now());
    }
}
