//! Processes that die between a commit and its acknowledgement: nothing is lost, nothing is counted twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Platform, wait_until};

use crate::run_path::{get, plain};

const CALLS: usize = 120;
/// As many as one page lists.
const CALLS_MAX: usize = 200;
/// After each death of the control plane nobody settles for so long, and that is most of the time that these tests take.
const LEASE: &str = "1s";
/// Each process dies a few times at each of its points, a while after it was started again.
const POINTS: &str = "observations.committed=4*off->1*return;checkpoint.committed=3*off->1*return;\
                      outbox.published=7*off->1*return;spool.sent=2*off->1*return;journal.delivered=2*off->1*return";

/// Waits for this, or for so long.
fn wait_at_most(most: Duration, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() && begun.elapsed() < most {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_death_before_the_acknowledgement_loses_and_doubles_nothing() {
    let platform = Platform::start_mortal(&[("FAILPOINTS", POINTS.as_ref()), ("CROWDCLOUD_LEASE", LEASE.as_ref())]);
    let ada = platform.user("ada");
    ada.deploy("hello", "--timeout 5s");
    let key = ada.token();
    let names = ["control-plane", "gateway-1", "executor-1"];
    let born = names.map(|name| platform.pid_of(name));
    let url = format!("{}/f/ada/hello", platform.url);
    let mut answered = BTreeSet::new();
    let have_died = || names.iter().zip(born).all(|(name, before)| platform.pid_of(name) != before);
    let mut calls = 0;
    // What is sent again waits longer each time, and for the lease of the control plane that died: a process may take a
    // while to come to its point.
    while calls < CALLS || (calls < CALLS_MAX && !have_died()) {
        calls += 1;
        if calls > CALLS {
            wait_at_most(Duration::from_secs(1), have_died);
        }
        let answer = std::panic::catch_unwind(|| get(&url, Some(&key)));
        if let Ok(answer) = answer
            && answer.status == 200
        {
            assert!(answered.insert(answer.header("x-crowdcloud-run").unwrap().to_owned()), "a run twice");
        }
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(answered.len() > calls / 2, "only {} of {calls} calls were answered", answered.len());
    for (name, before) in names.iter().zip(born) {
        assert_ne!(platform.pid_of(name), before, "{name} has not died");
    }

    // Each run that was answered has its row, and the sums are those of the rows, each run once. What a gateway had
    // seen in the second before it died is lost: such a run has the node's half, and is settled later.
    let read = |path: &str| -> Value {
        let answer = get(&format!("{}/api/v1/{path}", platform.url), Some(&key));
        serde_json::from_slice(&plain(&answer)).unwrap_or_default()
    };
    let mut listed = Vec::new();
    let mut sums = Value::Null;
    wait_until("all runs are there, and counted once", Duration::from_secs(30), || {
        listed = read("invocations?function=hello&limit=200")["items"].as_array().cloned().unwrap_or_default();
        sums = read("functions/hello/usage");
        let rows: BTreeSet<&str> = listed.iter().filter_map(|run| run["run"].as_str()).collect();
        let settled: Vec<&Value> = listed.iter().filter(|run| run["settled"] == true).collect();
        answered.iter().all(|run| rows.contains(run.as_str()))
            && settled.len() > listed.len() * 3 / 4
            && sums["runs"].as_u64() == Some(settled.len() as u64)
    });
    let distinct: BTreeSet<&str> = listed.iter().filter_map(|run| run["run"].as_str()).collect();
    assert_eq!(distinct.len(), listed.len(), "a run is listed twice");
    assert!(listed.len() <= calls, "more runs than calls");
    let succeeded = listed.iter().filter(|run| run["settled"] == true && run["outcome"] == "succeeded").count();
    assert_eq!(sums["succeeded"].as_u64(), Some(succeeded as u64), "{sums}");
}

/// The control plane dies when a block is stored and not noted yet, and again when it has just been noted.
#[test]
fn a_death_while_runs_are_packed_loses_and_doubles_nothing() {
    let died = tempfile::tempdir().unwrap();
    let platform = Platform::start_mortal(&[
        ("FAILPOINTS", "block.stored=1*return;block.committed=1*return".as_ref()),
        ("FAILPOINTS_ONCE", died.path().as_os_str()),
        ("CROWDCLOUD_LEASE", LEASE.as_ref()),
        ("CROWDCLOUD_BLOCK_AGE_MAX", "1s".as_ref()),
        ("CROWDCLOUD_ROWS_AGE", "12s".as_ref()),
    ]);
    let ada = platform.user("ada");
    ada.deploy("hello", "--timeout 5s");
    for _ in 0..8 {
        ada.ok("invoke hello");
    }
    wait_until("it has died at both points", Duration::from_secs(60), || {
        ["block.stored", "block.committed"].iter().all(|point| died.path().join(point).exists())
    });
    let mut usage = Value::Null;
    wait_until("it is there again, and all runs are", Duration::from_secs(30), || {
        let asked = ada.run("usage --json");
        usage = serde_json::from_str(&asked.text()).unwrap_or_default();
        usage["total"]["runs"].as_u64() == Some(8)
    });
    let listed = ada.json("invocations list hello")["items"].as_array().cloned().unwrap_or_default();
    let distinct: BTreeSet<&str> = listed.iter().filter_map(|run| run["run"].as_str()).collect();
    assert_eq!((listed.len(), distinct.len()), (8, 8), "{listed:?}");
    let receipts = ada.json("receipts download -o receipts.ndjson");
    assert_eq!((&receipts["whole"], &receipts["faults_count"]), (&true.into(), &0.into()), "{receipts}");
    assert_eq!(receipts["totals"]["wall_us"], usage["total"]["wall_us"], "{receipts}");
}
