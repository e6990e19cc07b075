//! Runs that go well, and what the caller and the function see of each other.

use std::time::Duration;

use fabric::BodyError;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use protocol::ByteSize;
use protocol::receipt::{Outcome, Usage};

use crate::client::{Client, request};
use crate::node::{claim, claim_usage, echo, text};
use crate::platform::Platform;

#[tokio::test]
async fn a_function_answers_at_both_its_addresses() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let node = platform.node(echo).await;

    let answer = platform.fetch("POST", "/f/ada/echo/a%20b/c?x=1&y", &[("x-own", "1")], b"hello").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{answer:?}");
    assert_eq!(answer.header("seen-line"), "POST /a%20b/c?x=1&y");
    assert_eq!(answer.header("x-crowdcloud-node"), node.id.to_string());
    assert_eq!(answer.header("content-length"), "5", "a short answer is not chunked");
    assert!(answer.header("server-timing").contains("node;dur="));
    let seen = answer.header("seen-headers");
    for wanted in [
        "x-own: 1",
        "host: localhost:8080",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: localhost:8080",
        "x-forwarded-proto: http",
        "x-forwarded-prefix: /f/ada/echo",
        "content-length: 5",
        "x-crowdcloud-ticket: ",
    ] {
        assert!(seen.contains(wanted), "{wanted} is not in {seen}");
    }

    let observation = platform.observation(&answer).await;
    assert_eq!(observation.outcome, Outcome::Succeeded);
    assert_eq!((observation.status, observation.node), (200, Some(node.id)));
    assert_eq!((observation.bytes_in, observation.bytes_out), (ByteSize(5), ByteSize(5)));
    assert_eq!((observation.method.as_str(), observation.path.as_str()), ("POST", "/a%20b/c"));
    assert_eq!(observation.end.unwrap().usage.cpu_us, 42);

    let host = [("host", "echo--ada.localhost:8080")];
    let answer = platform.fetch("GET", "/api/v1/me", &host, b"").await;
    assert_eq!((answer.status, answer.header("seen-line")), (200, "GET /api/v1/me"));
    assert!(!answer.header("seen-headers").contains("x-forwarded-prefix"));
    assert!(answer.header("content-security-policy").is_empty());

    let answer = platform.get("/f/ada/echo").await;
    assert_eq!(answer.header("seen-line"), "GET /");
    let answer = platform.fetch("GET", "/f/ada/echo?x=1", &[("x-forwarded-uri", "/lie")], b"").await;
    assert_eq!(answer.header("seen-line"), "GET /?x=1");
    assert!(answer.header("seen-headers").contains("x-forwarded-uri: /f/ada/echo?x=1"), "{answer:?}");
    let answer = platform.fetch("GET", "/f/ada/echo/?x=1", &[("x-forwarded-uri", "/lie")], b"").await;
    assert!(!answer.header("seen-headers").contains("x-forwarded-uri"), "it follows from prefix and path");
    assert_eq!(platform.get("/f/ada/echo@v1/x").await.header("seen-line"), "GET /x");
    let missing = platform.get("/f/ada/echo@v9/x").await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "version_not_found"));
}

/// What a node says of itself goes no further than what its ticket permits and the gateway has seen.
#[tokio::test]
async fn a01_a_node_claims_all_that_can_be_written() {
    let platform = Platform::start().await;
    platform.deploy("greedy", |_| {}).await;
    let most = Usage {
        wall_us: u64::MAX,
        cpu_us: u64::MAX,
        fuel: Some(u64::MAX),
        memory_peak: ByteSize(u64::MAX),
        bytes_in: ByteSize(u64::MAX),
        bytes_out: ByteSize(u64::MAX),
        egress_bytes: ByteSize(u64::MAX),
    };
    let _node = platform
        .node(move |request| {
            claim_usage(&request, Outcome::Succeeded, most);
            Box::pin(async { text("hello") })
        })
        .await;
    let answer = platform.fetch("POST", "/f/ada/greedy/", &[], b"abc").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = platform.observation(&answer).await;
    let (limits, kept) = (seen.limits.unwrap(), seen.end.unwrap().usage);
    assert!(kept.wall_us <= seen.wall_us && kept.cpu_us <= seen.wall_us * u64::from(limits.cpus), "{kept:?}");
    assert_eq!((kept.memory_peak, kept.bytes_in, kept.bytes_out), (limits.memory, ByteSize(3), ByteSize(5)));
    assert_eq!(kept.egress_bytes, limits.egress_bytes);
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let _node = platform.node(echo).await;
    let mut client = Client::connect(platform.port).await;
    client.send(request("POST", "/f/ada/echo/", &[("transfer-encoding", "chunked")], b"")).await;
    let head = client.head().await;
    assert_eq!(head.status, 200, "the answer begins before the request has ended");
    for number in 0..5 {
        let piece = format!("piece {number}");
        client.send(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
        assert_eq!(client.chunk().await.unwrap(), piece.as_bytes());
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await.unwrap(), b"");

    // On the same connection: 8 MiB there and back.
    let large = vec![b'x'; 8 << 20];
    client.send(request("POST", "/f/ada/echo/", &[], &large)).await;
    let answer = client.answer(false).await;
    assert_eq!((answer.status, answer.body.len(), answer.broken), (200, large.len(), false));
    let observation = platform.observation(&answer).await;
    assert_eq!(observation.bytes_out, ByteSize(8 << 20));
    assert_eq!(observation.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let platform = Platform::start().await;
    platform.deploy("quiet", |_| {}).await;
    let _node = platform
        .node(|request| {
            Box::pin(async move {
                claim(&request, Outcome::Succeeded);
                let status: u16 = request.uri().path()[1..].parse().unwrap();
                http::Response::builder()
                    .status(status)
                    .header("content-length", "7")
                    .body(fabric::full("seventy"))
                    .unwrap()
            })
        })
        .await;
    let mut client = Client::connect(platform.port).await;
    for (method, path, length) in [("HEAD", "200", "7"), ("GET", "204", ""), ("GET", "304", ""), ("GET", "200", "7")] {
        client.send(request(method, &format!("/f/ada/quiet/{path}"), &[], b"")).await;
        let answer = client.answer(method == "HEAD").await;
        assert_eq!(answer.status.to_string(), path);
        assert_eq!(answer.header("content-length"), length, "{method} {path}");
        let observation = platform.observation(&answer).await;
        assert_eq!(observation.outcome, Outcome::Succeeded, "{method} {path}");
    }
    let answer = platform.get("/f/ada/quiet/101").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "invalid_response"));
}

#[tokio::test]
async fn limits_on_bodies_hold_both_ways() {
    let platform = Platform::start().await;
    platform.deploy("small", |route| route.versions.get_mut(&1).unwrap().limits.body = ByteSize(1000)).await;
    let node = platform
        .node(|request| {
            Box::pin(async move {
                let wanted: usize = request.uri().path()[1..].parse().unwrap_or(0);
                if let Ok(body) = request.into_body().collect().await
                    && wanted == 0
                {
                    return text(body.to_bytes());
                }
                let pieces = (0..wanted / 500).map(|_| Ok::<_, BodyError>(Frame::data(vec![b'x'; 500].into())));
                http::Response::new(fabric::Body::new(StreamBody::new(futures::stream::iter(
                    pieces.collect::<Vec<_>>(),
                ))))
            })
        })
        .await;
    assert_eq!(platform.fetch("POST", "/f/ada/small/", &[], &[1; 1000]).await.body.len(), 1000);

    // Said before: nothing reaches a node, and the answer is readable though the body is still on its way.
    let called = node.called();
    let answer = platform.fetch("POST", "/f/ada/small/", &[], &vec![1; 3 << 20]).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert_eq!(node.called(), called);

    // Found out by counting.
    let mut client = Client::connect(platform.port).await;
    client.send(request("POST", "/f/ada/small/", &[("transfer-encoding", "chunked")], b"")).await;
    for _ in 0..3 {
        client.send([&b"190\r\n"[..], &[1; 400], b"\r\n"].concat()).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = client.answer(false).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert_eq!(platform.observation(&answer).await.outcome, Outcome::Cancelled);

    // Whoever asks first is told before sending.
    let mut client = Client::connect(platform.port).await;
    client.send(request("POST", "/f/ada/small/", &[("expect", "100-continue"), ("content-length", "5000")], b"")).await;
    let answer = client.answer(false).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));

    assert_eq!(platform.get("/f/ada/small/1000").await.body.len(), 1000);
    let answer = platform.get("/f/ada/small/5000").await;
    assert!(answer.broken || answer.status == 502, "{answer:?}");
    let seen = platform.observed(|seen| seen.path == "/5000").await;
    assert_eq!(seen.code, Some(protocol::Code::ResponseTooLarge));
}

#[tokio::test]
async fn a_pause_in_a_body_ends_it() {
    let platform = Platform::start_with(|config| config.body_idle = protocol::Millis(300)).await;
    platform.deploy("echo", |_| {}).await;
    let _node = platform
        .node(|request| {
            Box::pin(async move { text(request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default()) })
        })
        .await;
    let mut client = Client::connect(platform.port).await;
    client.send(request("POST", "/f/ada/echo/", &[("content-length", "10")], b"")).await;
    client.send("abc").await;
    let answer = client.answer(false).await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
}

#[tokio::test]
async fn a_page_at_the_portals_origin_is_caged() {
    let platform = Platform::start().await;
    platform.deploy("page", |_| {}).await;
    let _node = platform
        .node(|_| {
            Box::pin(async {
                http::Response::builder()
                    .header("content-security-policy", "default-src 'self'")
                    .header("set-cookie", "cc_session=stolen")
                    .header("set-cookie", "own=1")
                    .header("clear-site-data", "\"*\"")
                    .header("service-worker-allowed", "/")
                    .header("strict-transport-security", "max-age=9")
                    .header("x-crowdcloud-run", "run_forged")
                    .header("connection", "x-hop")
                    .header("x-hop", "1")
                    .body(fabric::full("<script>"))
                    .unwrap()
            })
        })
        .await;
    let answer = platform.get("/f/ada/page/").await;
    assert_eq!(answer.all("content-security-policy"), ["default-src 'self'", "sandbox"]);
    assert_eq!(answer.all("set-cookie"), ["own=1; Path=/f/ada/page/"]);
    for gone in ["clear-site-data", "service-worker-allowed", "strict-transport-security", "x-hop"] {
        assert!(answer.header(gone).is_empty(), "{gone}");
    }
    assert!(answer.header("x-crowdcloud-run").starts_with("run_0"));
    let own = platform.fetch("GET", "/", &[("host", "page--ada.localhost")], b"").await;
    assert_eq!(own.all("content-security-policy"), ["default-src 'self'"]);
    assert!(!own.header("clear-site-data").is_empty());
    assert_eq!(own.all("set-cookie"), ["own=1"]);
}
