//! The proxy alone, spoken to as a guest would; and from inside a real guest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use microvm::{Egress, Workload};
use protocol::{ByteSize, Code, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use wasm_host::Meter;

use super::{converse, open};
use crate::egress::EgressRules;
use crate::run::{Record, RunLogBook};

#[cfg(target_os = "linux")]
#[path = "../../../../microvm/tests/support/mod.rs"]
mod support;

/// For tests, whose servers are on this machine.
fn rules(hosts: &[&str], private_addresses: bool) -> Arc<EgressRules> {
    let mut rules = EgressRules::parse(&hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>());
    rules.private_addresses = private_addresses;
    Arc::new(rules)
}

/// A run that has a minute.
fn run() -> Arc<Record> {
    run_of(Limits::default().egress_bytes)
}

/// The same, whose connections may carry so much.
fn run_of(egress_bytes: ByteSize) -> Arc<Record> {
    let limits = Limits { egress_bytes, ..Limits::default() };
    let (log, deadline) = (RunLogBook::new(1000, |_| {}), Instant::now() + Duration::from_secs(60));
    Arc::new(Record::new(limits, deadline, CancellationToken::new(), log, Box::new(|_, _| {})))
}

/// A server that answers a request's head with what it was and closes; anything else it sends back.
struct Upstream {
    authority: String,
    open: Arc<AtomicUsize>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = format!("localhost:{}", listener.local_addr().unwrap().port());
        let open = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    // However it ends.
                    let _ = reply(stream).await;
                    counter.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { authority, open }
    }

    async fn until_nothing_is_open(&self) {
        for _ in 0..500 {
            if self.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} connections are left", self.open.load(Ordering::SeqCst));
    }
}

async fn reply(mut stream: TcpStream) -> std::io::Result<()> {
    let mut said = vec![0; 4096];
    loop {
        let count = stream.read(&mut said).await?;
        if count == 0 {
            return Ok(());
        }
        if said[..count].ends_with(b"\r\n\r\n") {
            let head = format!("HTTP/1.1 200 OK\r\nkeep-alive: 1\r\ncontent-length: {count}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
        stream.write_all(&said[..count]).await?;
    }
}

/// Says something to the proxy and takes down all that it answers.
async fn ask(rules: &Arc<EgressRules>, text: &str) -> String {
    ask_in(&run(), rules, text).await
}

/// The same in this run.
async fn ask_in(run: &Arc<Record>, rules: &Arc<EgressRules>, text: &str) -> String {
    let (ours, theirs) = tokio::io::duplex(4096);
    let serving = tokio::spawn(converse(theirs, Arc::clone(rules), Meter::of(run)));
    let (mut reader, mut writer) = tokio::io::split(ours);
    writer.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let mut length = reader.read(&mut answer).await.unwrap();
    // Until it says no more for a while: tunnels stay open.
    let soon = Duration::from_millis(700);
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(soon, reader.read(&mut answer[length..])).await {
        length += count;
    }
    drop((reader, writer));
    tokio::time::timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn a_request_goes_on_as_the_host_is_to_see_it() {
    let upstream = Upstream::start().await;
    let rules = rules(&[upstream.authority.as_str()], true);
    let authority = upstream.authority.as_str();
    let request = format!(
        "GET http://{authority}/a?b=c HTTP/1.1\r\nhost: evil.example\r\nproxy-authorization: x\r\n\
         connection: x-mine\r\nx-mine: 1\r\nx-kept: 2\r\n\r\n"
    );
    let answer = ask(&rules, &request).await;
    let (head, seen) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("keep-alive"), "{answer}");
    assert!(seen.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(&format!("host: {authority}\r\n")) && seen.contains("x-kept: 2"), "{seen}");
    assert!(!seen.contains("evil") && !seen.contains("x-mine") && !seen.contains("proxy-"), "{seen}");
    upstream.until_nothing_is_open().await;
}

#[tokio::test]
async fn a_tunnel_carries_anything_and_ends_with_the_guests_connection() {
    let upstream = Upstream::start().await;
    let (rules, run) = (rules(&[upstream.authority.as_str()], true), run());
    let text = format!("CONNECT {0} HTTP/1.1\r\nhost: {0}\r\n\r\nping", upstream.authority);
    let answer = ask_in(&run, &rules, &text).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nping"), "{answer}");
    assert_eq!(run.add_egress(0), 8, "there and back");
    upstream.until_nothing_is_open().await;
}

#[tokio::test]
async fn what_carries_more_than_its_run_may_is_cut_and_the_run_is_over() {
    let upstream = Upstream::start().await;
    let rules = rules(&[upstream.authority.as_str()], true);
    let (authority, long) = (&upstream.authority, "y".repeat(900));
    let connect = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\nping");
    let get = format!("GET http://{authority}/ HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n");
    for (text, most) in [(&connect, 7), (&get, 600), (&get, 1500)] {
        let run = run_of(ByteSize(most));
        let answer = ask_in(&run, &rules, text).await;
        assert!(!answer.ends_with("ping") && !answer.contains("yyy"), "{most}: {answer}");
        let verdict = run.verdict().unwrap();
        assert_eq!(verdict.code, Some(Code::EgressLimit), "{most}: {verdict:?}");
        assert!(run.stop.is_cancelled());
    }
    let run = run_of(ByteSize(8));
    assert!(ask_in(&run, &rules, &connect).await.ends_with("ping"));
    assert_eq!(run.verdict(), None, "as much as it may");
    upstream.until_nothing_is_open().await;
}

#[tokio::test]
async fn refusals_say_why() {
    let upstream = Upstream::start().await;
    let authority = upstream.authority.as_str();
    let named = rules(&[authority, "unknown.invalid", "10.0.0.1"], false);
    let connect = |target: &str| format!("CONNECT {target} HTTP/1.1\r\nhost: x\r\n\r\n");
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
    let cases = [
        (connect("example.com:443"), 403, "http_request_denied", "does not name it"),
        (get("http://example.com/"), 403, "http_request_denied", "does not name it"),
        (connect(authority), 403, "destination_ip_prohibited", "no public address"),
        (get(&format!("http://{authority}/")), 403, "destination_ip_prohibited", "no public address"),
        (connect("10.0.0.1:80"), 403, "destination_ip_prohibited", "no public address"),
        (connect("unknown.invalid:443"), 502, "dns_error", "not known"),
        (get("/"), 400, "http_request_error", "this is a proxy"),
        (get(&format!("https://{authority}/")), 400, "http_request_error", "CONNECT"),
    ];
    for (request, status, kind, why) in cases {
        let answer = ask(&named, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
        assert!(answer.contains(&format!("proxy-status: crowdcloud; error={kind}\r\n")), "{request}{answer}");
        assert!(answer.contains(why), "{request}{answer}");
    }
    assert_eq!(upstream.open.load(Ordering::SeqCst), 0);

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let answer = ask(&rules(&["127.0.0.1"], true), &connect(&closed)).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("takes no connection"), "{answer}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reaches_what_it_may_and_nothing_else_and_leaves_nothing() {
    use support::{LONG, SHAPE, bench, command, finish};
    let bench = bench().await;
    let template = bench.host.template(SHAPE).await.unwrap();
    let upstream = Upstream::start().await;
    let authority = upstream.authority.as_str();
    let record = run();
    let run = async |rules: &Arc<EgressRules>, arguments: &[&str]| {
        let workload = Workload { egress: Egress::Proxy, ..command(arguments) };
        let mut run = template.restore(Some(&bench.disk)).await.unwrap().start(workload, LONG).await.unwrap();
        open(&mut run, rules, &Meter::of(&record));
        String::from_utf8(finish(run, b"").await.0).unwrap()
    };
    let get = format!("GET http://{authority}/hello HTTP/1.1^host: x^connection: close^^");
    let connect = format!("CONNECT {authority} HTTP/1.1^host: x^connection: close^^");

    let answer = run(&rules(&[authority], true), &["ask", get.as_str()]).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("GET /hello HTTP/1.1\r\n"), "{answer}");
    assert!(record.add_egress(0) > 100, "what the guest sent and got is counted");
    let answer = run(&rules(&[authority], false), &["ask", get.as_str()]).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("no public address"), "{answer}");
    let answer = run(&rules(&["example.com"], true), &["ask", connect.as_str()]).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("does not name it"), "{answer}");

    let answer = run(&rules(&[authority], true), &["cut", "100", authority]).await;
    assert_eq!(answer, "64 of 64 work\n");
    upstream.until_nothing_is_open().await;
}
