//! Jobs while every kind of process is killed and stopped: no accepted job is lost, each ends once and is billed once,
//! and work goes on within ten seconds of each fault.
//!
//! `CROWDCLOUD_JOB_COUNT` and `CROWDCLOUD_JOB_FAULTS` make it longer: 2000 and 24 are the long form.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use protocol::api::{Page, UsageSums};
use protocol::job::{Job, JobState, SubmitJob};
use reqwest::{Client, Method, StatusCode};
use rustix::process::Signal;
use tests::{Platform, signal, wait_until};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

const JOBS: usize = 300;
/// One of each kind of process, killed and stopped.
const FAULTS: usize = 10;
const KINDS: [&str; 5] = ["executor", "control-plane", "nats-server", "gateway", "control-plane-2"];
const GOES_ON_WITHIN: Duration = Duration::from_secs(10);
/// What a client's own tries and the job itself may add.
const SLACK: Duration = Duration::from_secs(2);
const ALL_WITHIN: Duration = Duration::from_secs(180);
/// Runs whose other half died with a process are settled without it after so long: long enough for any half that is only
/// late, and shorter than the usual minute, which the sums are waited for.
const CONFIG: &str = "[control-plane]\nsettle-wait-max = \"12s\"\n";
/// Jobs that are asked for at once.
const ASKED_AT_ONCE: usize = 8;
/// After a fault, until the next one.
const BETWEEN: Duration = Duration::from_millis(500);

pub(crate) fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A client that does not give up.
#[derive(Clone)]
pub(crate) struct Patient {
    http: Client,
    url: String,
    key: String,
}

impl Patient {
    pub(crate) fn new(url: &str, key: &str) -> Self {
        let http = Client::builder().no_proxy().build().unwrap();
        Self { http, url: url.to_owned(), key: key.to_owned() }
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        once: Option<&str>,
        body: Option<&SubmitJob>,
    ) -> T {
        let until = Instant::now() + ALL_WITHIN;
        loop {
            let mut request = self.http.request(method.clone(), format!("{}/api/v1{path}", self.url));
            request = request.bearer_auth(&self.key).timeout(Duration::from_secs(3));
            if let Some(once) = once {
                request = request.header("idempotency-key", once);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let refused = match request.send().await {
                Ok(response) => {
                    let status = response.status();
                    match response.bytes().await {
                        Ok(bytes) if status.is_success() => return serde_json::from_slice(&bytes).unwrap(),
                        Ok(bytes) => {
                            // Its first answer was lost with its process: it is there, and what it is, the list tells.
                            let again = status.is_server_error() || status == StatusCode::CONFLICT;
                            assert!(again, "{path}: {status}: {}", String::from_utf8_lossy(&bytes));
                            status.to_string()
                        }
                        Err(error) => error.to_string(),
                    }
                }
                Err(error) => error.to_string(),
            };
            assert!(Instant::now() < until, "{path}: {refused}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Submits; the label says which it is, should the answer be lost.
    pub(crate) async fn submit(&self, number: usize) {
        let mut job = SubmitJob::of("probe");
        job.path = Some(format!("/sleep?ms={}", 100 + number % 7 * 50));
        job.labels.insert("number".to_owned(), number.to_string());
        let key = format!("job-{number}");
        // A process that dies between commit and answer leaves the key without an answer: then the list has the job.
        let accepted = self.ask::<Job>(Method::POST, "/jobs", Some(&key), Some(&job));
        let listed = self.listed(number);
        tokio::select! { job = accepted => drop(job), () = listed => {} }
    }

    async fn listed(&self, number: usize) {
        loop {
            tokio::time::sleep(Duration::from_secs(15)).await;
            let page: Page<Job> = self.ask(Method::GET, &format!("/jobs?label=number%3D{number}"), None, None).await;
            if !page.items.is_empty() {
                return;
            }
        }
    }

    /// These jobs with all that they went through.
    async fn whole(&self, jobs: &[Job]) -> Vec<Job> {
        let paths: Vec<String> = jobs.iter().map(|job| format!("/jobs/{}", job.id)).collect();
        join_all(paths.iter().map(|path| self.ask(Method::GET, path, None, None))).await
    }

    async fn all(&self) -> Vec<Job> {
        let (mut jobs, mut cursor) = (Vec::new(), String::new());
        loop {
            let page: Page<Job> = self.ask(Method::GET, &format!("/jobs?limit=200{cursor}"), None, None).await;
            jobs.extend(page.items);
            match page.next {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return jobs,
            }
        }
    }
}

/// Jobs that are submitted one after the other while there are faults, and so many at least.
pub(crate) struct Submitting {
    submitters: Vec<JoinHandle<()>>,
    faulty: Arc<AtomicBool>,
    submitted: Arc<Mutex<usize>>,
}

impl Submitting {
    pub(crate) fn start(runtime: &Runtime, client: &Patient, jobs: usize) -> Self {
        let (faulty, submitted) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(0_usize)));
        let submitters = (0..4)
            .map(|_| {
                let (client, faulty, submitted) = (client.clone(), faulty.clone(), submitted.clone());
                runtime.spawn(async move {
                    loop {
                        let number = {
                            let mut next = submitted.lock().unwrap();
                            if *next >= jobs && !faulty.load(Ordering::Relaxed) {
                                return;
                            }
                            *next += 1;
                            *next
                        };
                        client.submit(number).await;
                        // Enough for all the time that the faults take.
                        tokio::time::sleep(Duration::from_millis(if number < jobs { 60 } else { 400 })).await;
                    }
                })
            })
            .collect();
        Self { submitters, faulty, submitted }
    }

    /// There are no more faults: how many jobs there are.
    pub(crate) fn end(self, runtime: &Runtime) -> usize {
        let Self { submitters, faulty, submitted } = self;
        faulty.store(false, Ordering::Relaxed);
        runtime.block_on(async {
            for submitter in submitters {
                submitter.await.unwrap();
            }
        });
        *submitted.lock().unwrap()
    }
}

#[test]
fn no_job_is_lost_and_none_ends_twice() {
    let (jobs, faults) = (number("CROWDCLOUD_JOB_COUNT", JOBS), number("CROWDCLOUD_JOB_FAULTS", FAULTS));
    let flags = ["--separate", "--executors", "3", "--control-planes", "2"];
    let platform = Platform::start_set(CONFIG, &flags);
    let ada = platform.user("ada");
    ada.deploy("probe", "--timeout 20s");
    let client = Patient::new(&platform.url, &ada.token());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let submitting = Submitting::start(&runtime, &client, jobs);
    std::thread::sleep(Duration::from_secs(1));

    for fault in 0..faults {
        let which = if (fault / KINDS.len()).is_multiple_of(2) { Signal::KILL } else { Signal::STOP };
        let name = match KINDS[fault % KINDS.len()] {
            "executor" => format!("executor-{}", fault / KINDS.len() % 3 + 1),
            "gateway" => "gateway-1".to_owned(),
            other => other.to_owned(),
        };
        let pid = platform.pid_of(&name);
        signal(pid, which);
        let at = Instant::now();
        let told = runtime.block_on(async {
            let mut job = SubmitJob::of("probe");
            job.labels.insert("fault".to_owned(), fault.to_string());
            // Without a key: that of a request whose process died is taken for 10 s.
            let job: Job = client.ask(Method::POST, "/jobs", None, Some(&job)).await;
            loop {
                let shown: Job = client.ask(Method::GET, &format!("/jobs/{}?wait=2s", job.id), None, None).await;
                if shown.state.ended() {
                    return shown;
                }
            }
        });
        let took = at.elapsed();
        eprintln!("{which:?} of {name}: a new job was {} after {took:?}", told.state);
        assert!(took <= GOES_ON_WITHIN + SLACK, "{which:?} of {name}: {took:?}: {told:?}");
        wait_until(&format!("{name} is started again"), GOES_ON_WITHIN, || platform.pid_of(&name) != pid);
        std::thread::sleep(BETWEEN);
    }
    let wanted = submitting.end(&runtime);
    each_ended_once(&runtime, &client, wanted);
}

/// The dispatcher's process dies after its commits: before a job is sent that is placed, before a result is told that
/// is recorded, before an accepted job is answered, before what an earlier life has left is taken up again; once each.
#[test]
fn a_death_after_a_commit_loses_no_job() {
    const POINTS: [&str; 4] = ["jobs.placed", "jobs.recorded", "jobs.abandoned", "mutation.committed"];
    let points = "jobs.placed=5*off->return;jobs.recorded=3*off->return;jobs.abandoned=return;\
                  mutation.committed=12*off->return";
    let dead = tempfile::tempdir().unwrap();
    let variables = [("FAILPOINTS", points.as_ref()), ("FAILPOINTS_ONCE", dead.path().as_os_str())];
    let platform = Platform::start_mortal_set(CONFIG, &variables);
    let ada = platform.user("ada");
    ada.deploy("probe", "--timeout 20s");
    let client = Patient::new(&platform.url, &ada.token());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let submitted = runtime.block_on(async {
        let half = async |first: usize| {
            let mut number = first;
            // At most as many as its process could need to come to each point.
            while number < 30 || (number < 200 && !POINTS.iter().all(|point| dead.path().join(point).exists())) {
                client.submit(number).await;
                number += 2;
            }
            number / 2
        };
        let (even, odd) = tokio::join!(half(0), half(1));
        even + odd
    });
    each_ended_once(&runtime, &client, submitted);
    for point in POINTS {
        assert!(dead.path().join(point).exists(), "the control plane has not died at {point}");
    }
}

/// Each accepted job is there, has succeeded, ended once, and is billed once.
pub(crate) fn each_ended_once(runtime: &Runtime, client: &Patient, wanted: usize) {
    let until = Instant::now() + ALL_WITHIN;
    let ended = loop {
        let all = runtime.block_on(client.all());
        let open = all.iter().filter(|job| !job.state.ended()).count();
        if open == 0 {
            break all;
        }
        assert!(Instant::now() < until, "{open} of {} jobs have not ended", all.len());
        std::thread::sleep(Duration::from_millis(500));
    };
    let numbered = ended.iter().filter(|job| job.labels.contains_key("number")).count();
    assert_eq!(numbered, wanted, "each accepted job is there, once");
    let mut labels = BTreeMap::new();
    for job in &ended {
        *labels.entry(&job.labels).or_insert(0) += 1;
        assert_eq!(job.state, JobState::Succeeded, "{job:?}");
    }
    for some in ended.chunks(ASKED_AT_ONCE) {
        for whole in runtime.block_on(client.whole(some)) {
            let ends = whole.transitions.iter().filter(|step| step.state.ended()).count();
            assert_eq!(ends, 1, "{whole:?}");
        }
    }
    let twice = labels.iter().find(|(labels, count)| **count > 1 && labels.contains_key("number"));
    assert_eq!(twice, None, "a job was submitted twice");
    let again = ended.iter().filter(|job| job.losses > 0).count();
    eprintln!("{} jobs, {again} of them lost by a node and tried again", ended.len());

    // One bill for each: the function's sums count each job's run once; what was lost is paid by nobody.
    let until = Instant::now() + Duration::from_secs(100);
    loop {
        let usage: UsageSums = runtime.block_on(client.ask(Method::GET, "/functions/probe/usage", None, None));
        if usage.succeeded == ended.len() as u64 {
            break;
        }
        assert!(usage.succeeded < ended.len() as u64 && Instant::now() < until, "{} jobs, but {usage:?}", ended.len());
        std::thread::sleep(Duration::from_millis(500));
    }
}
