//! Runs of real guests, good and bad, from the request to the settled record.

mod commands;
mod company;
mod failures;
mod foreign;
mod framing;
mod metering;
mod streaming;

use protocol::receipt::Outcome;
use protocol::{ByteSize, Code, Problem};

use crate::egress::EgressRules;
use crate::testing::{Bench, http_guest};

fn guest() -> Bench {
    Bench::new(&http_guest())
}

/// The problem that a node answered with.
async fn problem(answered: crate::testing::Answered) -> (Problem, crate::testing::Ended) {
    assert_eq!(answered.header("content-type"), Problem::MEDIA_TYPE);
    let header = answered.header(protocol::headers::NODE_PROBLEM).to_owned();
    let (body, ended) = answered.read().await;
    let problem: Problem = serde_json::from_slice(&body.unwrap()).unwrap();
    assert_eq!(problem.code.as_str(), header);
    (problem, ended)
}

#[tokio::test]
async fn each_request_has_a_fresh_instance() {
    let bench = guest();
    for _ in 0..3 {
        assert_eq!(bench.get("/count").await.text().await, "1");
    }
}

#[tokio::test]
async fn the_guest_sees_the_request_without_our_headers() {
    let request = http::Request::patch("/headers?a=b%20c")
        .header("x-crowdcloud-ticket", "secret")
        .header("x-forwarded-host", "thumbs--me.example")
        .body(fabric::empty())
        .unwrap();
    let text = guest().send(request).await.text().await;
    assert!(text.contains("Method::Patch") && text.contains("/headers?a=b%20c"), "{text}");
    assert!(text.contains("x-forwarded-host: thumbs--me.example") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn the_guest_cannot_set_our_headers() {
    let answered = guest().get("/ours").await;
    assert_eq!((answered.header("x-own"), answered.header("x-crowdcloud-run")), ("kept", ""));
}

#[tokio::test]
async fn the_versions_environment_reaches_the_guest() {
    let bench = guest().with_surroundings(&[("COLOUR", "green")], EgressRules::default());
    assert_eq!(bench.get("/env?COLOUR").await.text().await, "green");
    assert_eq!(bench.get("/env?PATH").await.text().await, "");
}

#[tokio::test]
async fn output_is_logged_by_line() {
    let (body, ended) = guest().get("/print?lines=2").await.read().await;
    assert_eq!(body.unwrap(), "printed");
    assert_eq!(ended.log, ["line 0", "line 1", "an error without an end"]);
}

#[tokio::test]
async fn the_way_out_is_closed_but_for_named_public_hosts() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("localhost:{}", server.local_addr().unwrap().port());
    let target = format!("/fetch?{authority}");

    let (denied, ended) = guest().get(&target).await.read().await;
    assert!(String::from_utf8_lossy(&denied.unwrap()).contains("HttpRequestDenied"));
    let why = format!("no connection to {authority}: this version may not call that host");
    assert!(ended.log.len() == 1 && ended.log[0].starts_with(&why), "{:?}", ended.log);

    let named = guest().with_surroundings(&[], EgressRules::parse(std::slice::from_ref(&authority)));
    assert!(named.get(&target).await.text().await.contains("DestinationIpProhibited"));

    let mut rules = EgressRules::parse(&[authority]);
    rules.private_addresses = true;
    let open = guest().with_surroundings(&[], rules);
    let serve = async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = server.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let count = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
        String::from_utf8(request[..count].to_vec()).unwrap()
    };
    let (text, request) = tokio::join!(async { open.get(&target).await.text().await }, serve);
    assert_eq!(text, "200 hello");
    assert!(request.starts_with("GET / HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn a_run_whose_connections_carry_more_than_they_may_has_failed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("localhost:{}", server.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            // However much of it is taken.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await;
            let _ = stream.write_all(&[b'x'; 1_000_000]).await;
        }
    });
    let mut rules = EgressRules::parse(std::slice::from_ref(&authority));
    rules.private_addresses = true;
    let mut bench = guest().with_surroundings(&[], rules);
    let target = format!("/fetch?{authority}");
    bench.limits.egress_bytes = ByteSize::kib(500);
    let (problem, ended) = problem(bench.get(&target).await).await;
    assert_eq!((problem.code, problem.status), (Code::EgressLimit, 502));
    assert!(problem.detail.contains("more than 500KiB"), "{problem}");
    assert_eq!(ended.verdict.outcome, Outcome::Failed);
    let carried = ended.usage.egress_bytes;
    assert!(carried > ByteSize::kib(500) && carried < ByteSize(1_000_000), "{carried}");
    bench.limits.egress_bytes = ByteSize(2_000_000);
    let (body, ended) = bench.get(&target).await.read().await;
    assert_eq!(body.unwrap().len(), 1_000_004, "the next run is a run of its own");
    assert!((1_000_000..1_001_000).contains(&ended.usage.egress_bytes.0), "{:?}", ended.usage);
}
