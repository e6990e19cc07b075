//! What was deployed by one gateway is what the other one runs, at once, also after NATS has been killed.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Platform, guest, signal, wait_until};

use crate::run_path::{get, plain, send};

/// Deploys, each followed by an invocation; `CROWDCLOUD_DEPLOYS` says more.
const DEPLOYS: u32 = 60;
/// NATS is killed each time after so many.
const NATS_KILLED_EVERY: u32 = 25;
/// A new function each time after so many: nobody has heard of it.
const FUNCTION_NEW_EVERY: u32 = 10;

/// A second gateway, with a port of its own.
struct Gateway {
    process: Child,
    url: String,
}

impl Gateway {
    fn start(platform: &Platform, nats: &str) -> Self {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let data = platform.data();
        let process = Command::new(tests::program())
            .args(["gateway", "--connect", &format!("nats://{nats}"), "--listen", &address])
            .arg("--credentials")
            .arg(data.join("run/gateway-1.creds"))
            .arg("--lenders-credentials")
            .arg(data.join("run/gateway-1-lenders.creds"))
            .arg("--store-dir")
            .arg(data.join("store"))
            .arg("--spool")
            .arg(data.join("gateway/second"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let gateway = Self { process, url: format!("http://{address}") };
        wait_until("the second gateway is ready", Duration::from_secs(20), || {
            std::net::TcpStream::connect(&address).is_ok()
                && get(&format!("{}/readyz", gateway.url), None).status == 200
        });
        gateway
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn what_one_gateway_deploys_the_other_runs_at_once() {
    let nats = format!("127.0.0.1:{}", free_port());
    let platform = Platform::start_with(&["--separate", "--executors", "1", "--nats-listen", &nats]);
    let second = Gateway::start(&platform, &nats);
    let ada = platform.user("ada");
    let key = ada.token();
    let artifact = send(
        "POST",
        &format!("{}/api/v1/artifacts", platform.url),
        Some(&key),
        "",
        &std::fs::read(guest("probe")).unwrap(),
    );
    let artifact: Value = serde_json::from_slice(&plain(&artifact)).unwrap();

    let began = Instant::now();
    let deploys = std::env::var("CROWDCLOUD_DEPLOYS").ok().and_then(|text| text.parse().ok()).unwrap_or(DEPLOYS);
    let (mut refused, mut kills) = (0, 0);
    for done in 0..deploys {
        let function = format!("f{}", done / FUNCTION_NEW_EVERY);
        let urls = [platform.url.as_str(), second.url.as_str()];
        let (here, there) = if done % 2 == 0 { (urls[0], urls[1]) } else { (urls[1], urls[0]) };
        if done % FUNCTION_NEW_EVERY == 0 {
            post(here, &key, "/functions", &json!({ "name": function }), &mut refused);
        }
        let body = json!({ "artifact": artifact["digest"], "env": { "ROUND": done.to_string() } });
        let deployed = post(here, &key, &format!("/functions/{function}/versions"), &body, &mut refused);
        let wanted = format!("ROUND={done}");
        match deployed {
            Posted::Done => {
                let shown = invoke(there, &key, &function, &mut refused);
                assert_eq!(shown.trim(), wanted, "an old version ran after {done} deploys");
            }
            Posted::Later => wait_until("the version runs", Duration::from_secs(20), || {
                let answer = get(&format!("{there}/f/ada/{function}/env"), Some(&key));
                answer.status == 200 && String::from_utf8_lossy(&plain(&answer)).trim() == wanted
            }),
        }
        if done % NATS_KILLED_EVERY == NATS_KILLED_EVERY - 1 {
            signal(platform.pid_of("nats-server"), Signal::KILL);
            kills += 1;
        }
    }
    eprintln!(
        "{deploys} deploys in {:?}, {kills} kills of NATS, {refused} refusals that were tried again",
        began.elapsed()
    );
}

/// What was said to a request that was taken.
enum Posted {
    Done,
    /// It is kept: while NATS starts again, no node could be reached.
    Later,
}

/// Until it is taken; while NATS starts again it may be refused with a catalogued error.
fn post(url: &str, key: &str, path: &str, body: &Value, refused: &mut u32) -> Posted {
    let deadline = Instant::now() + Duration::from_secs(20);
    let idempotency = format!("content-type: application/json\r\nidempotency-key: {:016x}\r\n", rand::random::<u64>());
    loop {
        let answer = send("POST", &format!("{url}/api/v1{path}"), Some(key), &idempotency, body.to_string().as_bytes());
        match answer.status {
            201 => return Posted::Done,
            202 => return Posted::Later,
            _ => {}
        }
        let problem: Value = serde_json::from_slice(&plain(&answer)).unwrap_or_default();
        assert!(answer.status >= 429 && problem["code"].is_string(), "{path}: {answer:?}");
        assert!(Instant::now() < deadline, "{path}: still refused: {problem}");
        *refused += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Never 404. While NATS starts again it may be refused with a catalogued error.
fn invoke(url: &str, key: &str, function: &str, refused: &mut u32) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = get(&format!("{url}/f/ada/{function}/env"), Some(key));
        if answer.status == 200 {
            return String::from_utf8_lossy(&plain(&answer)).into_owned();
        }
        let problem: Value = serde_json::from_slice(&plain(&answer)).unwrap_or_default();
        assert!(answer.status >= 429 && problem["code"].is_string(), "{function}: {answer:?}");
        assert!(Instant::now() < deadline, "{function}: still refused: {problem}");
        *refused += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
}
