//! One tenant takes all it can of everything that is finite, at once; another one's calls, deploys, jobs and streams go on.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tests::Platform;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

/// Beside the flood, all of it may take so many times as long, and so much longer: two cores are shared by all, and with
/// whatever else the machine does. What had to wait for a share would take the flood's tens of seconds.
const TIMES: u32 = 2;
const NOISE: Duration = Duration::from_millis(500);
const FLOODED_WITHIN: Duration = Duration::from_secs(30);
/// What the flood holds is held for longer than the test takes.
const LONG_MS: u64 = 55_000;

/// A program with a key, at an address of its own.
#[derive(Clone)]
struct Tenant {
    http: Client,
    url: String,
    key: String,
}

impl Tenant {
    fn new(platform: &Platform, key: String, last: u8) -> Self {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let http = Client::builder().no_proxy().local_address(address).pool_max_idle_per_host(64).build().unwrap();
        Self { http, url: platform.url.clone(), key }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send().await.unwrap()
    }

    /// What must go well.
    async fn read(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let response = self.ask(method, path, body).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn upload(&self, bytes: Vec<u8>) -> Value {
        let url = format!("{}/api/v1/artifacts", self.url);
        let response = self.http.post(url).bearer_auth(&self.key).body(bytes).send().await.unwrap();
        response.json::<Value>().await.unwrap()["digest"].clone()
    }

    async fn submit(&self) -> String {
        let job = json!({"function": "probe", "path": "/status/200"});
        let job = self.read(Method::POST, "/api/v1/jobs", Some(job)).await;
        job["id"].as_str().unwrap().to_owned()
    }
}

/// How long each thing takes a tenant that does them one after the other: the middle one of several.
async fn times(tenant: &Tenant, round: u32) -> BTreeMap<&'static str, Duration> {
    let mut times: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
    let mut took = |what, began: Instant| times.entry(what).or_default().push(began.elapsed());
    for _ in 0..20 {
        let began = Instant::now();
        tenant.ask(Method::GET, "/f/bob/probe/", None).await.error_for_status().unwrap();
        took("a call", began);
    }
    for number in 0..3 {
        let began = Instant::now();
        tenant.read(Method::GET, "/api/v1/me", None).await;
        took("a look", began);
        let began = Instant::now();
        let digest = tenant.upload(program(1, 1, round * 100 + number)).await;
        took("an upload", began);
        let version = json!({"artifact": digest});
        let version = tenant.read(Method::POST, "/api/v1/functions/small/versions", Some(version)).await;
        assert_eq!(version["state"], "ready", "{version}");
        took("a deploy", began);
    }
    for _ in 0..5 {
        let began = Instant::now();
        let id = tenant.submit().await;
        let job = tenant.read(Method::GET, &format!("/api/v1/jobs/{id}?wait=30s"), None).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        took("a job", began);
    }
    for number in 0..3 {
        let began = Instant::now();
        let mut events = tenant.ask(Method::GET, "/api/v1/jobs/events", None).await.error_for_status().unwrap();
        let id = tenant.submit().await;
        until(&mut events, &id).await;
        took("an event", began);

        let mark = 1000 + round * 10 + number;
        let began = Instant::now();
        let logs = "/api/v1/functions/probe/logs?follow=true&since=1s";
        let mut logs = tenant.ask(Method::GET, logs, None).await.error_for_status().unwrap();
        let call = format!("/f/bob/probe/log?lines=1&bytes={mark}");
        tenant.ask(Method::GET, &call, None).await.error_for_status().unwrap();
        until(&mut logs, &"o".repeat(mark as usize)).await;
        took("a log line", began);
    }
    let middle = |mut all: Vec<Duration>| {
        all.sort();
        all[all.len() / 2]
    };
    times.into_iter().map(|(what, all)| (what, middle(all))).collect()
}

/// Reads a stream until this comes.
async fn until(stream: &mut Response, wanted: &str) {
    let mut text = String::new();
    while !text.contains(wanted) {
        let piece = tokio::time::timeout(Duration::from_secs(30), stream.chunk()).await.expect("in time");
        text.push_str(&String::from_utf8_lossy(&piece.unwrap().expect("the stream goes on")));
    }
}

/// What the flood has got, and what it was refused, by what it asked for.
type Got = Arc<Mutex<BTreeMap<&'static str, (u32, u32)>>>;

/// Asks for something that is held long; notes what comes.
async fn hold(tenant: Tenant, what: &'static str, path: String, got: Got) {
    got.lock().unwrap().entry(what).or_default().0 += 1;
    let response = tenant.ask(Method::GET, &path, None).await;
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        assert!(response.headers().contains_key("retry-after"), "{what}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "share_exceeded", "{what}: {problem}");
        let mut got = got.lock().unwrap();
        let (held, refused) = got.entry(what).or_default();
        (*held, *refused) = (*held - 1, *refused + 1);
        return;
    }
    // In the crowd that it makes itself, some of it may find no node in time.
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        return;
    }
    let response = response.error_for_status().unwrap();
    response.bytes_stream().count().await;
}

/// Asks something and holds the connection, from an address of its own; notes whether it is refused.
async fn connect(to: SocketAddr, got: Got) {
    const WHAT: &str = "connections";
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, 5), 0).into()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    got.lock().unwrap().entry(WHAT).or_default().0 += 1;
    drop(stream.write_all(format!("GET /healthz HTTP/1.1\r\nhost: {to}\r\n\r\n").as_bytes()).await);
    let mut answer = [0; 12];
    drop(stream.read_exact(&mut answer).await);
    if answer.ends_with(b" 429") {
        let mut got = got.lock().unwrap();
        let (held, refused) = got.entry(WHAT).or_default();
        (*held, *refused) = (*held - 1, *refused + 1);
        return;
    }
    drop(stream.read_to_end(&mut Vec::new()).await);
}

/// A tenant that takes all it can get of everything, from two addresses: no client may have so many connections.
async fn flood(tenants: &[Tenant; 2], tasks: &mut JoinSet<()>) -> Got {
    let [tenant, _] = tenants;
    let got = Got::default();
    let long = format!("/sleep?ms={LONG_MS}");
    let array = json!({"job": {"function": "probe", "path": long}, "inputs": vec![json!({"text": "x"}); 300]});
    let array = tenant.read(Method::POST, "/api/v1/jobs/arrays", Some(array)).await;
    let last = array["jobs"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
    for number in 0..4 {
        let (tenant, name) = (tenant.clone(), format!("bomb{number}"));
        tasks.spawn(async move {
            let digest = tenant.upload(program(1500, 400, number)).await;
            // It crowds itself out, too: what it is refused is no fault.
            drop(tenant.ask(Method::POST, "/api/v1/functions", Some(json!({"name": name}))).await);
            let path = format!("/api/v1/functions/{name}/versions");
            drop(tenant.ask(Method::POST, &path, Some(json!({"artifact": digest}))).await);
        });
    }
    let asked = [
        ("calls", 160, format!("/f/ada/probe{long}")),
        ("streams of logs", 230, "/api/v1/functions/probe/logs?follow=true".to_owned()),
        ("streams of events", 420, "/api/v1/jobs/events".to_owned()),
        ("requests that wait", 420, format!("/api/v1/jobs/{last}?wait=60s")),
    ];
    for (index, (what, count, path)) in asked.iter().enumerate() {
        for _ in 0..*count {
            tasks.spawn(hold(tenants[index % 2].clone(), what, path.clone(), Arc::clone(&got)));
        }
    }
    let to = tenant.url.trim_start_matches("http://").parse().unwrap();
    for _ in 0..1100 {
        tasks.spawn(connect(to, Arc::clone(&got)));
    }
    for _ in 0..4 {
        let tenant = tenant.clone();
        tasks.spawn(async move {
            loop {
                drop(tenant.ask(Method::GET, "/api/v1/jobs?limit=200", None).await.bytes().await);
            }
        });
    }
    let deadline = Instant::now() + FLOODED_WITHIN;
    while got.lock().unwrap().values().filter(|(_, refused)| *refused > 0).count() <= asked.len() {
        assert!(Instant::now() < deadline, "the flood does not come to its shares: {:?}", got.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    got
}

#[test]
fn a06_one_tenant_takes_all_it_can_and_anothers_work_goes_on() {
    let platform = Platform::start();
    let (ada, bob) = (platform.user("ada"), platform.user("bob"));
    ada.deploy("probe", "--timeout 60s --concurrency 1000");
    bob.deploy("probe", "--timeout 20s");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The flood's programs stand for other machines: what they compute themselves takes nothing from bob's program.
    let elsewhere = tokio::runtime::Builder::new_multi_thread()
        .on_thread_start(|| rustix::process::setpriority_process(None, 10).unwrap())
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (here, there) = (Tenant::new(&platform, ada.token(), 2), Tenant::new(&platform, ada.token(), 4));
        let bob = Tenant::new(&platform, bob.token(), 3);
        bob.read(Method::POST, "/api/v1/functions", Some(json!({"name": "small"}))).await;
        let usual = times(&bob, 0).await;
        let tenants = [here, there];
        let flooded = elsewhere.spawn(async move {
            let mut tasks = JoinSet::new();
            let got = flood(&tenants, &mut tasks).await;
            (got, tasks)
        });
        let (got, mut tasks) = flooded.await.unwrap();
        let beside = times(&bob, 1).await;
        eprintln!("the flood got {:?}", got.lock().unwrap());
        let mut late = Vec::new();
        for (what, usual) in usual {
            let beside = beside[what];
            eprintln!("{what}: {usual:?}, beside the flood {beside:?}");
            if beside > usual * TIMES + NOISE {
                late.push(what);
            }
        }
        while let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
        assert!(late.is_empty(), "these took too long beside another tenant's flood: {late:?}");
        tasks.abort_all();
    });
    elsewhere.shutdown_timeout(Duration::from_secs(1));
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// A WASI command of so many functions of so many steps each: the more, the longer it compiles. `mark` makes it another.
fn program(functions: u32, steps: u32, mark: u32) -> Vec<u8> {
    fn number(mut value: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let low = u8::try_from(value & 0x7f).unwrap();
            value >>= 7;
            if value == 0 {
                bytes.push(low);
                return bytes;
            }
            bytes.push(low | 0x80);
        }
    }
    fn sized(bytes: &[u8]) -> Vec<u8> {
        [number(u32::try_from(bytes.len()).unwrap()), bytes.to_vec()].concat()
    }
    fn section(id: u8, bytes: &[u8]) -> Vec<u8> {
        [vec![id], sized(bytes)].concat()
    }
    let step = |at: u32| [&[0x20, 0x00, 0x41][..], &number(at & 0x3f), &[0x6c, 0x20, 0x00, 0x73, 0x21, 0x00]].concat();
    let body: Vec<u8> = (0..steps).flat_map(step).collect();
    let work = sized(&[&[0x00][..], &body, &[0x20, 0x00, 0x0b]].concat());
    let start = sized(&[0x00, 0x0b]);
    let mut code = [number(functions + 1), start].concat();
    (0..functions).for_each(|_| code.extend_from_slice(&work));
    let types = [0x02, 0x60, 0x00, 0x00, 0x60, 0x01, 0x7f, 0x01, 0x7f];
    let mut kinds = number(functions + 1);
    kinds.push(0x00);
    kinds.extend(std::iter::repeat_n(0x01, functions as usize));
    let exports = [&[0x02, 0x06][..], b"_start", &[0x00, 0x00, 0x06], b"memory", &[0x02, 0x00]].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(0, &[sized(b"mark"), mark.to_be_bytes().to_vec()].concat()),
        section(1, &types),
        section(3, &kinds),
        section(5, &[0x01, 0x00, 0x01]),
        section(7, &exports),
        section(10, &code),
    ]
    .concat()
}
