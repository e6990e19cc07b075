//! Start, stop, kill, and start again: the data stay, and no process does.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{DoneExt as _, EMBEDDED, Platform, alive, children_of, wait_until};

#[test]
fn started_again_on_the_same_folder_it_continues() {
    let folder = tempfile::tempdir().unwrap();
    let mut platform = Platform::start_in(folder.path(), &EMBEDDED);
    let mut ada = platform.user("ada");
    ada.deploy("hello", "");
    ada.ok("invoke hello");
    let key = ada.token();
    let children = children_of(platform.pid());
    assert!(!children.is_empty(), "nats-server is a child");
    let stopped = Instant::now();
    platform.stop();
    assert!(stopped.elapsed() < Duration::from_secs(5));
    // A guest that was being measured dies with its parent, a moment later.
    wait_until("all children have gone", Duration::from_secs(2), || children.iter().all(|child| !alive(*child)));

    let mut platform = Platform::start_in(folder.path(), &EMBEDDED);
    if platform.started_in >= Duration::from_secs(3) {
        // A machine that had other things to do: once more.
        platform.stop();
        platform = Platform::start_in(folder.path(), &EMBEDDED);
    }
    assert!(platform.started_in < Duration::from_secs(3), "ready after {:?}", platform.started_in);
    ada.move_to(&platform.url);
    // The port is another one, so to the command line it is another server: the key is the same.
    let invoked = ada.shell(&format!("CROWDCLOUD_KEY={key} crowdcloud invoke hello"));
    assert!(invoked.ok().contains("Hello"));
    let runs = ada.shell(&format!("CROWDCLOUD_KEY={key} crowdcloud invocations list --json")).ok();
    let runs: serde_json::Value = serde_json::from_str(&runs).unwrap();
    assert!(!runs["items"].as_array().unwrap().is_empty(), "{runs}");
}

#[test]
fn killed_it_leaves_no_orphan_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    for flags in [&EMBEDDED[..], &["--separate", "--executors", "2"]] {
        let mut platform = Platform::start_in(folder.path(), flags);
        let account = if flags == EMBEDDED { "ada" } else { "bob" };
        let ada = platform.user(account);
        ada.deploy("hello", "");
        let processes: Vec<u32> = platform.pids().into_values().chain(children_of(platform.pid())).collect();
        platform.kill();
        wait_until("all processes have gone", Duration::from_secs(3), || processes.iter().all(|pid| !alive(*pid)));
        let key = ada.token();
        let mut platform = Platform::start_in(folder.path(), flags);
        let mut ada = ada;
        ada.move_to(&platform.url);
        let answer = ada.shell(&format!("CROWDCLOUD_KEY={key} crowdcloud invoke hello"));
        assert!(answer.ok().contains("Hello"));
        platform.stop();
    }
}

#[test]
fn ctrl_c_ends_it_within_five_seconds_whatever_runs() {
    for flags in [&EMBEDDED[..], &["--separate"]] {
        let mut platform = Platform::start_with(flags);
        let ada = platform.user("ada");
        ada.deploy("probe", "--timeout 60s");
        let processes: Vec<u32> = platform.pids().into_values().chain(children_of(platform.pid())).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| ada.run("invoke probe '/sleep?ms=60000'"));
            }
            std::thread::sleep(Duration::from_millis(800));
            let began = Instant::now();
            let status = platform.end(Signal::INT, Duration::from_secs(5));
            assert!(status.success() && began.elapsed() < Duration::from_secs(5), "{status}");
        });
        assert!(processes.iter().all(|pid| !alive(*pid)), "a process has stayed");
    }
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let mut platform = Platform::start_with(&EMBEDDED);
    let ada = platform.user("ada");
    ada.deploy("probe", "--timeout 60s");
    std::thread::scope(|scope| {
        scope.spawn(|| ada.run("invoke probe '/sleep?ms=60000'"));
        std::thread::sleep(Duration::from_millis(500));
        tests::signal(platform.pid(), Signal::INT);
        std::thread::sleep(Duration::from_millis(100));
        let status = platform.end(Signal::INT, Duration::from_millis(500));
        assert_eq!(status.code(), Some(130));
    });
}

#[test]
fn the_check_starts_calls_and_stops() {
    let nobody = tests::Cli::at("http://127.0.0.1:1");
    let done = nobody.run("up --check");
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(done.text(), "Hello from CrowdCloud!", "{done:?}");
    let done = nobody.run("up --check --separate");
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(std::fs::read_dir(nobody.work()).unwrap().count(), 0, "the check leaves nothing here");
}

#[test]
fn an_idle_platform_is_small() {
    let platform = Platform::start_with(&EMBEDDED);
    let ada = platform.user("ada");
    ada.deploy("hello", "");
    ada.ok("invoke hello");
    std::thread::sleep(Duration::from_secs(2));
    let resident = |pid: u32| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
    };
    let processes: std::collections::BTreeMap<String, u64> =
        platform.pids().into_iter().map(|(name, pid)| (name, resident(pid) / 1024)).collect();
    let sum: u64 = processes.values().sum();
    assert!(sum < 250, "the idle platform has {sum} MiB resident: {processes:?}");
}
