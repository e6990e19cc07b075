//! What is recorded is what was used; every call has a settled receipt.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::{Platform, wait_until};

use crate::run_path::{get, plain, send};

#[test]
fn a_run_is_recorded_within_ten_percent() {
    let platform = Platform::start_separate(1, 1);
    let ada = platform.user("ada");
    ada.deploy("probe", "--timeout 20s --memory 128MiB");
    let key = ada.token();
    assert_eq!(get(&format!("{}/f/ada/probe/", platform.url), Some(&key)).status, 200, "warm");
    let url = format!("{}/f/ada/probe/burn?ms=200&mib=64&n=100000", platform.url);
    let executor = platform.pid_of("executor-1");
    // It burns for a time by the clock: on a busy machine it is asked again until it had a core for itself. Of these runs
    // the one counts beside which the process did least.
    let burnt = (0..20).filter_map(|_| {
        let before = cpu_ns(executor);
        let answer = send("POST", &url, Some(&key), "", &[b'x'; 10_000]);
        assert_eq!((answer.status, plain(&answer).len()), (200, 100_000));
        let burnt_us = (cpu_ns(executor) - before) as f64 / 1e3;
        (burnt_us >= 180_000.0).then_some((answer, burnt_us))
    });
    let (answer, burnt_us) = burnt.take(5).min_by(|a, b| a.1.total_cmp(&b.1)).expect("a core for 200 ms");
    let run = answer.header("x-crowdcloud-run").unwrap().to_owned();
    let shown = settled(&ada, &run);
    let number = |value: &serde_json::Value| -> f64 {
        value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
    };
    let usage = &shown["usage"];
    let near = |what: &str, expected: f64| {
        let found = number(&usage[what]);
        assert!((found - expected).abs() <= expected * 0.1, "{what} is {found}, not {expected}: {shown}");
    };
    near("cpu_us", burnt_us);
    near("memory_peak", 64.0 * 1024.0 * 1024.0);
    near("bytes_out", 100_000.0);
    assert!(number(&usage["wall_us"]) >= 190_000.0, "{shown}");
    // The gateway's wall time is what this side measured.
    let (gateway, here) = (number(&shown["wall_us"]), answer.took.as_secs_f64() * 1e6);
    assert!(gateway <= here * 1.02 && gateway >= here * 0.7, "{gateway} beside {here}");
}

#[test]
fn f41_each_process_serves_its_health_and_its_figures() {
    let flags = ["--separate", "--executors", "2", "--control-planes", "2", "--gateways", "2"];
    let platform = Platform::start_with(&flags);
    let ada = platform.user("ada");
    ada.deploy("probe", "");
    let key = ada.token();
    assert_eq!(get(&format!("{}/f/ada/probe/", platform.url), Some(&key)).status, 200);
    let names: Vec<&str> = platform.services.keys().map(String::as_str).collect();
    let expected = ["control-plane", "control-plane-2", "executor-1", "executor-2", "gateway-1", "gateway-2"];
    assert_eq!(names, expected);
    let mut figures = String::new();
    for (name, url) in &platform.services {
        assert!(url.starts_with("http://127.0.0.1:"), "{name}: {url}");
        assert_eq!(plain(&get(&format!("{url}/healthz"), None)), b"ok\n", "{name}");
        assert_eq!(get(&format!("{url}/readyz"), None).status, 200, "{name}");
        let answer = get(&format!("{url}/metrics"), None);
        assert_eq!(answer.status, 200, "{name}");
        let of_one = String::from_utf8_lossy(&plain(&answer)).into_owned();
        assert_eq!(undescribed(&of_one), Vec::<&str>::new(), "{name}");
        figures.push_str(&of_one);
    }
    let parts = |name: &str, parts: &[&str]| -> Vec<String> {
        parts.iter().map(|part| format!("{name}_count{{part=\"{part}\"}} ")).collect()
    };
    let counts =
        ["crowdcloud_node_runs_total{outcome=\"succeeded\"} ", "crowdcloud_node_slots ", "gateway_run_seconds"];
    let mut wanted: Vec<String> = counts.map(str::to_owned).to_vec();
    wanted.extend(parts("gateway_run_part_seconds", &["routing", "placement", "node", "response"]));
    wanted.extend(parts("crowdcloud_node_run_part_seconds", &["admission", "start", "run"]));
    for figure in wanted {
        assert!(figures.contains(&figure), "{figure} is missing in {figures}");
    }
    wait_until("a control plane counts its cuts", Duration::from_secs(20), || {
        platform.services.iter().filter(|(name, _)| name.starts_with("control-plane")).any(|(_, url)| {
            let answer = get(&format!("{url}/metrics"), None);
            String::from_utf8_lossy(&plain(&answer)).contains("control_plane_settlement_seconds_count{halves=\"cut\"}")
        })
    });
}

/// Figures whose metric has no `# HELP` or no `# TYPE`.
fn undescribed(figures: &str) -> Vec<&str> {
    fn told<'a>(figures: &'a str, keyword: &str) -> BTreeSet<&'a str> {
        figures.lines().filter_map(|line| line.strip_prefix(keyword)?.split_whitespace().next()).collect()
    }
    let (help, kind) = (told(figures, "# HELP "), told(figures, "# TYPE "));
    let is_told = |name: &str| help.contains(name) && kind.contains(name);
    let of_histogram =
        |name: &str| ["_bucket", "_sum", "_count"].iter().any(|part| name.strip_suffix(part).is_some_and(&is_told));
    let lines = figures.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter(|line| {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            !is_told(name) && !of_histogram(name)
        })
        .collect()
}

/// What a process has computed, by the kernel's account of its threads, in nanoseconds.
fn cpu_ns(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |thread: std::fs::DirEntry| -> Option<u64> {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok()
    };
    threads.filter_map(|thread| of_thread(thread.ok()?)).sum()
}

#[test]
fn every_call_has_a_settled_receipt() {
    let platform = Platform::start();
    let ada = platform.user("ada");
    ada.deploy("probe", "--timeout 1s");
    let key = ada.token();
    let mut runs = Vec::new();
    for path in ["/", "/trap", "/sleep?ms=3000", "/no-response", "/status/500", "/bytes?n=100000"] {
        for _ in 0..5 {
            let answer = get(&format!("{}/f/ada/probe{path}", platform.url), Some(&key));
            runs.push((answer.header("x-crowdcloud-run").unwrap().to_owned(), path, answer.status));
        }
    }
    for (run, path, status) in runs {
        let shown = settled(&ada, &run);
        assert_eq!(shown["status"].as_u64(), Some(u64::from(status)), "{path}: {shown}");
        let outcome = shown["outcome"].as_str().unwrap();
        let expected = match path {
            "/trap" | "/no-response" => "failed",
            "/sleep?ms=3000" => "timed_out",
            _ => "succeeded",
        };
        assert_eq!(outcome, expected, "{path}: {shown}");
        assert_eq!(shown["source"], "call", "{path}: {shown}");
        assert!(shown["principal"].as_str().unwrap().starts_with("key_"), "{path}: {shown}");
    }
    let others = ada.json("invocations list probe --source test,job,schedule,queue");
    assert_eq!(others["items"].as_array().map(Vec::len), Some(0), "{others}");
    assert_eq!(ada.run("invocations list --principal somebody").status, 2);
    what_they_used_in_all(&ada);
}

/// The sums of these 30 runs, as a table, as JSON and as CSV.
fn what_they_used_in_all(ada: &tests::Cli) {
    let mut total = serde_json::Value::Null;
    let things = ["function", "version", "lane", "principal", "member", "source", "status"];
    for by in things.into_iter().chain(["minute", "hour", "day", "month"]) {
        let report = ada.json(&format!("usage --by {by}"));
        let items = report["items"].as_array().unwrap();
        let runs: u64 = items.iter().map(|group| group["usage"]["runs"].as_u64().unwrap()).sum();
        assert_eq!((report["by"].as_str(), runs), (Some(by), 30), "{report}");
        if total.is_null() {
            total = report["total"].clone();
        }
        assert_eq!(report["total"], total, "by {by} it is the same");
    }
    for (sum, wanted) in [("runs", 30), ("succeeded", 15), ("failed", 10), ("timed_out", 5), ("platform_failed", 0)] {
        assert_eq!(total[sum].as_u64(), Some(wanted), "{sum}: {total}");
    }
    assert!(total["cpu_us"].as_u64() <= total["reserved_cpu_us"].as_u64(), "{total}");
    assert!(total["latency"]["p99_us"].as_u64() > Some(900_000), "five ran for a second: {total}");
    let named = |by: &str| ada.json(&format!("usage --by {by}"))["items"][0]["name"].clone();
    assert_eq!((named("source"), named("version")), ("call".into(), "probe@v1".into()));
    assert!(ada.json("usage --by principal")["items"][0]["key"].as_str().unwrap().starts_with("key_"));

    let table = ada.ok("usage --by status --function probe");
    let last = table.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(last[..4], ["total", "30", "10", "5"], "{table}");
    let csv = ada.ok("usage --by status --csv");
    assert!(csv.starts_with("key,name,at,from,to,runs,succeeded,") && csv.contains("\n5xx,5xx,"), "{csv}");
    let daily = ada.json("usage --by day,status --from 2d --source call");
    let told = (daily["every"].as_str(), daily["by"].as_str(), daily["total"]["runs"].as_u64());
    assert_eq!(told, (Some("day"), Some("status"), Some(30)), "{daily}");
    assert!(daily["items"][0]["at"].as_str().unwrap().ends_with("T00:00:00Z"), "{daily}");
    let now = ada.json("usage --now");
    assert!(now["jobs"]["queued"] == 0 && now["operator"]["cores"].as_u64() > Some(0), "{now}");
    assert!(ada.ok("usage --now").contains("operator's nodes  1 live: "), "{now}");
    assert_eq!(ada.run("usage --by colour").status, 2);
    let wrong = ada.run("usage --from yesterday");
    assert!(wrong.status == 2 && wrong.stderr.contains("--from") && wrong.stderr.contains("how long ago"), "{wrong:?}");
}

/// The run, once both halves agree.
fn settled(cli: &tests::Cli, run: &str) -> serde_json::Value {
    let mut shown = serde_json::Value::Null;
    wait_until(&format!("{run} is settled"), Duration::from_secs(15), || {
        let done = cli.run(&format!("invocations show {run} --json"));
        shown = serde_json::from_str(&done.text()).unwrap_or_default();
        shown["settled"] == true
    });
    shown
}
