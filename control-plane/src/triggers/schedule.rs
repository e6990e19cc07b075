//! When a trigger is due. Pure: time comes in.

use std::time::Duration;

use chrono::{DateTime, TimeZone as _};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use protocol::trigger::Missed;
use protocol::{Invalid, Timestamp};

/// A time that is older was missed; `protocol::trigger::Missed` tells users.
const LATE: Duration = Duration::from_secs(60);
/// Of missed times, so many become jobs at once.
const MISSED_MAX: usize = 100;
/// So many zones are suggested at most.
const NEAR_MAX: usize = 3;

/// A pattern in a zone.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    cron: Cron,
    zone: Tz,
}

impl Schedule {
    /// Reads both.
    pub(super) fn parse(pattern: &str, zone: &str) -> Result<Self, Invalid> {
        let cron = protocol::cron::crontab(pattern)?
            .parse()
            .map_err(|error| Invalid::new("cron", format!("cron: {error}")))?;
        Ok(Self { cron, zone: read_zone(zone)? })
    }

    /// The first time after this one.
    pub(super) fn after(&self, at: Timestamp) -> Option<Timestamp> {
        let at: DateTime<Tz> = self.zone.timestamp_millis_opt(at.0).single()?;
        self.cron.find_next_occurrence(&at, false).ok().map(|next| Timestamp(next.timestamp_millis()))
    }

    /// What is due now, where `next` was the next time; and the next time then.
    pub(super) fn due(&self, next: Timestamp, now: Timestamp, missed: Missed) -> (Vec<Timestamp>, Option<Timestamp>) {
        let mut times = Vec::new();
        let mut time = Some(next);
        while let Some(due) = time.filter(|due| *due <= now) {
            times.push(due);
            // After a long time only the last ones matter.
            time = if times.len() > MISSED_MAX { self.after(now) } else { self.after(due) };
        }
        times.truncate(MISSED_MAX);
        let times = match missed {
            Missed::All => times,
            Missed::Once => times.pop().into_iter().collect(),
            Missed::Skip => times.pop().filter(|due| now.since(*due) <= LATE).into_iter().collect(),
        };
        (times, time)
    }
}

/// The zone of this name.
fn read_zone(name: &str) -> Result<Tz, Invalid> {
    name.parse::<Tz>().map_err(|_| {
        let near = near_zones(name);
        let help = match near.is_empty() {
            true => "a zone has the name of a place, such as `Europe/Berlin`, or is `UTC`".to_owned(),
            false => format!("write `{}`", near.join("` or `")),
        };
        Invalid::new("zone", format!("zone: `{}` is no time zone; {help}", name.escape_debug()))
    })
}

/// Zones whose name, or the place in it, is this but for capitals and blanks.
fn near_zones(name: &str) -> Vec<&'static str> {
    let wanted = name.trim().replace(' ', "_");
    let is_near = |zone: &&'static str| {
        let place = zone.rsplit('/').next();
        zone.eq_ignore_ascii_case(&wanted) || place.is_some_and(|place| place.eq_ignore_ascii_case(&wanted))
    };
    TZ_VARIANTS.iter().map(|zone| zone.name()).filter(is_near).take(NEAR_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn zones_count() {
        let berlin = Schedule::parse("30 8 * * 1-5", "Europe/Berlin").unwrap();
        // A Friday in winter, then the Monday.
        let friday = berlin.after(at("2026-11-20T00:00:00Z")).unwrap();
        assert_eq!(friday, at("2026-11-20T07:30:00Z"));
        assert_eq!(berlin.after(friday), Some(at("2026-11-23T07:30:00Z")));
        assert_eq!(berlin.after(at("2026-07-01T00:00:00Z")), Some(at("2026-07-01T06:30:00Z")));
        let utc = Schedule::parse("@hourly", "UTC").unwrap();
        assert_eq!(utc.after(at("2026-07-01T00:30:00Z")), Some(at("2026-07-01T01:00:00Z")));
    }

    #[test]
    fn f26_patterns_mean_what_crontab_says() {
        let days = |pattern: &str, count: usize| {
            let schedule = Schedule::parse(pattern, "UTC").unwrap();
            let mut last = at("2026-11-01T00:00:00Z");
            let mut days = Vec::new();
            while days.len() < count {
                last = schedule.after(last).unwrap();
                days.push(last.to_string()[5..16].to_owned());
            }
            days.join(" ")
        };
        // 1 November 2026 is a Sunday. A step over a star is a star: odd days that are Mondays, too.
        assert_eq!(days("0 0 */2 * 1", 3), "11-09T00:00 11-23T00:00 12-07T00:00");
        assert_eq!(days("0 0 1-7 * */6", 3), "11-07T00:00 12-05T00:00 12-06T00:00");
        // Without a star either will do.
        assert_eq!(days("0 0 13 * FRI", 3), "11-06T00:00 11-13T00:00 11-20T00:00");
        assert_eq!(days("0 0 1-31/9 * 1", 3), "11-02T00:00 11-09T00:00 11-10T00:00");
        assert_eq!(days("0 0 * * sat-sun", 3), "11-07T00:00 11-08T00:00 11-14T00:00");
        assert_eq!(days("0 */6 */10 * *", 4), "11-01T06:00 11-01T12:00 11-01T18:00 11-11T00:00");
        for (nickname, first) in [
            ("@hourly", "11-01T01:00"),
            ("@daily", "11-02T00:00"),
            ("@midnight", "11-02T00:00"),
            ("@weekly", "11-08T00:00"),
            ("@monthly", "12-01T00:00"),
            ("@yearly", "01-01T00:00"),
            ("@annually", "01-01T00:00"),
        ] {
            assert_eq!(days(nickname, 1), first, "{nickname}");
        }
    }

    #[test]
    fn malformed_ones_are_refused() {
        for bad in ["", "* * * *", "61 * * * *", "* * * * * *", "a b c d e", "@never", "0 0 32 1 *", "0 0 L * *"] {
            assert!(Schedule::parse(bad, "UTC").is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_zone_is_told_what_zones_are_called() {
        for (bad, said) in [
            (
                "Mars/Phobos",
                "zone: `Mars/Phobos` is no time zone; a zone has the name of a place, such as `Europe/Berlin`",
            ),
            ("UTC+2", "such as `Europe/Berlin`, or is `UTC`"),
            ("", "such as `Europe/Berlin`"),
            ("berlin", "write `Europe/Berlin`"),
            ("europe/berlin", "write `Europe/Berlin`"),
            ("New York", "write `America/New_York`"),
        ] {
            let refused = Schedule::parse("* * * * *", bad).unwrap_err();
            assert!(refused.field.is_in("zone") && refused.why.contains(said), "{bad}: {refused:?}");
        }
    }

    #[test]
    fn what_crontab_allows_has_a_next_time() {
        let from = at("2026-11-01T00:30:00Z");
        for (pattern, next) in [
            ("05,35 8-18/2 1 Jan-mar,DEC *", "2026-12-01T08:05:00Z"),
            ("*/60 * * * *", "2026-11-01T01:00:00Z"),
            ("0 */24 * * *", "2026-11-02T00:00:00Z"),
            ("0 0 1 */12 *", "2027-01-01T00:00:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            ("0 0 29 2 */6", "2032-02-29T00:00:00Z"),
            ("0 0 31 2 fri-sun", "2027-02-05T00:00:00Z"),
            ("0 0 *,3 * mon", "2026-11-02T00:00:00Z"),
            ("0 0 3,* * sat", "2026-11-02T00:00:00Z"),
            ("0 0 * * 7", "2026-11-08T00:00:00Z"),
        ] {
            let schedule = Schedule::parse(pattern, "UTC").unwrap();
            assert_eq!(schedule.after(from), Some(at(next)), "{pattern}");
        }
    }

    #[test]
    fn missed_times() {
        let hourly = Schedule::parse("0 * * * *", "UTC").unwrap();
        let (next, now) = (at("2026-01-01T01:00:00Z"), at("2026-01-01T03:30:00Z"));
        let following = Some(at("2026-01-01T04:00:00Z"));
        assert_eq!(hourly.due(next, at("2026-01-01T00:59:59Z"), Missed::All), (vec![], Some(next)));
        let all = ["01", "02", "03"].map(|hour| at(&format!("2026-01-01T{hour}:00:00Z")));
        assert_eq!(hourly.due(next, now, Missed::All), (all.to_vec(), following));
        assert_eq!(hourly.due(next, now, Missed::Once), (vec![all[2]], following));
        assert_eq!(hourly.due(next, now, Missed::Skip), (vec![], following));
        assert_eq!(hourly.due(next, at("2026-01-01T01:00:30Z"), Missed::Skip).0, [next], "in time");
        let (year, _) = hourly.due(next, at("2027-01-01T00:30:00Z"), Missed::All);
        assert_eq!(year.len(), MISSED_MAX);
    }
}
