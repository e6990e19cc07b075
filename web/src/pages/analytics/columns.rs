//! Columns of charts over time, and what each part of the runs used in each of them. Pure, but for the viewer's clock.

use std::collections::HashMap;

use protocol::Timestamp;
use protocol::api::{UsageGroup, UsageSums};

use crate::charts::model::Place;
use crate::format;
use crate::ui::period::{Period, Span};

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) span: Span,
    pub(super) place: Place,
}

/// The columns of a time, each so long, without words.
pub(super) fn spans(span: Span, column_ms: i64) -> Vec<Span> {
    let column_ms = column_ms.max(1);
    let mut spans = Vec::new();
    let mut from = span.from.0;
    while from < span.to.0 {
        let to = (from + column_ms).min(span.to.0);
        spans.push(Span { from: Timestamp(from), to: Timestamp(to) });
        from = to;
    }
    spans
}

/// The same with words, as the viewer's clock has them; days are those of UTC, as usage counts them.
pub(super) fn columns(period: Period, spans: &[Span]) -> Vec<Column> {
    let mut last = String::new();
    spans
        .iter()
        .map(|span| {
            let (day, hour) = match period {
                Period::Month => (utc_day(span.from), String::new()),
                _ => (format::day(span.from), format::hour(span.from)),
            };
            let short = match period {
                Period::Hour | Period::Day => hour.clone(),
                // Once for each day.
                _ if day == last => String::new(),
                _ => day.clone(),
            };
            last.clone_from(&day);
            let long = match period {
                Period::Month => format!("{day} (UTC)"),
                _ => format!("{day}, {hour}"),
            };
            Column { span: *span, place: Place { short, long } }
        })
        .collect()
}

/// A day in UTC: `30 Nov`.
fn utc_day(at: Timestamp) -> String {
    let text = at.to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!("{} {}", part(8, 10).trim_start_matches('0'), month_name(part(5, 7)))
}

/// A month in UTC: `Nov 2026`.
pub(super) fn utc_month(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} {}", month_name(text.get(5..7).unwrap_or_default()), text.get(..4).unwrap_or_default())
}

fn month_name(number: &str) -> &'static str {
    const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = number.parse::<usize>().unwrap_or(0);
    NAMES.get(number.wrapping_sub(1)).copied().unwrap_or_default()
}

/// What is told apart, with what it used in each column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    /// For programs.
    pub(super) key: String,
    /// For people.
    pub(super) name: String,
    /// One for each column.
    pub(super) sums: Vec<UsageSums>,
}

impl Part {
    /// Its runs in all columns.
    pub(super) fn runs(&self) -> u64 {
        self.sums.iter().map(|sums| sums.runs).fold(0, u64::saturating_add)
    }
}

/// The groups as parts, those with most runs first. A group that began beyond the columns is in none.
pub(super) fn parts(groups: &[UsageGroup], spans: &[Span]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for group in groups {
        let Some(column) = group.at.and_then(|at| column_of(at, spans)) else { continue };
        let place = *known.entry(&group.key).or_insert_with(|| {
            let sums = vec![UsageSums::default(); spans.len()];
            parts.push(Part { key: group.key.clone(), name: group.name.clone(), sums });
            parts.len() - 1
        });
        if let Some(sums) = parts.get_mut(place).and_then(|part| part.sums.get_mut(column)) {
            add(sums, &group.usage);
        }
    }
    parts.sort_by(|one, other| other.runs().cmp(&one.runs()).then_with(|| one.name.cmp(&other.name)));
    parts
}

/// All of them as one: what was used in each column.
pub(super) fn whole(groups: &[UsageGroup], spans: &[Span], counts: impl Fn(&UsageGroup) -> bool) -> Vec<UsageSums> {
    let mut sums = vec![UsageSums::default(); spans.len()];
    for group in groups.iter().filter(|group| counts(group)) {
        let column = group.at.and_then(|at| column_of(at, spans));
        if let Some(sum) = column.and_then(|column| sums.get_mut(column)) {
            add(sum, &group.usage);
        }
    }
    sums
}

/// The column of this time.
pub(super) fn column_of(at: Timestamp, spans: &[Span]) -> Option<usize> {
    let after = spans.partition_point(|span| span.from <= at);
    let place = after.checked_sub(1)?;
    spans.get(place).filter(|span| at < span.to).map(|_| place)
}

/// What of the runs nobody could tell apart, as the API calls it.
pub(super) const OTHER: &str = "other";

/// The first so many, and the rest as one, which is named by how many it is.
pub(super) fn top(mut parts: Vec<Part>, many: usize, what: &str) -> Vec<Part> {
    let (mut shown, mut rest): (Vec<Part>, Vec<Part>) = (Vec::new(), Vec::new());
    for part in parts.drain(..) {
        if part.key == OTHER || shown.len() == many { rest.push(part) } else { shown.push(part) }
    }
    let mut rest = rest.into_iter();
    if let Some(first) = rest.next() {
        let (first_key, mut sums, mut count) = (first.key, first.sums, 1_usize);
        for part in rest {
            sums.iter_mut().zip(&part.sums).for_each(|(sum, more)| add(sum, more));
            count += 1;
        }
        let name = if count == 1 && first_key == OTHER { "other".to_owned() } else { format!("{count} other {what}") };
        shown.push(Part { key: OTHER.to_owned(), name, sums });
    }
    shown
}

/// Adds what the page shows of sums. Quantiles have no sum: they stay only where one of both has no runs.
pub(super) fn add(sums: &mut UsageSums, more: &UsageSums) {
    sums.latency = match (sums.runs, more.runs) {
        (0, _) => more.latency,
        (_, 0) => sums.latency,
        _ => None,
    };
    let pairs = [
        (&mut sums.runs, more.runs),
        (&mut sums.succeeded, more.succeeded),
        (&mut sums.failed, more.failed),
        (&mut sums.timed_out, more.timed_out),
        (&mut sums.cancelled, more.cancelled),
        (&mut sums.platform_failed, more.platform_failed),
        (&mut sums.warm, more.warm),
        (&mut sums.cached, more.cached),
        (&mut sums.cold, more.cold),
        (&mut sums.cpu_us, more.cpu_us),
        (&mut sums.reserved_cpu_us, more.reserved_cpu_us),
        (&mut sums.memory_kib_ms, more.memory_kib_ms),
        (&mut sums.reserved_memory_kib_ms, more.reserved_memory_kib_ms),
        (&mut sums.bytes_in.0, more.bytes_in.0),
        (&mut sums.bytes_out.0, more.bytes_out.0),
    ];
    for (sum, more) in pairs {
        *sum = sum.saturating_add(more);
    }
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;
    use protocol::api::{Latency, UsageGroup, UsageSums};

    use super::{OTHER, Part, column_of, parts, spans, top, utc_day, utc_month, whole};
    use crate::ui::period::Span;

    fn group(key: &str, at: i64, runs: u64) -> UsageGroup {
        let latency = Some(Latency { p50_us: runs, p95_us: runs, p99_us: runs });
        let usage = UsageSums { runs, latency, ..UsageSums::default() };
        UsageGroup { key: key.to_owned(), name: key.to_owned(), at: Some(Timestamp(at)), usage }
    }

    fn runs(parts: &[Part]) -> Vec<(&str, Vec<u64>)> {
        parts.iter().map(|part| (part.name.as_str(), part.sums.iter().map(|sums| sums.runs).collect())).collect()
    }

    #[test]
    fn every_run_is_in_one_column_of_one_part() {
        let spans = spans(Span { from: Timestamp(0), to: Timestamp(25) }, 10);
        assert_eq!(
            spans.iter().map(|span| (span.from.0, span.to.0)).collect::<Vec<_>>(),
            [(0, 10), (10, 20), (20, 25)]
        );
        assert_eq!(
            [-1, 0, 9, 10, 24, 25].map(|at| column_of(Timestamp(at), &spans)),
            [None, Some(0), Some(0), Some(1), Some(2), None]
        );
        let groups = [group("a", 0, 1), group("b", 0, 5), group("a", 5, 2), group("a", 24, 4), group("a", 25, 100)];
        let parts = parts(&groups, &spans);
        assert_eq!(runs(&parts), [("a", vec![3, 0, 4]), ("b", vec![5, 0, 0])]);
        let all = |key: &str| whole(&groups, &spans, |group| key.is_empty() || group.key == key);
        assert_eq!(all("").iter().map(|sums| sums.runs).collect::<Vec<_>>(), [8, 0, 4]);
        assert_eq!(all("b").iter().map(|sums| sums.runs).collect::<Vec<_>>(), [5, 0, 0]);
        let latencies: Vec<bool> = parts[0].sums.iter().map(|sums| sums.latency.is_some()).collect();
        assert_eq!(latencies, [false, false, true], "two quantiles have no sum");
    }

    #[test]
    fn beyond_the_largest_few_they_are_one() {
        let spans = spans(Span { from: Timestamp(0), to: Timestamp(10) }, 10);
        let groups = [group("a", 0, 9), group(OTHER, 0, 8), group("b", 0, 7), group("c", 0, 6)];
        let of = |many: usize| top(parts(&groups, &spans), many, "functions");
        assert_eq!(runs(&of(2)), [("a", vec![9]), ("b", vec![7]), ("2 other functions", vec![14])]);
        assert_eq!(runs(&of(3)), [("a", vec![9]), ("b", vec![7]), ("c", vec![6]), ("other", vec![8])]);
        assert_eq!(runs(&top(parts(&groups[..1], &spans), 3, "functions")), [("a", vec![9])]);
    }

    #[test]
    fn days_and_months_are_those_of_utc() {
        let at: Timestamp = "2026-11-03T00:00:00Z".parse().unwrap();
        assert_eq!((utc_day(at), utc_month(at)), ("3 Nov".to_owned(), "Nov 2026".to_owned()));
    }
}
