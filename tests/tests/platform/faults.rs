//! 200 requests a second while processes are killed and stopped: every request ends by its deadline in success or a
//! catalogued error, and within five seconds of each fault all is well again, without our help. Where there are more
//! rounds, the books are looked at afterwards: each run that was answered is settled once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{Cli, Platform, signal, wait_until};

/// Requests in a second.
const RATE: u32 = 200;
/// The function's own deadline, and what a client's clock may add.
const DEADLINE: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_secs(2);
/// After a fault errors are allowed for so long.
const HEALS_WITHIN: Duration = Duration::from_secs(5);
/// The next fault comes when none was seen for so long: in short, and where there are more rounds.
const WELL_FOR: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];
/// Each kind of process is killed and stopped so often; `CROWDCLOUD_FAULT_ROUNDS` says more.
const ROUNDS: u32 = 1;
/// Until runs of which a half died with a process are settled without it, and what is settled is packed.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
const KINDS: [&str; 4] = ["executor", "nats-server", "gateway", "control-plane"];

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Success,
    /// A catalogued error.
    Refused(String),
    /// No whole answer: the gateway that held the connection was killed.
    Cut(String),
    /// Something else, which must not be.
    Wrong(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) began: Instant,
    took: Duration,
    pub(crate) end: End,
    /// The run that was answered.
    run: Option<String>,
}

#[test]
fn faults_of_every_kind_heal_by_themselves() {
    let rounds = std::env::var("CROWDCLOUD_FAULT_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let well_for = WELL_FOR[usize::from(rounds > ROUNDS)];
    let platform = Platform::start_separate(3, 1);
    let ada = platform.user("ada");
    ada.deploy("hello", "--timeout 5s --concurrency 1000");
    let url = format!("{}/f/ada/hello", platform.url);
    let key = ada.token();
    let ended = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let load = runtime.spawn(load(url, key, RATE, ended.clone()));
    std::thread::sleep(Duration::from_secs(3));

    let mut gateway_faults = Vec::new();
    for round in 0..rounds {
        for kind in KINDS {
            for which in [Signal::KILL, Signal::STOP] {
                let name = match kind {
                    "executor" => format!("executor-{}", round % 3 + 1),
                    "gateway" => "gateway-1".to_owned(),
                    other => other.to_owned(),
                };
                let pid = platform.pid_of(&name);
                let at = Instant::now();
                signal(pid, which);
                if kind == "gateway" {
                    gateway_faults.push(at);
                }
                wait_until(&format!("{name} is started again"), HEALS_WITHIN + well_for, || {
                    platform.pid_of(&name) != pid
                });
                wait_until_well(at, well_for, &ended);
                report(&format!("{which:?} of {name}"), at, &ended.lock().unwrap());
            }
        }
    }
    // The last requests end.
    load.abort();
    std::thread::sleep(DEADLINE + SLACK);
    let ended = ended.lock().unwrap().clone();
    eprintln!(
        "{} requests, {} of them successes",
        ended.len(),
        ended.iter().filter(|one| one.end == End::Success).count()
    );
    let near_gateway_fault =
        |at: Instant| gateway_faults.iter().any(|fault| at + DEADLINE > *fault && at < *fault + HEALS_WITHIN);
    for one in &ended {
        assert!(one.took <= DEADLINE + SLACK, "it took {:?}: {:?}", one.took, one.end);
        match &one.end {
            End::Wrong(what) => panic!("neither success nor a catalogued error: {what}"),
            End::Cut(why) => assert!(near_gateway_fault(one.began), "cut without a fault of the gateway: {why}"),
            End::Success | End::Refused(_) => {}
        }
    }
    if rounds > ROUNDS {
        settled_once(&ada, &ended);
    }
}

/// Each run that was answered is among the receipts, and the sums of these are the usage.
fn settled_once(ada: &Cli, ended: &[Ended]) {
    let answered: BTreeSet<&str> = ended.iter().filter_map(|one| one.run.as_deref()).collect();
    wait_until("all runs are settled, each once", SETTLED_WITHIN, || {
        let receipts = ada.json("receipts download -o receipts.ndjson");
        assert_eq!((&receipts["whole"], &receipts["faults_count"]), (&true.into(), &0.into()), "{receipts}");
        let runs = ada.shell(r#"sed -n 's/^{"run":"\([^"]*\)".*/\1/p' receipts.ndjson"#).text();
        let runs: BTreeSet<&str> = runs.lines().collect();
        let usage = ada.json("usage");
        let (usage, totals) = (&usage["total"], &receipts["totals"]);
        answered.is_subset(&runs)
            && usage["runs"].as_u64() == Some(runs.len() as u64)
            && ["runs", "wall_us", "cpu_us"].iter().all(|figure| usage[figure] == totals[figure])
    });
}

/// Waits until no request that began in so long a time has failed, counted from now at the earliest; no longer than errors
/// are allowed for and that.
fn wait_until_well(fault: Instant, well_for: Duration, ended: &Mutex<Vec<Ended>>) {
    let restarted = Instant::now();
    loop {
        let failed = |one: &&Ended| one.began >= fault && one.end != End::Success;
        let last = ended.lock().unwrap().iter().filter(failed).map(|one| one.began).max();
        let well_since = last.map_or(restarted, |last| last.max(restarted));
        if well_since.elapsed() >= well_for || fault.elapsed() >= HEALS_WITHIN + well_for {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What happened after a fault: prints it, and insists that all was well in time.
fn report(fault: &str, at: Instant, ended: &[Ended]) {
    let after: Vec<&Ended> = ended.iter().filter(|one| one.began >= at).collect();
    let errors: Vec<&&Ended> = after.iter().filter(|one| one.end != End::Success).collect();
    let last = errors.iter().map(|one| one.began - at).max().unwrap_or_default();
    let mut kinds = std::collections::BTreeMap::new();
    for one in &errors {
        *kinds.entry(format!("{:?}", one.end).chars().take(60).collect::<String>()).or_insert(0) += 1;
    }
    eprintln!("{fault}: {} requests, {} errors, the last after {last:?}: {kinds:?}", after.len(), errors.len());
    let late: Vec<_> = errors.iter().filter(|one| one.began - at > HEALS_WITHIN).take(5).collect();
    assert!(late.is_empty(), "{fault}: errors after {HEALS_WITHIN:?}: {late:?}");
    let seconds = at.elapsed().as_secs();
    assert!(after.len() as u64 > seconds * 66, "{fault}: only {} requests in {seconds} s", after.len());
}

/// Requests at a fixed rate, so many a second, whatever becomes of them.
pub(crate) async fn load(url: String, key: String, rate: u32, ended: Arc<Mutex<Vec<Ended>>>) {
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(64).build().unwrap();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        let (client, url, key, ended) = (client.clone(), url.clone(), key.clone(), ended.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            let answer = tokio::time::timeout(DEADLINE + SLACK * 2, one(&client, &url, &key)).await;
            let (end, run) = answer.unwrap_or_else(|_| (End::Wrong("no answer by the deadline".to_owned()), None));
            ended.lock().unwrap().push(Ended { began, took: began.elapsed(), end, run });
        });
    }
}

/// How it ended, and as which run where that was answered.
async fn one(client: &reqwest::Client, url: &str, key: &str) -> (End, Option<String>) {
    let response = match client.get(url).bearer_auth(key).send().await {
        Ok(response) => response,
        Err(error) => return (End::Cut(format!("{error:?}")), None),
    };
    let status = response.status().as_u16();
    let run = response.headers().get("x-crowdcloud-run").and_then(|run| run.to_str().ok()).map(str::to_owned);
    let body = match response.bytes().await {
        Ok(body) => body,
        Err(error) => return (End::Cut(format!("{error:?}")), None),
    };
    if status != 200 {
        return (refused(status, &body), None);
    }
    match body.starts_with(b"Hello") {
        true => (End::Success, run),
        false => (End::Wrong(format!("{body:?}")), None),
    }
}

fn refused(status: u16, body: &[u8]) -> End {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match serde_json::from_value::<protocol::Code>(problem["code"].clone()) {
        Ok(protocol::Code::Internal) | Err(_) => End::Wrong(format!("{status}: {}", String::from_utf8_lossy(body))),
        Ok(code) if code.status() == status => End::Refused(code.as_str().to_owned()),
        Ok(code) => End::Wrong(format!("{code} with {status}")),
    }
}
