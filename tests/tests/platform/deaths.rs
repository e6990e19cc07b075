//! Processes that die between a commit and its acknowledgement: nothing is lost, nothing is counted twice.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tests::{Platform, wait_until};

use crate::metering::settled;
use crate::run_path::{get, plain};

const CALLS: usize = 150;
/// Each process dies a few times at each of its points, a while after it was started again.
const POINTS: &str = "observations.committed=4*off->1*return;checkpoint.committed=3*off->1*return;\
                      outbox.published=4*off->1*return;spool.sent=7*off->1*return;journal.delivered=5*off->1*return";

#[test]
fn a_death_before_the_acknowledgement_loses_and_doubles_nothing() {
    let platform = Platform::start_mortal(POINTS);
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
    for run in &answered {
        assert_eq!(settled(&ada, run)["outcome"], "succeeded", "{run}");
    }

    // The sums are those of the rows, each run once.
    let read = |path: &str| -> Value {
        let answer = get(&format!("{}/api/v1/{path}", platform.url), Some(&key));
        serde_json::from_slice(&plain(&answer)).unwrap_or_default()
    };
    let mut seen = (Value::Null, Value::Null);
    wait_until("the sums are those of the rows", Duration::from_secs(15), || {
        seen = (read("invocations?function=hello&limit=200"), read("functions/hello/usage"));
        let rows =
            seen.0["items"].as_array().map_or(0, |rows| rows.iter().filter(|run| run["settled"] == true).count());
        rows > 0 && seen.1["runs"].as_u64() == Some(rows as u64)
    });
    let listed: Vec<&str> = seen.0["items"].as_array().unwrap().iter().filter_map(|run| run["run"].as_str()).collect();
    let distinct: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(distinct.len(), listed.len(), "a run is listed twice");
    assert!(answered.iter().all(|run| distinct.contains(run.as_str())), "a run is missing");
    assert!(listed.len() <= CALLS, "more runs than calls");
}
