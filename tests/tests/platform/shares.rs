//! One tenant takes all it can of everything that is finite, at once; another one's calls, deploys, jobs and streams go on.
//!
//! What has to wait for another tenant waits for tens of seconds here, and in each round. Two cores are shared by all, too,
//! with the programs that ask: so functions that compute are measured beside such functions alone, and all else beside all.

mod flood;
mod programs;
mod rows;
mod times;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tests::{Cli, EMBEDDED, Platform};

use flood::Flood;
use programs::computing;
use times::{Best, Compared, Times};

/// Beside the flood, all of it may take so many times as long, and so much longer: the flood's programs, their requests and
/// their refusals have the same two cores. How much of it there is, is no matter of a test.
const TIMES: u32 = 2;
const NOISE: Duration = Duration::from_secs(3);
/// Rounds of measuring at most; whatever was in time in one of them was not kept waiting by anybody.
const ROUNDS: u32 = 3;
/// What the other tenant's function counts down: a tenth of a second.
const COUNTED: u32 = 100_000_000;

/// The platform has less of some things than usual, so that one program can come to its share of them within seconds; and
/// more slots, so that not all of one account's are held for long. Who has a block of receipts waits long for the next one:
/// downloads are small here, and over at once otherwise.
const CONFIG: &str = r#"
[gateway]
replay-total-max = "6MiB"

[control-plane]
requests-waiting-max = 64
receipt-downloads-max = 4
receipts-pause = "60s"
prepares-waiting-max = 8
password-waits-max = 32
login-client-failures-max = 100000

[executor]
node-slots = 160
node-memory = "4GiB"
node-log-queue = 2048
node-code = "4MiB"
node-cache = "16MiB"
"#;

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

    fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").parse().unwrap()
    }

    fn request(&self, method: Method, path: &str, body: Option<Value>) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key);
        match body {
            Some(body) => request.json(&body),
            None => request,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        self.request(method, path, body).send().await.unwrap()
    }

    /// What has its effect once, however often it is sent.
    async fn ask_once(&self, method: Method, path: &str, body: Option<Value>, key: &str) -> reqwest::Result<Response> {
        self.request(method, path, body).header("idempotency-key", key).send().await
    }

    /// What must go well.
    async fn read(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let response = self.ask(method, path, body).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// The digest; nothing where it was refused.
    async fn upload(&self, bytes: Vec<u8>) -> reqwest::Result<Value> {
        let url = format!("{}/api/v1/artifacts", self.url);
        let response = self.http.post(url).bearer_auth(&self.key).body(bytes).send().await?;
        Ok(response.json::<Value>().await?["digest"].clone())
    }

    async fn deploy(&self, name: &str, program: Vec<u8>) -> reqwest::Result<Response> {
        let artifact = self.upload(program).await?;
        self.publish(name, &artifact).await
    }

    /// A version of a function, which is made where there is none.
    async fn publish(&self, name: &str, artifact: &Value) -> reqwest::Result<Response> {
        let version = json!({"artifact": artifact, "create": {}});
        self.request(Method::POST, &format!("/api/v1/functions/{name}/versions"), Some(version)).send().await
    }

    async fn submit(&self) -> String {
        let job = json!({"function": "probe", "path": "/status/200"});
        let job = self.read(Method::POST, "/api/v1/jobs", Some(job)).await;
        job["id"].as_str().unwrap().to_owned()
    }

    async fn log_in(&self, email: &str, password: &str) -> reqwest::Result<Response> {
        let login = json!({"email": email, "password": password});
        self.http.post(format!("{}/api/v1/sessions", self.url)).json(&login).send().await
    }
}

#[test]
fn a06_one_tenant_takes_all_it_can_and_anothers_work_goes_on() {
    let platform = Platform::start_set(CONFIG, &EMBEDDED);
    let (ada, bob) = (platform.user("ada"), platform.user("bob"));
    ada.deploy("probe", "--timeout 90s --concurrency 1000 --memory 16MiB");
    let probe = tests::guest("probe");
    ada.ok(&format!("deploy {} --name wide --timeout 90s --memory 768MiB", probe.display()));
    ada.ok(&format!("deploy {} --name chatty --timeout 20s --memory 16MiB", probe.display()));
    bob.deploy("probe", "--timeout 20s");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The flood's programs stand for other machines: what they compute themselves takes nothing from bob's program.
    let elsewhere = tokio::runtime::Builder::new_multi_thread()
        .on_thread_start(|| rustix::process::setpriority_process(None, 10).unwrap())
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(&platform, &ada, &bob, elsewhere.handle()));
    elsewhere.shutdown_timeout(Duration::from_secs(1));
    runtime.shutdown_timeout(Duration::from_secs(1));
}

async fn measure(platform: &Platform, ada: &Cli, bob: &Cli, elsewhere: &tokio::runtime::Handle) {
    let flood = Flood::new([2, 4].map(|last| Tenant::new(platform, ada.token(), last)));
    let (ada, bob) = (Tenant::new(platform, ada.token(), 2), Tenant::new(platform, bob.token(), 3));
    ada.read(Method::PUT, "/api/v1/queues/flood", Some(json!({}))).await;
    bob.read(Method::PUT, "/api/v1/queues/inbox", Some(json!({}))).await;
    bob.read(Method::POST, "/api/v1/functions", Some(json!({"name": "small"}))).await;
    bob.deploy("sums", computing(COUNTED)).await.unwrap().error_for_status().unwrap();
    let flood = elsewhere.spawn(flood.prepare()).await.unwrap();
    let (usual, usual_computing) = (times::of_all(&bob, 0).await, times::of_computing(&bob).await);

    let flood = elsewhere.spawn(flood.compute()).await.unwrap();
    let mut compared = rounds(&usual_computing, async |_| times::of_computing(&bob).await).await;
    let mut flood = elsewhere.spawn(flood.take_all()).await.unwrap();
    compared.extend(rounds(&usual, async |round| times::of_all(&bob, round).await).await);

    println!("the flood was refused more, by row: {:?}", flood.refusals());
    rows::left_out().for_each(|line| println!("{line}"));
    compared.iter().for_each(|compared| println!("{}", compared.line()));
    flood.check();
    let late: Vec<String> = compared.iter().filter(|compared| is_late(compared)).map(Compared::line).collect();
    assert!(late.is_empty(), "these took too long beside another tenant's flood, in each round: {late:#?}");
}

/// Measures until all was in time once.
async fn rounds(usual: &Times, measure: impl AsyncFn(u32) -> Times) -> Vec<Compared> {
    let mut best = Best::default();
    for round in 1..ROUNDS {
        best.add(measure(round).await);
        let compared = best.beside(usual);
        if !compared.iter().any(is_late) {
            return compared;
        }
    }
    best.add(measure(ROUNDS).await);
    best.beside(usual)
}

fn is_late(compared: &Compared) -> bool {
    !compared.in_time(TIMES, NOISE)
}
