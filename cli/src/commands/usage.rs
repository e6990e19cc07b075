//! What runs used: the control plane's sums as a table, as JSON or as CSV.

use protocol::Timestamp;
use protocol::api::{JobsNow, Kept, KeptBy, LastMinute, NodesNow, UsageBy, UsageNow, UsageReport, UsageSums};
use reqwest::Method;
use serde_json::Value;

use crate::args::Usage;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{fields, micros, table, time, write_out};

/// `usage`
pub(crate) async fn usage(context: &Context, args: &Usage) -> Result<(), Failure> {
    let client = context.client()?;
    if args.now {
        return now(context, &client).await;
    }
    let path = path(args);
    if args.csv {
        let response = client.send(client.api(Method::GET, &path)?).await?;
        let csv = response.bytes().await.map_err(|error| client.lost(&error))?;
        return write_out(&csv);
    }
    let report: UsageReport = client.get(&path).await?;
    context.output.result(&report, || show(&report))?;
    context.output.note(format!("from {} to {}", time(report.from), time(report.to)));
    if let Some(footnote) = footnote(&report.total) {
        context.output.note(footnote);
    }
    if let Some(kept) = &report.kept {
        context.output.note(keeps(kept));
    }
    if let Some(next) = &report.next {
        context.output.note(format!("more: --cursor {next}"));
    }
    Ok(())
}

/// Where it is asked for.
fn path(args: &Usage) -> String {
    let mut query = vec![("by", args.by.clone())];
    query.extend(args.function.clone().map(|name| ("function", name)));
    query.extend(args.selection.query());
    if args.csv {
        query.push(("format", "csv".to_owned()));
        return super::queried("/usage", &query);
    }
    super::paged(&super::queried("/usage", &query), &args.list)
}

fn word(by: UsageBy) -> String {
    serde_json::to_value(by).ok().as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Which runs the quantiles leave out, where there are some.
fn footnote(total: &UsageSums) -> Option<String> {
    let left_out = total.cancelled + total.platform_failed;
    (left_out > 0).then(|| {
        let (cancelled, platform) = (total.cancelled, total.platform_failed);
        format!(
            "p50, p95 and p99 are of the runs that a function ended: not of the {cancelled} that were cancelled, nor of \
             the {platform} that the platform failed"
        )
    })
}

/// What the store keeps of the account, and what takes the room.
fn keeps(kept: &Kept) -> String {
    let KeptBy { functions, uploads, jobs, deleted, history } = kept.by;
    let (bytes, limit) = (kept.bytes, kept.limit);
    let beside = match deleted.0 {
        0 => String::new(),
        _ => format!(", deleted functions {deleted}"),
    };
    format!(
        "kept: {bytes} of {limit} (functions {functions}, uploads {uploads}, jobs {jobs}); not counted: history and logs \
         {history}{beside}"
    )
}

/// What all groups have after their names.
const FIGURES: [&str; 15] = [
    "runs",
    "failed",
    "timed out",
    "cancelled",
    "platform",
    "p50",
    "p95",
    "p99",
    "cpu",
    "cpu reserved",
    "memory",
    "memory reserved",
    "in",
    "out",
    "egress",
];

/// A line for each group, and one for all of them, other pages included.
fn show(report: &UsageReport) -> String {
    let by = word(report.by);
    let groups = report.items.iter().map(|group| (group.at, group.name.as_str(), &group.usage));
    let rows = groups.chain([(None, "total", &report.total)]);
    let named = |name: &str, usage: &UsageSums| -> [String; 16] { prepend(name.to_owned(), figures(usage)) };
    let header: [&str; 16] = prepend(by.as_str(), FIGURES);
    match report.every.filter(|every| *every != report.by) {
        None => table(header, rows.map(|(_, name, usage)| named(name, usage))),
        Some(every) => {
            let every = word(every);
            let header: [&str; 17] = prepend(every.as_str(), header);
            let began = |at: Option<Timestamp>| at.map(time).unwrap_or_default();
            table(header, rows.map(|(at, name, usage)| prepend(began(at), named(name, usage))))
        }
    }
}

/// The same with one more before it.
fn prepend<T: Default, const N: usize, const M: usize>(first: T, rest: [T; N]) -> [T; M] {
    const { assert!(M == N + 1, "one more") };
    let mut all = std::iter::once(first).chain(rest);
    std::array::from_fn(|_| all.next().unwrap_or_default())
}

fn figures(usage: &UsageSums) -> [String; 15] {
    let quantile = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), micros);
    [
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

/// `usage --now`
async fn now(context: &Context, client: &Client) -> Result<(), Failure> {
    let now: UsageNow = client.get("/usage/now").await?;
    context.output.result(&now, || show_now(&now))
}

fn show_now(now: &UsageNow) -> String {
    let JobsNow { queued, running, reserved_cpus, reserved_memory } = now.jobs;
    let LastMinute { runs, cpus, reserved_cpus: minute_cpus, memory, reserved_memory: minute_memory, .. } =
        now.last_minute;
    let nodes = |nodes: &NodesNow| {
        let NodesNow { nodes, cores, busy_cores, memory, reserved_memory, slots, running } = nodes;
        format!(
            "{nodes} live: {busy_cores:.1} of {cores} cores busy, {reserved_memory} of {memory} reserved, {running} of \
             {slots} runs"
        )
    };
    fields(&[
        ("jobs", format!("{queued} queued, {running} running with {reserved_cpus} CPUs and {reserved_memory}")),
        (
            "last minute",
            format!("{runs} runs: on average {cpus:.2} of {minute_cpus:.2} CPUs, {memory} of {minute_memory}"),
        ),
        ("own nodes", nodes(&now.own)),
        ("operator's nodes", nodes(&now.operator)),
    ])
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
    use clap::Parser as _;
    use protocol::ByteSize;

    use super::*;
    use crate::args::{Cli, Command};

    fn asked(line: &str) -> String {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Usage(args) = cli.command else { panic!("{line}") };
        path(&args)
    }

    #[test]
    fn times_are_dates_times_or_ages() {
        let line = "crowdcloud usage --by day,lane --from 2026-11-29 --to 2026-11-29 --version v3 --lane vm --csv";
        let period = "from=2026-11-29T00%3A00%3A00Z&to=2026-11-30T00%3A00%3A00Z";
        let wanted = format!("/usage?by=day%2Clane&version=3&lane=vm&{period}&format=csv");
        assert_eq!(asked(line), wanted, "the last day belongs to it");
        let line = "crowdcloud usage --from 2026-11-01T00:00:00+01:00 --source job,queue --principal ci --limit 7";
        let wanted = "/usage?by=function&source=job%2Cqueue&principal=ci&from=2026-10-31T23%3A00%3A00Z&limit=7";
        assert_eq!(asked(line), wanted);
        let ago = asked("crowdcloud usage --from 7d --to 9999-12-31");
        assert!(ago.ends_with("&to=9999-12-31T23%3A59%3A59Z&limit=50"), "{ago}");
        assert!(Cli::try_parse_from("crowdcloud usage --to yesterday".split(' ')).is_err());
    }

    #[test]
    fn each_column_has_a_name_of_its_own() {
        let sums = UsageSums { runs: 3, cancelled: 1, ..UsageSums::default() };
        let report = |every, by, at| UsageReport {
            by,
            every,
            from: Timestamp(0),
            to: Timestamp(0),
            items: vec![protocol::api::UsageGroup { key: "k".to_owned(), name: "hello".to_owned(), at, usage: sums }],
            next: None,
            total: sums,
            kept: None,
        };
        let text = show(&report(None, UsageBy::Function, None));
        let header = text.lines().next().unwrap();
        assert!(header.contains("CPU RESERVED") && header.contains("MEMORY RESERVED"), "{header}");
        assert_eq!(header.split_whitespace().take(2).collect::<Vec<_>>(), ["FUNCTION", "RUNS"]);
        let text = show(&report(Some(UsageBy::Hour), UsageBy::Function, Some(Timestamp(0))));
        let line: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().take(4).collect();
        assert_eq!((text.starts_with("HOUR "), line), (true, vec!["1970-01-01", "00:00:00Z", "hello", "3"]));
        assert!(footnote(&sums).unwrap().contains("the 1 that were cancelled"));
        assert_eq!(footnote(&UsageSums::default()), None);
    }

    #[test]
    fn what_is_kept_says_what_takes_the_room() {
        let by =
            KeptBy { functions: ByteSize::mib(1024), uploads: ByteSize(0), jobs: ByteSize::mib(205), ..KeptBy::NONE };
        let kept = Kept { bytes: by.bytes(), limit: ByteSize::mib(10_240), by };
        let wanted =
            "kept: 1.2GiB of 10GiB (functions 1GiB, uploads 0B, jobs 205MiB); not counted: history and logs 0B";
        assert_eq!(keeps(&kept), wanted);
        let by = KeptBy { deleted: ByteSize::mib(3), ..by };
        assert_eq!(keeps(&Kept { by, ..kept }), format!("{wanted}, deleted functions 3MiB"));
    }

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
