//! Usage as CSV (RFC 4180): the same figures as in JSON, a line for each group. Pure.

use protocol::Timestamp;
use protocol::api::UsageReport;
use protocol::csv::line;
use serde_json::Value;

use super::every::Every;
use super::figures::NAMES;

const QUANTILES: [&str; 3] = ["p50_us", "p95_us", "p99_us"];
/// What their columns are called: they are of the runs that the function ended, and not of all that `runs` counts.
const QUANTILE_COLUMNS: [&str; 3] = ["ended_p50_us", "ended_p95_us", "ended_p99_us"];

/// A header, and a line for each group of the page. `from` and `to` are the group's own period, where it is told by time;
/// `at`, which is empty else, is the beginning of the minute, hour, day or month.
pub(crate) fn to_csv(report: &UsageReport) -> String {
    let header = ["key", "name", "at", "from", "to"].into_iter().chain(NAMES).chain(QUANTILE_COLUMNS);
    let mut text = line(header);
    for group in &report.items {
        let usage = serde_json::to_value(group.usage).unwrap_or_default();
        let (from, to) = period(report, group.at);
        let at = group.at.map(|at| at.to_string()).unwrap_or_default();
        let what = [group.key.clone(), group.name.clone(), at, from.to_string(), to.to_string()];
        let sums = NAMES.iter().map(|name| plain(&usage[*name]));
        let quantiles = QUANTILES.iter().map(|name| plain(&usage["latency"][*name]));
        text.push_str(&line(what.into_iter().chain(sums).chain(quantiles)));
    }
    text
}

/// What a group is of: its own time, as far as that belongs to the report.
fn period(report: &UsageReport, at: Option<Timestamp>) -> (Timestamp, Timestamp) {
    match report.every.and_then(Every::of).zip(at) {
        Some((every, at)) => (at.max(report.from), every.end(at).min(report.to)),
        None => (report.from, report.to),
    }
}

/// A figure, without the quotes that JSON has around large ones; nothing where there is none.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        number => number.to_string(),
    }
}
