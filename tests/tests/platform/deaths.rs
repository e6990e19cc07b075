//! Processes that die between a commit and its acknowledgement: nothing is lost, nothing is counted twice.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tests::{Platform, wait_until};

use crate::run_path::{get, plain};

const CALLS: usize = 150;
/// Each process dies a few times at each of its points, a while after it was started again.
const POINTS: &str = "observations.committed=4*off->1*return;checkpoint.committed=3*off->1*return;\
                      outbox.published=4*off->1*return;spool.sent=2*off->1*return;journal.delivered=5*off->1*return";

#[test]
fn a_death_before_the_acknowledgement_loses_and_doubles_nothing() {
    let platform = Platform::start_mortal(&[("FAILPOINTS", POINTS.as_ref())]);
    let ada = platform.user("ada");
    ada.deploy("hello", "--timeout 5s");
    let key = ada.token();
    let names = ["control-plane", "gateway-1", "executor-1"];
    let born = names.map(|name| platform.pid_of(name));
    let url = format!("{}/f/ada/hello", platform.url);
    let mut answered = BTreeSet::new();
    for _ in 0..CALLS {
        let answer = std::panic::catch_unwind(|| get(&url, Some(&key)));
        if let Ok(answer) = answer
            && answer.status == 200
        {
            assert!(answered.insert(answer.header("x-crowdcloud-run").unwrap().to_owned()), "a run twice");
        }
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(answered.len() > CALLS / 2, "only {} of {CALLS} calls were answered", answered.len());
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
    assert!(listed.len() <= CALLS, "more runs than calls");
    let succeeded = listed.iter().filter(|run| run["settled"] == true && run["outcome"] == "succeeded").count();
    assert_eq!(sums["succeeded"].as_u64(), Some(succeeded as u64), "{sums}");
}
