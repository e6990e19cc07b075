//! What strangers try at the door: slow bodies, many connections, others' hosts, headers and cookies, endless uploads.

use std::time::{Duration, Instant};

use http::Response;
use http_body_util::BodyExt as _;
use protocol::receipt::Outcome;
use protocol::route::Scope;
use protocol::{ByteSize, Code, Digest, Millis};
use tokio::task::JoinSet;

use crate::client::{Client, fetch, request};
use crate::node::{claim, echo, text};
use crate::platform::{Platform, bearer};

/// A request whose body never comes to its end.
fn endless(target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    request("POST", target, &[headers, &[("content-length", "10000")]].concat(), b"")
}

/// Sends a byte each 50 ms until the answer is there; says it.
async fn drip(port: u16, head: Vec<u8>) -> crate::client::Response {
    let mut client = Client::connect(port).await;
    client.send(head).await;
    let mut sent = 0;
    loop {
        tokio::select! {
            answer = client.answer(false) => return answer,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        sent += 1;
        if !client.try_send("x").await || sent > 200 {
            return client.answer(false).await;
        }
    }
}

#[tokio::test]
async fn a17_slow_bodies_for_the_api_and_the_store_are_cut_off() {
    let platform = Platform::start_with(|config| {
        config.body_grace = Millis(400);
        config.stranger_body_within = Millis(1000);
        config.stranger_bodies_max = 8;
    })
    .await;
    platform.deploy("echo", |_| {}).await;
    let _node = platform.node(echo).await;
    let (port, key) = (platform.port, bearer(&platform.key(&[Scope::Deploy])));

    // Whom nobody knows: few at once, whole and soon, whatever credential they claim.
    let mut slow = JoinSet::new();
    for claimed in [("x-none", ""), ("cookie", "cc_session=made-up"), ("authorization", "Bearer cck_made_up")].repeat(3)
    {
        slow.spawn(drip(port, endless("/api/v1/signup", &[claimed])));
    }
    let codes: Vec<String> = slow.join_all().await.iter().map(crate::client::Response::code).collect();
    let count = |code: &str| codes.iter().filter(|found| *found == code).count();
    assert_eq!((count("request_timeout"), count("rate_limited")), (8, 1), "{codes:?}");
    assert!(platform.control.heads.lock().is_empty(), "the control plane hears of none of them");
    let quick = platform.fetch("POST", "/api/v1/signup", &[], b"{}").await;
    assert_eq!(quick.status, 200, "there is room again: {quick:?}");
    let large = platform.fetch("POST", "/api/v1/signup", &[], &vec![b' '; 70_000]).await;
    assert_eq!((large.status, large.code().as_str()), (413, "body_too_large"));

    // Who shows a key is asked for it before the body is read.
    let unknown = drip(port, endless("/api/v1/jobs", &[("authorization", "Bearer cck_made_up")])).await;
    assert_eq!(unknown.code(), "invalid_key");
    let mut known = JoinSet::new();
    for target in ["/api/v1/jobs", "/api/v1/artifacts", "/api/v1/uploads", "/api/v1/functions/echo/test"] {
        let head = endless(target, &[("authorization", &key)]);
        known.spawn(async move { (target, drip(port, head).await) });
    }
    for (target, answer) in known.join_all().await {
        assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"), "{target}");
    }

    // A function's stream may be as slow as it likes, while it goes on.
    let mut stream = Client::connect(port).await;
    stream.send(request("POST", "/f/ada/echo/", &[("content-length", "16")], b"")).await;
    for _ in 0..16 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.send("x").await;
    }
    let answer = stream.answer(false).await;
    assert_eq!((answer.status, answer.body.len()), (200, 16));
}

#[tokio::test]
async fn a17_a_client_has_a_share_of_the_connections() {
    let platform = Platform::start_with(|config| config.client_connections_max = 16).await;
    let port = platform.port;
    let mut open = Vec::new();
    for _ in 0..16 {
        let mut client = Client::connect(port).await;
        client.send(request("GET", "/healthz", &[], b"")).await;
        assert_eq!(client.answer(false).await.status, 200);
        open.push(client);
    }
    for _ in 0..3 {
        let mut client = Client::connect(port).await;
        let refused = client.answer(false).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("rate_limited")));
        assert!(client.closed().await);
    }
    drop(open);
    let begun = Instant::now();
    loop {
        let mut client = Client::connect(port).await;
        if client.try_send(request("GET", "/healthz", &[], b"")).await && client.answer(false).await.status == 200 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "closed connections count no more");
    }
}

#[tokio::test]
async fn a18_requests_for_hosts_of_others_are_refused() {
    let platform = Platform::start_with(|config| {
        config.hosts = vec!["cloud.example.org".to_owned()];
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    platform.deploy("echo", |_| {}).await;
    let node = platform.node(echo).await;
    let key = bearer(&platform.key(&[Scope::Deploy]));
    for host in ["evil.example", "localhost.evil.example:8080", "192.0.2.1", "echo--ada.evil.example"] {
        for target in ["/", "/functions/x", "/api/v1/me", "/f/ada/echo/", "/api/v1/artifacts", "/nothing.js"] {
            let headers = [("host", host), ("authorization", &key), ("cookie", "cc_session=x")];
            let answer = platform.fetch("GET", target, &headers, b"").await;
            assert_eq!((answer.status, answer.code().as_str()), (421, "unknown_host"), "{host}{target}");
            assert!(answer.json()["help"].as_str().unwrap().contains("--host"), "{answer:?}");
            assert!(answer.header("location").is_empty());
        }
        for target in ["/healthz", "/readyz"] {
            assert_eq!(platform.fetch("GET", target, &[("host", host)], b"").await.status, 200, "{host}{target}");
        }
        let figures = platform.fetch("GET", "/metrics", &[("host", host)], b"").await;
        assert_eq!((figures.status, figures.code().as_str()), (421, "unknown_host"), "{host}: they name nodes");
    }
    for root in [".", ".:80", "..", "localhost.."] {
        let answer = platform.fetch("GET", "/api/v1/limits", &[("host", root)], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{root}");
    }
    assert_eq!(platform.get("http://./api/v1/limits").await.status, 400);
    let absolute = platform.get("http://evil.example/api/v1/me").await;
    assert_eq!(absolute.code(), "unknown_host", "the target counts");
    let forwarded = [("x-forwarded-host", "evil.example")];
    assert_eq!(platform.fetch("GET", "/", &forwarded, b"").await.code(), "unknown_host", "what a proxy tells counts");
    assert_eq!((node.called(), platform.control.heads.lock().len()), (0, 0));

    let good =
        ["localhost", "127.0.0.1:9", "[::1]:8080", "Cloud.example.org", "echo--ada.localhost:8080", "localhost."];
    for host in good {
        let answer = platform.fetch("GET", "/f/ada/echo/", &[("host", host)], b"").await;
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
    for malformed in ["local host", "localhost:80x", "u@localhost", "localhost/", "localhost,localhost"] {
        let answer = platform.fetch("GET", "/", &[("host", malformed)], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{malformed}");
    }
}

#[tokio::test]
async fn a20_a_body_with_two_framings_is_refused_and_the_connection_closed() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let node = platform.node(echo).await;
    let smuggled = "0\r\n\r\nGET /f/ada/echo/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for codings in [&["chunked, chunked"][..], &["chunked", "chunked"], &["gzip, chunked"], &["identity, chunked"]] {
        let headers: Vec<_> = codings.iter().map(|coding| ("transfer-encoding", *coding)).collect();
        let mut client = Client::connect(platform.port).await;
        client.send([&request("POST", "/f/ada/echo/", &headers, b""), smuggled.as_bytes()].concat()).await;
        let answer = client.answer(false).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{codings:?}");
        assert!(client.closed().await, "{codings:?}");
    }
    assert_eq!(node.called(), 0);
}

#[tokio::test]
async fn a21_a22_f16_what_a_caller_says_of_itself_and_what_it_cannot_say() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let _node = platform.node(echo).await;
    let lies = [
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-ssl", "6.6.6.6"),
        ("X_Forwarded_Host", "6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("true-client-ip", "6.6.6.6"),
        ("cf-connecting-ip", "6.6.6.6"),
        ("x-rewrite-url", "/6.6.6.6"),
        ("X-Client-IP", "6.6.6.6"),
        ("x_original_url", "/6.6.6.6"),
        ("x-forwarded-scheme", "6.6.6.6"),
        ("x-ssl-client-s-dn", "CN=6.6.6.6"),
        ("Content_Length", "6.6.6.6"),
        ("x_own", "6.6.6.6"),
        ("x.own", "6.6.6.6"),
        ("idempotency-key", "of-the-function"),
    ];
    let answer = platform.fetch("POST", "/f/ada/echo/", &lies, b"x").await;
    let seen = answer.header("seen-headers");
    assert!(!seen.contains("6.6.6.6") && seen.contains("x-forwarded-for: 127.0.0.1"), "{seen}");
    assert!(seen.contains("idempotency-key: of-the-function"), "it is the function's: {seen}");
    let names: Vec<&str> = seen.split(" | ").filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert!(names.iter().all(|name| !name.contains('_')), "{seen}");
}

#[tokio::test]
async fn a11_cookies_of_a_function_bind_nobody_else() {
    let platform = Platform::start().await;
    platform.deploy("page", |_| {}).await;
    let _node = platform
        .node(|_| {
            Box::pin(async {
                let cookies = ["a=1; Path=/; Domain=localhost", "b=2; Path=/sub", "c=3"];
                let head = cookies.iter().fold(Response::builder(), |head, cookie| head.header("set-cookie", *cookie));
                head.body(fabric::full("page")).unwrap()
            })
        })
        .await;
    let answer = platform.get("/f/ada/page@v1/x").await;
    let own = "/f/ada/page@v1";
    let confined = [format!("a=1; Path={own}/"), format!("b=2; Path={own}/sub"), format!("c=3; Path={own}/")];
    assert_eq!(answer.all("set-cookie"), confined.iter().map(String::as_str).collect::<Vec<_>>());
    let cookie = "x=".to_owned() + &"y".repeat(3800);
    let cookies = vec![cookie; 12].join("; ");
    for target in ["/", "/api/v1/me"] {
        let locked_out = platform.fetch("GET", target, &[("cookie", &cookies)], b"").await;
        assert_eq!((locked_out.status, locked_out.code().as_str()), (431, "headers_too_large"));
        assert_eq!(locked_out.header("clear-site-data"), "\"cookies\"", "so that the next one passes");
    }
    // A function's overfull path lets nobody end what is others', and passes the next time, too.
    let cookies = format!("cc_device=known; {cookies}");
    let own = platform.fetch("GET", "/f/ada/page/", &[("cookie", &cookies)], b"").await;
    assert_eq!((own.status, own.code().as_str()), (431, "headers_too_large"));
    assert!(own.headers.keys().all(|name| name != "clear-site-data"));
    let ended = own.all("set-cookie");
    assert!(ended.contains(&"x=; Max-Age=0; Path=/f/ada/page/"), "{ended:?}");
    assert!(ended.iter().all(|line| line.contains("; Path=/f/ada/page")), "{ended:?}");
    let host = format!("page--ada.localhost:{}", platform.port);
    let own = platform.fetch("GET", "/", &[("host", &host), ("cookie", &cookies)], b"").await;
    assert_eq!((own.status, own.header("clear-site-data")), (431, ""));
    assert!(own.all("set-cookie").contains(&"x=; Max-Age=0; Path=/"));
}

#[tokio::test]
async fn a08_a_body_that_breaks_off_before_a_node_has_it_is_no_run_of_that_node() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let node = platform.node(echo).await;
    let mut client = Client::connect(platform.port).await;
    // In one piece, so that it is broken before anything can leave.
    let head = request("POST", "/f/ada/echo/", &[("transfer-encoding", "chunked")], b"");
    client.send([&head[..], b"-1\r\n"].concat()).await;
    let answer = client.answer(false).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
    let run = answer.header("x-crowdcloud-run").to_owned();
    let seen = platform.observed(|observation| observation.run.to_string() == run).await;
    assert_eq!((seen.node, seen.outcome), (None, protocol::receipt::Outcome::Cancelled));
    assert_eq!(node.called(), 0);
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_never_a_whole_one() {
    let platform = Platform::start().await;
    platform.deploy("reader", |_| {}).await;
    let (bodies, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let node = platform
        .node(move |request| {
            let bodies = bodies.clone();
            claim(&request, Outcome::Cancelled);
            Box::pin(async move {
                let body = request.into_body().collect().await;
                bodies.send(body.is_ok()).unwrap();
                text("read")
            })
        })
        .await;
    for (framing, start) in [("content-length", "5 of ten"), ("transfer-encoding", "5\r\nbegun\r\n")] {
        let value = if framing == "content-length" { "10" } else { "chunked" };
        let mut client = Client::connect(platform.port).await;
        client.send(request("POST", "/f/ada/reader/", &[(framing, value)], b"")).await;
        client.send(start).await;
        client.send_no_more().await;
        let answer = client.answer(false).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "body_incomplete"), "{framing}");
        let observed = platform.observation(&answer).await;
        assert_eq!((observed.outcome, observed.code), (Outcome::Cancelled, Some(Code::BodyIncomplete)), "{framing}");
    }
    let whole = platform.fetch("POST", "/f/ada/reader/", &[], b"all of it").await;
    assert_eq!(whole.text(), "read");
    drop(node);
    while let Ok(is_whole) = seen.try_recv() {
        assert!(!is_whole || seen.is_empty(), "only the last body has an end");
    }
}

#[tokio::test]
async fn a14_uploads_are_counted_also_those_that_break_off() {
    let platform = Platform::start_with(|config| config.artifact_max = ByteSize::mib(2)).await;
    let key = bearer(&platform.key(&[Scope::Deploy]));
    let settled = async |count: usize| {
        let begun = Instant::now();
        while platform.control.settled.lock().len() < count {
            assert!(begun.elapsed() < Duration::from_secs(10), "not settled");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        platform.control.settled.lock()[count - 1].clone()
    };
    let whole = platform.fetch("POST", "/api/v1/artifacts", &[("authorization", &key)], &[7; 1000]).await;
    assert_eq!(whole.json()["digest"], Digest::of(&[7; 1000]).to_string());
    let seen = settled(1).await;
    assert_eq!((&seen["granted"], &seen["used"]), (&"1000".into(), &"1000".into()));

    let mut broken = Client::connect(platform.port).await;
    let head = request("POST", "/api/v1/uploads", &[("authorization", &key), ("content-length", "600000")], b"");
    broken.send([head, vec![1; 100_000]].concat()).await;
    // It is being read before the caller goes away.
    let unfinished = tokio::time::timeout(Duration::from_millis(300), broken.answer(false)).await;
    assert!(unfinished.is_err());
    drop(broken);
    let seen = settled(2).await;
    assert_eq!((&seen["granted"], &seen["used"]), (&"600000".into(), &"100000".into()));
    let only = vec![platform.control.artifacts.lock()[0]["blob"]["id"].clone()];
    let begun = Instant::now();
    loop {
        let kept = platform.store.list(None, 10).await.unwrap();
        let kept: Vec<serde_json::Value> = kept.iter().map(|segment| segment.name.blob.to_string().into()).collect();
        if kept == only {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "the broken one has left something: {kept:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    *platform.control.upload_room.lock() = Some(5000);
    let chunked = [("authorization", key.as_str()), ("transfer-encoding", "chunked")];
    let mut long = Client::connect(platform.port).await;
    long.send(request("POST", "/api/v1/uploads", &chunked, b"")).await;
    long.send(format!("1770\r\n{}\r\n0\r\n\r\n", "x".repeat(6000))).await;
    let refused = long.answer(false).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "limit_reached"), "more than was left");
    settled(3).await;
    let refused = fetch(platform.port, "POST", "/api/v1/uploads", &[("authorization", &key)], &[7; 6000]).await;
    assert_eq!(refused.code(), "limit_reached", "before it is read");
    assert_eq!(platform.control.artifacts.lock().len(), 1);
}

#[tokio::test]
async fn a02_lengths_are_checked_before_anything_is_kept() {
    let platform = Platform::start().await;
    platform.deploy("echo", |route| route.public = false).await;
    let node = platform.node(echo).await;
    let long = format!("Bearer cck_{}", "x".repeat(20_000));
    let answer = platform.fetch("GET", "/f/ada/echo/", &[("authorization", &long)], b"").await;
    assert_eq!(answer.code(), "invalid_key");
    assert_eq!(platform.control.verified.load(std::sync::atomic::Ordering::Relaxed), 0, "nobody needs to be asked");
    let method = "M".repeat(20_000);
    let answer = platform.fetch(&method, "/f/ada/echo/", &[], b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
    assert!(answer.text().len() < 1000);
    let account = "a".repeat(20_000);
    let answer = platform.get(&format!("/f/{account}/echo/")).await;
    assert_eq!(answer.code(), "function_not_found");
    assert_eq!(platform.control.looked_up.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert_eq!(node.called(), 0);
}
