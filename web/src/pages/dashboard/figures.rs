//! Arithmetic of the dashboard. Pure.

use protocol::Timestamp;
use protocol::api::{UsageGroup, UsageSums};

use crate::ui::period::Span;

/// Runs that count for the failure rate: ended ones, but for those that were cancelled.
pub(super) fn counted(sums: &UsageSums) -> u64 {
    sums.runs.saturating_sub(sums.cancelled)
}

/// Of them, those that the function failed or left no answer in time.
pub(super) fn failed(sums: &UsageSums) -> u64 {
    sums.failed.saturating_add(sums.timed_out)
}

/// A share as hundredths; none of nothing.
pub(super) fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| crate::format::wide(part) * 100.0 / crate::format::wide(of))
}

/// One column of a chart over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bin {
    pub(super) span: Span,
    pub(super) sums: UsageSums,
}

/// The groups of a report by time, as columns of this length; those without runs are there too.
pub(super) fn bins(groups: &[UsageGroup], span: Span, column_ms: i64) -> Vec<Bin> {
    let mut bins: Vec<Bin> = Vec::new();
    let mut from = span.from.0;
    while from < span.to.0 && column_ms > 0 {
        let to = (from + column_ms).min(span.to.0);
        bins.push(Bin { span: Span { from: Timestamp(from), to: Timestamp(to) }, sums: UsageSums::default() });
        from = to;
    }
    for group in groups {
        let Some(at) = group.at else { continue };
        let place = usize::try_from((at.0 - span.from.0).div_euclid(column_ms.max(1)));
        if let Some(bin) = place.ok().and_then(|place| bins.get_mut(place)) {
            add(&mut bin.sums, &group.usage);
        }
    }
    bins
}

/// What charts and tiles show of the sums.
fn add(sums: &mut UsageSums, other: &UsageSums) {
    sums.runs = sums.runs.saturating_add(other.runs);
    sums.succeeded = sums.succeeded.saturating_add(other.succeeded);
    sums.failed = sums.failed.saturating_add(other.failed);
    sums.timed_out = sums.timed_out.saturating_add(other.timed_out);
    sums.cancelled = sums.cancelled.saturating_add(other.cancelled);
    sums.platform_failed = sums.platform_failed.saturating_add(other.platform_failed);
    sums.cpu_us = sums.cpu_us.saturating_add(other.cpu_us);
    sums.memory_kib_ms = sums.memory_kib_ms.saturating_add(other.memory_kib_ms);
    sums.bytes_in = sums.bytes_in.saturating_add(other.bytes_in);
    sums.bytes_out = sums.bytes_out.saturating_add(other.bytes_out);
}

/// The calendar month in UTC, as usage and statements count it.
pub(super) fn month_at(now_ms: i64) -> Span {
    let day = |at: i64| time::OffsetDateTime::from_unix_timestamp(at.div_euclid(1_000)).ok();
    let first = |at: i64| -> Option<i64> {
        let date = day(at)?.date().replace_day(1).ok()?;
        Some(date.midnight().assume_utc().unix_timestamp() * 1_000)
    };
    // Longer than any month, and shorter than any two.
    let ahead = 32 * 86_400_000;
    let from = first(now_ms).unwrap_or(now_ms);
    let to = first(from + ahead).unwrap_or(now_ms);
    Span { from: Timestamp(from), to: Timestamp(to) }
}

/// What a month comes to, if it goes on as it did; none in its first hours, which say nothing yet.
pub(super) fn forecast(so_far: u64, month: Span, now_ms: i64) -> Option<u64> {
    let passed = u64::try_from(now_ms - month.from.0).ok().filter(|passed| *passed >= 6 * 3_600_000)?;
    let whole = u64::try_from(month.to.0 - month.from.0).ok()?;
    let all = u128::from(so_far) * u128::from(whole.max(passed)) / u128::from(passed);
    u64::try_from(all).ok()
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;
    use protocol::api::{UsageGroup, UsageSums};

    use super::{bins, forecast, month_at};
    use crate::ui::period::Span;

    const HOUR_MS: i64 = 3_600_000;

    fn group(at: i64, runs: u64) -> UsageGroup {
        let usage = UsageSums { runs, ..UsageSums::default() };
        UsageGroup { key: String::new(), name: String::new(), at: Some(Timestamp(at)), usage }
    }

    #[test]
    fn columns_hold_every_run_once_and_gaps_are_columns_too() {
        let span = Span { from: Timestamp(0), to: Timestamp(12 * HOUR_MS) };
        let groups = [group(0, 1), group(5 * HOUR_MS, 2), group(6 * HOUR_MS, 4), group(12 * HOUR_MS, 8)];
        let runs: Vec<u64> = bins(&groups, span, 6 * HOUR_MS).iter().map(|bin| bin.sums.runs).collect();
        assert_eq!(runs, [3, 4], "what is beyond the period is no column's");
        let runs: Vec<u64> = bins(&groups[1..2], span, 3 * HOUR_MS).iter().map(|bin| bin.sums.runs).collect();
        assert_eq!(runs, [0, 2, 0, 0]);
    }

    #[test]
    fn a_month_goes_on_as_it_did() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let month = month_at(at("2026-12-31T23:59:59Z").0);
        assert_eq!((month.from, month.to), (at("2026-12-01T00:00:00Z"), at("2027-01-01T00:00:00Z")));
        let november = month_at(at("2026-11-16T00:00:00Z").0);
        assert_eq!(forecast(70, november, at("2026-11-16T00:00:00Z").0), Some(140));
        assert_eq!(forecast(70, november, november.from.0 + HOUR_MS), None);
    }
}
