//! The tenant that takes all it can: what it holds, it holds for longer than the test takes; what ends, comes again at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::Tenant;
use super::programs::program;
use super::rows::{refused, to_be_refused};

const FLOODED_WITHIN: Duration = Duration::from_secs(150);
/// What is held.
const LONG_MS: u64 = 80_000;
/// Runs with much memory: they are over before all else is taken, for memory ends before slots do.
const WIDE_MS: u64 = 2_500;
/// Runs that end soon: slots come free for all else.
const SHORT_MS: u64 = 500;
/// Programs that ask for them: of those that have no slot, more than may wait. They send no body: what cannot be sent to
/// another node does not wait for one.
const SHORT_RUNS: usize = 300;
/// Runs with large bodies, more than the gateway keeps of one account.
const LARGE_RUNS: u32 = 12;
/// As much as a gateway keeps of a request's body.
const ANNOUNCED: usize = 512 << 10;
/// A body may not pause for long.
const TRICKLE: Duration = Duration::from_secs(5);
/// After a refusal: a program that asks without pause would only use up its own machine.
const PAUSE: Duration = Duration::from_millis(100);
/// The same where megabytes would come again, or what is told to each of many streams.
const LARGE_PAUSE: Duration = Duration::from_secs(2);
/// Programs of some MB of machine code together.
const PROGRAMS: u32 = 6;
const ARRAYS: &str = "/api/v1/jobs/arrays";
const RECEIPTS: &str = "/api/v1/receipts";
/// The row of what takes the share of the API, without which little else is to be had.
const CROWD: &str = "requests that wait for their turn";
/// Rows of what the flood asks for at last.
const LAST: [&str; 2] = [CROWD, "passwords that wait to be hashed, by client or user"];

/// How often it was refused more, by row.
#[derive(Default)]
struct Refusals(Mutex<BTreeMap<&'static str, u32>>);

impl Refusals {
    /// Counts the answer, where it is one.
    fn note(&self, answer: &str) {
        if let Some(row) = refused(answer) {
            *self.0.lock().unwrap().entry(row).or_default() += 1;
        }
    }

    fn without(&self, rows: &BTreeSet<&'static str>) -> Vec<&'static str> {
        let got = self.0.lock().unwrap();
        rows.iter().filter(|row| !got.contains_key(*row)).copied().collect()
    }

    async fn until_of(&self, rows: &BTreeSet<&'static str>) {
        let deadline = Instant::now() + FLOODED_WITHIN;
        while !self.without(rows).is_empty() {
            assert!(Instant::now() < deadline, "the flood does not come to its share of {:?}", self.without(rows));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// One tenant's programs. They end with it.
pub(super) struct Flood {
    /// From two addresses: no client may have so many connections.
    tenants: [Tenant; 2],
    tasks: JoinSet<()>,
    refusals: Arc<Refusals>,
}

impl Flood {
    pub(super) fn new(tenants: [Tenant; 2]) -> Self {
        Self { tenants, tasks: JoinSet::new(), refusals: Arc::default() }
    }

    /// How often it was refused more, by row.
    pub(super) fn refusals(&self) -> BTreeMap<&'static str, u32> {
        self.refusals.0.lock().unwrap().clone()
    }

    /// Nothing of it has failed.
    pub(super) fn check(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            ended.unwrap();
        }
    }

    /// What must be there before: more machine code than a node keeps, and a block of receipts.
    pub(super) async fn prepare(self) -> Self {
        let packed = tokio::time::timeout(FLOODED_WITHIN, pack_receipts(&self.tenants[1]));
        let ((), packed) = futures::join!(fill_caches(&self.tenants[0]), packed);
        packed.expect("runs are settled in time");
        self
    }

    /// Functions that compute without end, on all cores; and some that want much memory.
    pub(super) async fn compute(mut self) -> Self {
        self.hold(8, "/f/ada/probe/loop");
        self.hold(8, &format!("/f/ada/wide/sleep?ms={WIDE_MS}"));
        self.refusals.until_of(&BTreeSet::from(["memory of runs"])).await;
        self
    }

    /// All else.
    pub(super) async fn take_all(mut self) -> Self {
        let tenant = &self.tenants[0];
        tenant.read(Method::POST, ARRAYS, Some(array(300))).await;
        let later = json!({"function": "probe", "not_before": "1h"});
        let later = tenant.read(Method::POST, "/api/v1/jobs", Some(later)).await["id"].as_str().unwrap().to_owned();
        self.run_large();
        self.again(SHORT_RUNS, Method::GET, None, |_| format!("/f/ada/probe/sleep?ms={SHORT_MS}"));
        self.again(8, Method::GET, None, |_| "/f/ada/chatty/log?lines=3000&bytes=4".to_owned());
        self.again(8, Method::GET, None, |time| format!("/f/ada/cached{}/", time % PROGRAMS));
        self.again(6, Method::GET, None, |_| RECEIPTS.to_owned());
        self.deploy_large(14);
        self.hold(230, "/api/v1/functions/probe/logs?follow=true");
        self.hold(420, "/api/v1/jobs/events");
        self.hold(420, &format!("/api/v1/jobs/{later}?wait=60s"));
        self.connect(1100);
        let mut first = to_be_refused();
        first.retain(|row| !LAST.contains(row));
        self.refusals.until_of(&first).await;
        self.crowd();
        self.refusals.until_of(&to_be_refused()).await;
        self
    }

    /// So many programs that ask for something that is held long, until they have it or its row is full.
    fn hold(&mut self, count: u32, path: &str) {
        for index in 0..count {
            let (tenant, path) = (self.tenants[index as usize % 2].clone(), path.to_owned());
            let refusals = Arc::clone(&self.refusals);
            self.tasks.spawn(async move {
                loop {
                    let response = tenant.ask(Method::GET, &path, None).await;
                    if response.status() != StatusCode::TOO_MANY_REQUESTS {
                        response.bytes_stream().count().await;
                        return;
                    }
                    let text = response.text().await.unwrap();
                    refusals.note(&text);
                    if refused(&text) != Some(CROWD) {
                        return;
                    }
                    // The crowd has held itself up: not all of it comes back at once.
                    tokio::time::sleep(PAUSE + Duration::from_millis(index.into())).await;
                }
            });
        }
    }

    /// Runs whose requests have large bodies, which hardly come.
    fn run_large(&mut self) {
        for _ in 0..LARGE_RUNS {
            let (to, key) = (self.tenants[0].address(), self.tenants[0].key.clone());
            let refusals = Arc::clone(&self.refusals);
            self.tasks.spawn(async move {
                loop {
                    refusals.note(&trickle(to, &key).await);
                    tokio::time::sleep(LARGE_PAUSE).await;
                }
            });
        }
    }

    /// Asks something on each of so many connections, and keeps them.
    fn connect(&mut self, count: usize) {
        let to = self.tenants[0].address();
        for _ in 0..count {
            let refusals = Arc::clone(&self.refusals);
            self.tasks.spawn(async move {
                let mut stream = connection(to, 5).await;
                drop(stream.write_all(format!("GET /healthz HTTP/1.1\r\nhost: {to}\r\n\r\n").as_bytes()).await);
                let mut answer = Vec::new();
                drop(stream.read_to_end(&mut answer).await);
                refusals.note(&String::from_utf8_lossy(&answer));
            });
        }
    }

    /// Programs that take seconds to compile; after each the next one.
    fn deploy_large(&mut self, count: u32) {
        for number in 0..count {
            let (tenant, refusals) = (self.tenants[0].clone(), Arc::clone(&self.refusals));
            self.tasks.spawn(async move {
                let name = format!("large{number}");
                for time in 1_u32.. {
                    let uploaded = tenant.upload(program(1000, 300, time * 1000 + number)).await;
                    let Some(artifact) = uploaded.ok().filter(|digest| !digest.is_null()) else {
                        tokio::time::sleep(LARGE_PAUSE).await;
                        continue;
                    };
                    while !refuse(tenant.publish(&name, &artifact).await, &refusals).await {
                        tokio::time::sleep(LARGE_PAUSE).await;
                    }
                }
            });
        }
    }

    /// What takes the turns of the API, and passwords to be hashed.
    fn crowd(&mut self) {
        let text = json!({"body": {"text": "x".repeat(1000)}});
        let messages = json!({"messages": vec![text; 20]});
        self.again(100, Method::GET, None, |_| "/api/v1/jobs?limit=50".to_owned());
        self.again(2, Method::POST, Some(messages), |_| "/api/v1/queues/flood/messages".to_owned());
        for index in 0..4 {
            let (tenant, refusals) = (self.tenants[1].clone(), Arc::clone(&self.refusals));
            self.tasks.spawn(async move {
                for time in 0_u32.. {
                    let key = format!("array-{index}-{time}");
                    let answer = tenant.ask_once(Method::POST, ARRAYS, Some(array(10)), &key).await;
                    refuse(answer, &refusals).await;
                    tokio::time::sleep(LARGE_PAUSE).await;
                }
            });
        }
        for number in 0..40 {
            let (tenant, refusals) = (self.tenants[0].clone(), Arc::clone(&self.refusals));
            self.tasks.spawn(async move {
                for time in 0_u32.. {
                    let email = format!("nobody{number}.{time}@example.com");
                    let answer = tenant.log_in(&email, "a wrong password").await;
                    refuse(answer, &refusals).await;
                }
            });
        }
    }

    /// So many programs that ask the same again and again; each request that changes something is kept as one that may
    /// come twice.
    fn again(&mut self, count: usize, method: Method, body: Option<Value>, path: fn(u32) -> String) {
        for index in 0..count {
            let (tenant, refusals) = (self.tenants[index % 2].clone(), Arc::clone(&self.refusals));
            let (method, body) = (method.clone(), body.clone());
            self.tasks.spawn(async move {
                for time in 0_u32.. {
                    let key = format!("{}-{index}-{time}", path(time));
                    let answer = tenant.ask_once(method.clone(), &path(time), body.clone(), &key).await;
                    refuse(answer, &refusals).await;
                }
            });
        }
    }
}

fn array(jobs: usize) -> Value {
    let job = json!({"function": "probe", "path": format!("/sleep?ms={LONG_MS}")});
    json!({"job": job, "inputs": vec![json!({"text": "x"}); jobs]})
}

/// Once there is a block, whoever downloads receipts waits with the next one for `--receipts-pause`, as soon as a run has
/// ended since.
async fn pack_receipts(tenant: &Tenant) {
    loop {
        tenant.ask(Method::GET, "/f/ada/probe/", None).await.error_for_status().unwrap();
        let receipts = tenant.ask(Method::GET, RECEIPTS, None).await.error_for_status().unwrap();
        if !receipts.text().await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// More machine code than a node keeps, in memory and, with the large programs, on disk. They are called again and
/// again later.
async fn fill_caches(tenant: &Tenant) {
    let mut deploys = JoinSet::new();
    for number in 0..PROGRAMS {
        let tenant = tenant.clone();
        deploys.spawn(async move { tenant.deploy(&format!("cached{number}"), program(1000, 100, number)).await });
    }
    while let Some(deployed) = deploys.join_next().await {
        deployed.unwrap().unwrap().error_for_status().unwrap();
    }
}

/// Reads an answer; whether it is a good one. One that refuses is noted, says when to come again, and is followed by a
/// pause. In the crowd that it makes itself, some of it may be answered otherwise, or not at all.
async fn refuse(answer: reqwest::Result<Response>, refusals: &Refusals) -> bool {
    let mut good = false;
    if let Ok(response) = answer {
        let status = response.status();
        let again = response.headers().contains_key("retry-after");
        let text = response.text().await.unwrap_or_default();
        assert!(again || status != StatusCode::TOO_MANY_REQUESTS, "{text}");
        refusals.note(&text);
        good = status.is_success();
    }
    if !good {
        tokio::time::sleep(PAUSE).await;
    }
    good
}

/// A run whose request is a large body that hardly comes: its answer.
async fn trickle(to: SocketAddr, key: &str) -> String {
    let mut stream = connection(to, 6).await;
    let head = format!(
        "POST /f/ada/probe/sleep?ms={LONG_MS} HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {key}\r\n\
         connection: close\r\ncontent-length: {ANNOUNCED}\r\n\r\n"
    );
    drop(stream.write_all(head.as_bytes()).await);
    let (mut reader, mut writer) = stream.split();
    let writes = async {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(TRICKLE).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        ended = reader.read_to_end(&mut answer) => drop(ended),
        () = writes => {}
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A connection of a machine of the tenant's.
async fn connection(to: SocketAddr, machine: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, machine), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}
