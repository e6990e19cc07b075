//! Quiet hours: windows of a week in a time zone, in which a machine is not lent.
//!
//! `Mon-Fri 22:00-07:00; Sat,Sun 00:00-24:00 Europe/Berlin`: a window belongs to the day on which it begins, and may go
//! over midnight. Without days it is one of every day. A boundary within an hour that the clocks skip is the end of that
//! hour; where an hour comes twice, the window begins with its first and ends with its last.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _};
use chrono_tz::Tz;
use protocol::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NONE: &str = "none";
const DAY_MINUTES: u32 = 24 * 60;
/// Windows of one week.
const WINDOWS_MAX: usize = 28;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// The longest gap that clocks have ever made is a day.
const GAP_MINUTES_MAX: i64 = 25 * 60;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietHours {
    text: String,
    zone: Tz,
    windows: Vec<Window>,
}

/// A window on certain days, in minutes from midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// From Monday on.
    days: [bool; 7],
    from: u32,
    /// On the next day where it is not after `from`.
    to: u32,
}

/// A text that tells no quiet hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; expected for example `Mon-Fri 22:00-07:00; Sat,Sun 00:00-24:00 Europe/Berlin`")]
pub struct BadHours(String);

impl QuietHours {
    /// Until when it is quiet; none where it is not quiet at this time. Windows that touch are one.
    #[must_use]
    pub fn quiet_until(&self, at: Timestamp) -> Option<Timestamp> {
        let mut until = None;
        let mut end = at;
        // Each step ends a later window; two weeks of them are for ever.
        for _ in 0..2 * 7 * WINDOWS_MAX {
            let Some(later) = self.end_at(end) else { break };
            (until, end) = (Some(later), later);
            if later.since(at).as_secs() > 14 * 86_400 {
                break;
            }
        }
        until
    }

    /// Whether it is never quiet: `none` takes quiet hours away.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.windows.is_empty()
    }

    /// The zone in which days and months begin.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The latest end of the windows that are open at this time.
    fn end_at(&self, at: Timestamp) -> Option<Timestamp> {
        let today = self.zone.timestamp_millis_opt(at.0).single()?.date_naive();
        let mut latest: Option<Timestamp> = None;
        for day in [today.checked_sub_days(Days::new(1)), Some(today)].into_iter().flatten() {
            for window in &self.windows {
                if let Some((from, to)) = window.on(day, self.zone)
                    && (from..to).contains(&at)
                {
                    latest = latest.max(Some(to));
                }
            }
        }
        latest
    }
}

impl Window {
    fn on(&self, day: NaiveDate, zone: Tz) -> Option<(Timestamp, Timestamp)> {
        let nth = usize::try_from(day.weekday().num_days_from_monday()).ok()?;
        if !self.days[nth] {
            return None;
        }
        let ends = if self.to > self.from { day } else { day.checked_add_days(Days::new(1))? };
        let from = instant(zone, local(day, self.from)?, Earliest)?;
        let to = instant(zone, local(ends, self.to)?, Latest)?;
        Some((from, to))
    }
}

/// Which of two instants with the same local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Earliest,
    Latest,
}
use Which::{Earliest, Latest};

fn local(day: NaiveDate, minutes: u32) -> Option<NaiveDateTime> {
    day.and_time(NaiveTime::MIN).checked_add_signed(TimeDelta::minutes(i64::from(minutes)))
}

fn instant(zone: Tz, local: NaiveDateTime, which: Which) -> Option<Timestamp> {
    let found = (0..GAP_MINUTES_MAX).find_map(|minutes| {
        let local = local.checked_add_signed(TimeDelta::minutes(minutes))?;
        let mapped = zone.from_local_datetime(&local);
        if which == Earliest { mapped.earliest() } else { mapped.latest() }
    });
    found.map(|at: DateTime<Tz>| Timestamp(at.timestamp_millis()))
}

/// The day and the month of a time, as numbers that count up, and the end of the month.
pub(crate) fn calendar(zone: Tz, at: Timestamp) -> Option<Calendar> {
    let date = zone.timestamp_millis_opt(at.0).single()?.date_naive();
    let next = if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
    let first_of_next = NaiveDate::from_ymd_opt(next.0, next.1, 1)?;
    let day = |date| instant(zone, local(date, 0)?, Earliest);
    Some(Calendar {
        day: date.to_string(),
        month: format!("{:04}-{:02}", date.year(), date.month()),
        month_ends: day(first_of_next)?,
        hours: day(date)?..day(date.checked_add_days(Days::new(1))?)?,
    })
}

/// Where in the calendar a time is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Calendar {
    pub(crate) day: String,
    pub(crate) month: String,
    pub(crate) month_ends: Timestamp,
    /// From the day's beginning to its end.
    pub(crate) hours: Range<Timestamp>,
}

impl FromStr for QuietHours {
    type Err = BadHours;

    fn from_str(text: &str) -> Result<Self, BadHours> {
        let text = text.trim();
        if text.is_empty() || text == NONE {
            return Ok(Self { text: NONE.to_owned(), zone: Tz::UTC, windows: Vec::new() });
        }
        let (windows, zone) = text.rsplit_once(char::is_whitespace).ok_or_else(|| BadHours(format!("`{text}`")))?;
        let zone = zone.parse::<Tz>().map_err(|_| BadHours(format!("`{zone}` is no time zone")))?;
        let windows: Vec<Window> = windows.split(';').map(window).collect::<Result<_, _>>()?;
        if windows.len() > WINDOWS_MAX {
            return Err(BadHours(format!("more than {WINDOWS_MAX} windows")));
        }
        Ok(Self { text: text.to_owned(), zone, windows })
    }
}

fn window(text: &str) -> Result<Window, BadHours> {
    let text = text.trim();
    let (days, times) = match text.rsplit_once(char::is_whitespace) {
        Some((days, times)) => (days_of(days)?, times),
        None => ([true; 7], text),
    };
    let (from, to) = times.split_once('-').ok_or_else(|| BadHours(format!("`{times}` is no span of hours")))?;
    let (from, to) = (minutes(from)?, minutes(to)?);
    if from == to || from == DAY_MINUTES {
        return Err(BadHours(format!("`{times}` is no span of hours")));
    }
    Ok(Window { days, from, to })
}

fn days_of(text: &str) -> Result<[bool; 7], BadHours> {
    let mut days = [false; 7];
    let day = |name: &str| {
        let nth = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name.trim()));
        nth.ok_or_else(|| BadHours(format!("`{name}` is no day of the week")))
    };
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        // Fri-Mon goes over the week's end.
        let count = (last + 7 - first) % 7;
        (first..=first + count).for_each(|nth| days[nth % 7] = true);
    }
    Ok(days)
}

fn minutes(text: &str) -> Result<u32, BadHours> {
    let read = || {
        let (hour, minute) = text.trim().split_once(':')?;
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok().filter(|_| digits(minute))?);
        let all = hour.checked_mul(60)?.checked_add(minute)?;
        (minute < 60 && all <= DAY_MINUTES).then_some(all)
    };
    read().ok_or_else(|| BadHours(format!("`{text}` is no time of day")))
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for QuietHours {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for QuietHours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn until(hours: &str, time: &str) -> Option<String> {
        let hours: QuietHours = hours.parse().unwrap();
        hours.quiet_until(at(time)).map(|until| until.to_string())
    }

    #[test]
    fn windows_go_over_midnight_and_belong_to_the_day_on_which_they_begin() {
        // Berlin is an hour ahead of UTC in January; the 4th of 2027 is a Monday.
        let hours = "Mon-Fri 22:00-07:00 Europe/Berlin";
        assert_eq!(until(hours, "2027-01-04T20:59:59Z"), None);
        assert_eq!(until(hours, "2027-01-04T21:00:00Z").as_deref(), Some("2027-01-05T06:00:00Z"));
        assert_eq!(until(hours, "2027-01-05T05:59:59Z").as_deref(), Some("2027-01-05T06:00:00Z"));
        assert_eq!(until(hours, "2027-01-05T06:00:00Z"), None);
        assert_eq!(
            until(hours, "2027-01-09T05:00:00Z").as_deref(),
            Some("2027-01-09T06:00:00Z"),
            "Friday's, on Saturday"
        );
        assert_eq!(until(hours, "2027-01-09T22:00:00Z"), None, "Saturday has none");
    }

    #[test]
    fn windows_that_touch_are_one() {
        let weekend = "Sat,Sun 00:00-24:00; Fri 18:00-24:00 UTC";
        assert_eq!(until(weekend, "2027-01-08T18:00:00Z").as_deref(), Some("2027-01-11T00:00:00Z"));
        assert!(until("00:00-24:00 UTC", "2027-01-08T18:00:00Z").is_some(), "it ends, although it is always quiet");
    }

    #[test]
    fn hours_that_clocks_skip_or_repeat() {
        // On 2027-03-28 clocks in Berlin go from 02:00 to 03:00 (01:00 UTC); on 2027-10-31 from 03:00 back to 02:00.
        assert_eq!(until("02:30-04:00 Europe/Berlin", "2027-03-28T00:59:59Z"), None);
        assert_eq!(until("02:30-04:00 Europe/Berlin", "2027-03-28T01:00:00Z").as_deref(), Some("2027-03-28T02:00:00Z"));
        assert_eq!(until("01:00-02:30 Europe/Berlin", "2027-03-28T00:30:00Z").as_deref(), Some("2027-03-28T01:00:00Z"));
        assert_eq!(until("02:15-02:45 Europe/Berlin", "2027-10-31T00:15:00Z").as_deref(), Some("2027-10-31T01:45:00Z"));
    }

    #[test]
    fn what_is_no_quiet_hours_is_refused() {
        for wrong in [
            "22:00-07:00",
            "22:00-07:00 Berlin",
            "25:00-07:00 UTC",
            "22:00 UTC",
            "Noday 22:00-07:00 UTC",
            "22:00-22:00 UTC",
            "24:00-07:00 UTC",
            "22:0-07:00 UTC",
            "00:00-00:00 UTC",
        ] {
            assert!(wrong.parse::<QuietHours>().is_err(), "{wrong}");
        }
        for none in ["none", " "] {
            let none: QuietHours = none.parse().unwrap();
            assert!(none.is_none() && none.to_string() == "none");
            assert_eq!(none.quiet_until(at("2027-01-01T00:00:00Z")), None);
        }
        let hours: QuietHours = " fri-mon 22:00-07:00 UTC ".parse().unwrap();
        let json = serde_json::to_string(&hours).unwrap();
        assert_eq!(serde_json::from_str::<QuietHours>(&json).unwrap(), hours);
        assert_eq!(hours.windows[0].days, [true, false, false, false, true, true, true]);
    }

    #[test]
    fn months_end_where_their_zone_says() {
        let berlin = chrono_tz::Europe::Berlin;
        let of = |time: &str| calendar(berlin, at(time)).unwrap();
        assert_eq!(of("2027-12-31T23:30:00Z").month, "2028-01");
        assert_eq!(of("2027-12-31T22:30:00Z").month_ends, at("2027-12-31T23:00:00Z"));
        assert_eq!(of("2027-12-31T22:30:00Z").day, "2027-12-31");
    }
}
