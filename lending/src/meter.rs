//! What a machine did: this month's traffic, which has a cap, and today, for its owner.

use chrono_tz::Tz;
use protocol::node::NodeToday;
use protocol::{ByteSize, Timestamp};
use serde::{Deserialize, Serialize};

use crate::hours::{Calendar, calendar};

/// Counts, kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meter {
    /// `2027-01`.
    month: String,
    traffic: ByteSize,
    today: Today,
    /// Where in the calendar that was last: looked up once a day, not for each run.
    #[serde(skip)]
    known: Option<(Tz, Calendar)>,
}

/// What was done on one day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Today {
    /// `2027-01-31`.
    pub day: String,
    /// Runs that have ended.
    pub runs: u64,
    /// Of them, given back because the machine was needed.
    pub given_back: u64,
    /// CPU time of guests, in microseconds.
    pub cpu_us: u64,
    /// Bytes in and out.
    pub traffic: ByteSize,
}

impl From<Today> for NodeToday {
    fn from(today: Today) -> Self {
        let Today { day, runs, given_back, cpu_us, traffic } = today;
        Self { day, runs, given_back, cpu_us, traffic }
    }
}

/// A run that has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// CPU time of the guest, in microseconds.
    pub cpu_us: u64,
    /// Bytes in and out.
    pub traffic: ByteSize,
    /// Given back because the machine was needed.
    pub given_back: bool,
}

impl Meter {
    /// A run has ended.
    pub fn ended(&mut self, zone: Tz, now: Timestamp, run: Ended) {
        self.turn(zone, now);
        self.traffic = self.traffic.saturating_add(run.traffic);
        let today = &mut self.today;
        today.runs = today.runs.saturating_add(1);
        today.given_back = today.given_back.saturating_add(u64::from(run.given_back));
        today.cpu_us = today.cpu_us.saturating_add(run.cpu_us);
        today.traffic = today.traffic.saturating_add(run.traffic);
    }

    /// This month's traffic and the month's end.
    pub fn month(&mut self, zone: Tz, now: Timestamp) -> (ByteSize, Option<Timestamp>) {
        let ends = self.turn(zone, now);
        (self.traffic, ends)
    }

    /// What was done today.
    pub fn today(&mut self, zone: Tz, now: Timestamp) -> &Today {
        self.turn(zone, now);
        &self.today
    }

    /// Begins a new month or day where one has begun. A clock that is set back begins none anew.
    fn turn(&mut self, zone: Tz, now: Timestamp) -> Option<Timestamp> {
        if let Some((of, known)) = &self.known
            && *of == zone
            && known.hours.contains(&now)
        {
            return Some(known.month_ends);
        }
        let calendar = calendar(zone, now)?;
        if calendar.month > self.month {
            (self.month, self.traffic) = (calendar.month.clone(), ByteSize(0));
        }
        if calendar.day > self.today.day {
            self.today = Today { day: calendar.day.clone(), ..Today::default() };
        }
        let month_ends = calendar.month_ends;
        self.known = Some((zone, calendar));
        Some(month_ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_begin_anew() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let zone = Tz::UTC;
        let mut meter = Meter::default();
        let run = Ended { cpu_us: 5, traffic: ByteSize(100), given_back: false };
        meter.ended(zone, at("2027-01-30T12:00:00Z"), run);
        meter.ended(zone, at("2027-01-31T12:00:00Z"), Ended { given_back: true, ..run });
        assert_eq!(meter.month(zone, at("2027-01-31T12:00:00Z")), (ByteSize(200), Some(at("2027-02-01T00:00:00Z"))));
        let today = meter.today(zone, at("2027-01-31T23:00:00Z")).clone();
        assert_eq!((today.runs, today.given_back, today.cpu_us, today.traffic), (1, 1, 5, ByteSize(100)));
        assert_eq!(meter.today(zone, at("2027-01-30T00:00:00Z")).runs, 1, "a clock that was set back");
        assert_eq!(meter.month(zone, at("2027-02-01T00:00:00Z")).0, ByteSize(0));
    }
}
