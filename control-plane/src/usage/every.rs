//! The times that usage is told by: minutes, hours, days and months, all in UTC. Pure.

use protocol::Timestamp;
use protocol::api::UsageBy;
use sea_orm::DbBackend;
use time::{OffsetDateTime, Time};

use super::period::{DAY_MS, Period, Span};

const HOUR_MS: i64 = 3_600_000;
/// Longer than any month, and shorter than any two.
const MONTH_AND_MORE_MS: i64 = 32 * DAY_MS;

/// One group for each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Every {
    Minute,
    Hour,
    Day,
    Month,
}

impl Every {
    /// The time that is meant; none where it is something else.
    pub(super) const fn of(by: UsageBy) -> Option<Self> {
        match by {
            UsageBy::Minute => Some(Self::Minute),
            UsageBy::Hour => Some(Self::Hour),
            UsageBy::Day => Some(Self::Day),
            UsageBy::Month => Some(Self::Month),
            _ => None,
        }
    }

    /// As the API names it.
    pub(super) const fn word(self) -> UsageBy {
        match self {
            Self::Minute => UsageBy::Minute,
            Self::Hour => UsageBy::Hour,
            Self::Day => UsageBy::Day,
            Self::Month => UsageBy::Month,
        }
    }

    /// What it is made of: months are so many days.
    pub(super) const fn span(self) -> Span {
        match self {
            Self::Minute => Span::Minute,
            Self::Hour => Span::Hour,
            Self::Day | Self::Month => Span::Day,
        }
    }

    /// When the one began to which this time belongs.
    pub(super) fn floor(self, at: Timestamp) -> Timestamp {
        match self {
            Self::Month => month(at).unwrap_or(at),
            _ => self.span().floor(at),
        }
    }

    /// When the one ends that began then.
    pub(super) fn end(self, began: Timestamp) -> Timestamp {
        match self {
            Self::Month => self.floor(Timestamp(began.0 + MONTH_AND_MORE_MS)),
            _ => Timestamp(began.0 + i64::from(self.span().seconds()) * 1_000),
        }
    }

    /// Where a period begins of which only the end is asked for: an hour, a day, 30 days and a year before.
    pub(super) fn default_from(self, to: Timestamp) -> Timestamp {
        let length_ms = match self {
            Self::Minute => HOUR_MS,
            Self::Hour => DAY_MS,
            Self::Day => 30 * DAY_MS,
            Self::Month => 365 * DAY_MS,
        };
        self.floor(Timestamp(to.0 - length_ms))
    }

    /// What can be told of this period: whole ones, as far as there are sums of them.
    pub(super) fn rounded(self, asked: Period, now: Timestamp) -> Period {
        let rounded = asked.rounded(self.span(), now);
        match self {
            Self::Minute | Self::Hour => rounded.kept(self.span(), now),
            Self::Day => rounded,
            // Nothing stays nothing.
            Self::Month if rounded.from >= rounded.to => rounded,
            Self::Month => {
                let last = self.floor(Timestamp(rounded.to.0 - 1));
                Period { from: self.floor(rounded.from), to: self.end(last).min(Period::all(now).to) }
            }
        }
    }

    /// The one that began then, as programs and people are told.
    pub(super) fn key(self, began: Timestamp) -> String {
        let text = began.to_string();
        let length = match self {
            Self::Minute | Self::Hour => text.len(),
            Self::Day => "2026-11-30".len(),
            Self::Month => "2026-11".len(),
        };
        text.get(..length).unwrap_or(&text).to_owned()
    }

    /// Its beginning, from the beginning of a row of sums.
    pub(super) const fn sql(self, backend: DbBackend) -> &'static str {
        match (self, backend) {
            (Self::Month, DbBackend::Sqlite) => {
                "CAST(strftime('%s', began / 1000, 'unixepoch', 'start of month') AS INTEGER) * 1000"
            }
            (Self::Month, _) => {
                "CAST(EXTRACT(EPOCH FROM date_trunc('month', to_timestamp(began / 1000) AT TIME ZONE 'UTC') \
                 AT TIME ZONE 'UTC') AS BIGINT) * 1000"
            }
            _ => "began",
        }
    }
}

/// When the month began.
fn month(at: Timestamp) -> Option<Timestamp> {
    let time = OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1_000)).ok()?;
    let first = time.replace_day(1).ok()?.replace_time(Time::MIDNIGHT);
    Some(Timestamp(first.unix_timestamp() * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_belongs_to_the_one_that_began_before_it() {
        let time = at("2024-02-29T23:59:58.5Z");
        for (every, began, end, key) in [
            (Every::Minute, "2024-02-29T23:59:00Z", "2024-03-01T00:00:00Z", "2024-02-29T23:59:00Z"),
            (Every::Hour, "2024-02-29T23:00:00Z", "2024-03-01T00:00:00Z", "2024-02-29T23:00:00Z"),
            (Every::Day, "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z", "2024-02-29"),
            (Every::Month, "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z", "2024-02"),
        ] {
            assert_eq!((every.floor(time), every.end(at(began))), (at(began), at(end)), "{every:?}");
            assert_eq!((every.floor(at(began)), every.key(at(began)).as_str()), (at(began), key));
        }
        assert_eq!(Every::Month.end(at("2026-12-01T00:00:00Z")), at("2027-01-01T00:00:00Z"));
        assert_eq!(Every::Month.floor(Timestamp(0)), Timestamp(0));
    }

    #[test]
    fn a_period_is_made_of_whole_ones() {
        let now = at("2026-11-30T12:34:56Z");
        let rounded = |every: Every, from: &str, to: &str| {
            let Period { from, to } = every.rounded(Period { from: at(from), to: at(to) }, now);
            (from.to_string(), to.to_string())
        };
        let of = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let month = |from: &str, to: &str| rounded(Every::Month, from, to);
        let whole = of("2026-09-01T00:00:00Z", "2026-11-01T00:00:00Z");
        assert_eq!(month("2026-09-10T11:12:13Z", "2026-10-02T00:00:00Z"), whole);
        assert_eq!(month("2026-09-01T00:00:00Z", "2026-11-01T00:00:00Z"), whole);
        // The month that goes on ends with the day.
        assert_eq!(
            month("2026-11-10T00:00:00Z", "2030-01-01T00:00:00Z"),
            of("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
        );
        let future = month("2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z");
        assert_eq!(future.0, future.1);
        // Minutes are there from the third day before today on.
        assert_eq!(
            rounded(Every::Minute, "2026-01-01T00:00:00Z", "2026-11-29T10:11:12Z"),
            of("2026-11-27T00:00:00Z", "2026-11-29T10:12:00Z")
        );
    }
}
