//! Requests that are malformed, too large, or want something else than HTTP.

use protocol::Millis;
use protocol::route::Scope;

use crate::client::{Client, request};
use crate::node::echo;
use crate::platform::{Platform, bearer};

#[tokio::test]
async fn what_is_no_plain_request_is_refused() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let node = platform.node(echo).await;
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, &str, Headers<'_>, u16, &str); 8] = [
        ("GET", "/f/ada/echo/", &upgrade, 501, "upgrade_not_supported"),
        ("CONNECT", "example.com:443", &[], 405, "method_not_allowed"),
        ("TRACE", "/f/ada/echo/", &[], 405, "method_not_allowed"),
        ("OPTIONS", "*", &[], 400, "invalid_request"),
        ("GET", "/f/ada/echo/", &[("host", "a"), ("host", "b")], 400, "invalid_request"),
        ("GET", "/internal/routes/ada/echo", &[], 404, "not_found"),
        ("GET", "/api/v1/../../internal/routes/ada/echo", &[], 400, "invalid_request"),
        ("GET", "/f/../internal", &[], 404, "function_not_found"),
    ];
    for (method, target, headers, status, code) in cases {
        let answer = platform.fetch(method, target, headers, b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {target}");
    }
    let mut client = Client::connect(platform.port).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.answer(false).await.status, 400, "no Host");
    let answer = platform.fetch("GET", "/f/ada/echo/", &[("x-large", &"x".repeat(40 << 10))], b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (431, "headers_too_large"));
    let answer = platform.fetch("GET", "/f/ada/echo/", &[("x-huge", &"x".repeat(300 << 10))], b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (431, "headers_too_large"));
    let answer = platform.get(&format!("/f/ada/echo/?{}", "x".repeat(40 << 10))).await;
    assert_eq!((answer.status, answer.code().as_str()), (414, "uri_too_long"));
    assert_eq!(node.called(), 0);
    // An offer of HTTP/2 may be ignored.
    let offer = [("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")];
    let answer = platform.fetch("GET", "/f/ada/echo/", &offer, b"").await;
    assert_eq!(answer.status, 200);
    assert!(!answer.header("seen-headers").contains("http2-settings"));
}

#[tokio::test]
async fn what_is_no_http_gets_a_problem_first_and_later_a_bare_status() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let node = platform.node(echo).await;
    let post = |headers: &str| format!("POST /f/ada/echo/ HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = format!("GET /f/ada/echo/?{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(100_000));
    for (what, bytes, status, code) in [
        ("two lengths", post("content-length: 1\r\ncontent-length: 2\r\n"), 400, "invalid_request"),
        ("a bad length", post("content-length: -1\r\n"), 400, "invalid_request"),
        ("a folded header", post("x-a: 1\r\n 2\r\n"), 400, "invalid_request"),
        ("no HTTP", "garbage\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("many headers", post(&many), 431, "headers_too_large"),
        ("a long target", long, 414, "uri_too_long"),
    ] {
        let mut client = Client::connect(platform.port).await;
        client.send(&bytes).await;
        let answer = client.answer(false).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{what}");
        assert!(client.closed().await, "{what}");

        let mut kept = Client::connect(platform.port).await;
        kept.send(request("GET", "/healthz", &[], b"")).await;
        assert_eq!(kept.answer(false).await.status, 200);
        kept.send(&bytes).await;
        let answer = kept.answer(false).await;
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{what}: who else has spoken here is not known");
        assert!(kept.closed().await, "{what}");
    }
    assert_eq!(node.called(), 0);
    let figures = platform.get("/metrics").await.text();
    assert!(figures.contains("gateway_requests_total{code=\"uri_too_long\"} "), "{figures}");
}

#[tokio::test]
async fn two_lengths_smuggle_nothing() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let node = platform.node(echo).await;
    let mut client = Client::connect(platform.port).await;
    let headers = [("content-length", "4"), ("transfer-encoding", "chunked")];
    client.send(request("POST", "/f/ada/echo/", &headers, b"")).await;
    client.try_send("0\r\n\r\nGET /f/ada/echo/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let answer = client.answer(false).await;
    assert!(matches!(answer.status, 200 | 400), "{answer:?}");
    assert!(client.closed().await, "the connection ends: nothing after it is a request");
    assert!(node.called() <= 1);
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let platform = Platform::start_with(|config| config.head_timeout = Millis(300)).await;
    let mut client = Client::connect(platform.port).await;
    client.send("GET /healthz HTTP/1.1\r\nhost: x\r\n").await;
    assert!(client.closed().await);
}

#[tokio::test]
async fn a26_what_nodes_send_in_vain_is_counted_by_node() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let node = platform.node(echo).await;
    let id = node.id;
    // Where this gateway listens, a node learns with the first call.
    let mut answers = platform.among_nodes().await.events("cc.node.*.out.x.>").await.unwrap();
    let key = bearer(&platform.key(&[Scope::Invoke]));
    assert_eq!(platform.fetch("GET", "/f/ada/echo/", &[("authorization", &key)], b"").await.status, 200);
    let subject = answers.next().await.unwrap().subject;
    let (inbox, _) = subject.rsplit_once('.').unwrap();
    let report = |change: &str| format!("{{{change}}}").into_bytes();
    let begun = std::time::Instant::now();
    loop {
        for payload in [b"garbage".to_vec(), vec![0xff; 100], report("\"v\":1"), report("\"load\":1e39")] {
            node.fabric.publish(&fabric::subjects::report(id), &payload).await.unwrap();
            node.fabric.publish(&format!("{inbox}.none"), payload).await.unwrap();
        }
        let figures = platform.get("/metrics").await.text();
        let counted = |what: &str| {
            let name = format!("crowdcloud_node_messages_dropped_total{{node=\"{id}\",what=\"{what}\"}} ");
            figures.lines().any(|line| line.starts_with(&name) && !line.ends_with(" 0"))
        };
        if counted("report") && counted("frame") {
            break;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{figures}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn pages_and_figures() {
    let platform = Platform::start().await;
    let page = platform.get("/functions/thumbs").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval'") && !policy.contains("unsafe-eval' "), "{policy}");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let missing = platform.get("/missing.js").await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "not_found"));
    assert_eq!(platform.fetch("POST", "/", &[], b"x").await.code(), "method_not_allowed");
    assert_eq!(platform.get("/healthz").await.text(), "ok\n");
    let figures = platform.get("/metrics").await.text();
    for wanted in ["gateway_requests_total", "code=\"not_found\"", "gateway_connections"] {
        assert!(figures.contains(wanted), "{wanted} is not in {figures}");
    }
    let told = |keyword: &str| figures.lines().filter(|line| line.starts_with(keyword)).count();
    assert!(told("# TYPE ") > 10);
    assert_eq!(told("# HELP "), told("# TYPE "), "each metric says what it is: {figures}");
}
