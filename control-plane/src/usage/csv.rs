//! Usage as CSV (RFC 4180): the same figures as in JSON, a line for each group. Pure.

use protocol::api::UsageReport;
use serde_json::Value;

use super::figures::NAMES;

const QUANTILES: [&str; 3] = ["p50_us", "p95_us", "p99_us"];

/// A header, and a line for each group of the page.
pub(crate) fn to_csv(report: &UsageReport) -> String {
    let header = ["key", "name", "from", "to"].into_iter().chain(NAMES).chain(QUANTILES);
    let mut text = line(header.map(str::to_owned));
    for group in &report.items {
        let usage = serde_json::to_value(group.usage).unwrap_or_default();
        let what = [field(&group.key), field(&group.name), report.from.to_string(), report.to.to_string()];
        let sums = NAMES.iter().map(|name| plain(&usage[*name]));
        let quantiles = QUANTILES.iter().map(|name| plain(&usage["latency"][*name]));
        text.push_str(&line(what.into_iter().chain(sums).chain(quantiles)));
    }
    text
}

fn line(fields: impl Iterator<Item = String>) -> String {
    let mut line = fields.collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// A figure, without the quotes that JSON has around large ones; nothing where there is none.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        number => number.to_string(),
    }
}

/// A text that somebody has chosen. Spreadsheets take what begins like a formula for one: it is made a text.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_texts() {
        assert_eq!(field("hello@v3"), "hello@v3");
        assert_eq!(field("the \"first\", or so"), "\"the \"\"first\"\", or so\"");
        assert_eq!(field("=HYPERLINK(\"http://example.org\")"), "\"'=HYPERLINK(\"\"http://example.org\"\")\"");
    }
}
