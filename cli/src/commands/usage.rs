//! What runs used: the control plane's sums as a table, as JSON or as CSV.

use protocol::api::{UsageBy, UsageReport, UsageSums};
use reqwest::Method;
use serde_json::Value;

use crate::args::Usage;
use crate::client::segment;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{micros, table, time, write_out};

/// `usage`
pub(crate) async fn usage(context: &Context, args: &Usage) -> Result<(), Failure> {
    let client = context.client()?;
    let path = path(args);
    if args.csv {
        let response = client.send(client.api(Method::GET, &path)?).await?;
        let csv = response.bytes().await.map_err(|error| client.lost(&error))?;
        return write_out(&csv);
    }
    let report: UsageReport = client.get(&path).await?;
    context.output.result(&report, || show(&report))?;
    context.output.note(format!("from {} to {}", time(report.from), time(report.to)));
    if let Some(next) = &report.next {
        context.output.note(format!("more: --cursor {next}"));
    }
    Ok(())
}

/// Where it is asked for.
fn path(args: &Usage) -> String {
    let Usage { by, from, to, function, csv, list } = args;
    let mut path = format!("/usage?by={}", word(*by));
    let mut add = |name: &str, value: &str| path.push_str(&format!("&{name}={}", segment(value)));
    for (name, value) in [("from", from), ("to", to), ("function", function), ("cursor", &list.cursor)] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    match csv {
        true => add("format", "csv"),
        false => add("limit", &list.limit.to_string()),
    }
    path
}

fn word(by: UsageBy) -> String {
    serde_json::to_value(by).ok().as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A line for each group, and one for all of them, other pages included.
fn show(report: &UsageReport) -> String {
    let by = word(report.by);
    let groups = report.items.iter().map(|group| row(&group.name, &group.usage));
    let rows = groups.chain([row("total", &report.total)]);
    let columns = [
        by.as_str(),
        "runs",
        "failed",
        "timed out",
        "cancelled",
        "platform",
        "p50",
        "p95",
        "p99",
        "cpu",
        "reserved",
        "memory",
        "reserved",
        "in",
        "out",
        "egress",
    ];
    table(columns, rows)
}

fn row(name: &str, usage: &UsageSums) -> [String; 16] {
    let quantile = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), micros);
    [
        name.to_owned(),
        usage.runs.to_string(),
        usage.failed.to_string(),
        usage.timed_out.to_string(),
        usage.cancelled.to_string(),
        usage.platform_failed.to_string(),
        quantile(usage.latency.map(|latency| latency.p50_us)),
        quantile(usage.latency.map(|latency| latency.p95_us)),
        quantile(usage.latency.map(|latency| latency.p99_us)),
        cpu_time(usage.cpu_us),
        cpu_time(usage.reserved_cpu_us),
        memory_time(usage.memory_kib_ms),
        memory_time(usage.reserved_memory_kib_ms),
        usage.bytes_in.to_string(),
        usage.bytes_out.to_string(),
        usage.egress_bytes.to_string(),
    ]
}

/// CPU time: as a duration, or in hours of one CPU.
pub(super) fn cpu_time(us: u64) -> String {
    const HOUR_US: u64 = 3_600_000_000;
    match us {
        0..HOUR_US => micros(us),
        _ => format!("{}.{:02}h", us / HOUR_US, us % HOUR_US / (HOUR_US / 100)),
    }
}

/// Memory times time: in GiB-hours, or GiB-seconds where that is too little.
pub(super) fn memory_time(kib_ms: u64) -> String {
    const GIB_SECOND: u128 = 1024 * 1024 * 1000;
    const GIB_HOUR: u128 = GIB_SECOND * 3600;
    let kib_ms = u128::from(kib_ms);
    let (unit, name) = if kib_ms < GIB_HOUR { (GIB_SECOND, "GiB-s") } else { (GIB_HOUR, "GiB-h") };
    format!("{}.{:03}{name}", kib_ms / unit, kib_ms % unit * 1000 / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_fit_the_figures() {
        assert_eq!(cpu_time(1_500), "1.5ms");
        assert_eq!(cpu_time(3_599_999_999), "3599.99s");
        assert_eq!(cpu_time(5_400_000_000), "1.50h");
        assert_eq!(memory_time(0), "0.000GiB-s");
        // 128 MiB for 4 s; 2 GiB for 90 minutes.
        assert_eq!(memory_time(128 * 1024 * 4_000), "0.500GiB-s");
        assert_eq!(memory_time(2 * 1024 * 1024 * 5_400_000), "3.000GiB-h");
        assert_eq!(memory_time(u64::MAX), "4886718.345GiB-h");
    }
}
