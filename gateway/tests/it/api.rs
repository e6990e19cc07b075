//! The API's proxy, and the calls of the API that end here.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::epoch::AskEpoch;
use protocol::route::{Grant, Principal, Scope};
use protocol::{Blob, Digest, Epoch, RunPrincipal, RunSource, SessionId, UserId};

use crate::client::{Client, request};
use crate::node::echo;
use crate::platform::{Platform, bearer, sha256};

/// A log-in of the account; its cookie.
fn log_in(platform: &Platform) -> String {
    let principal = Principal::Session { session: SessionId::new(), user: UserId::new() };
    let grant =
        Grant { principal, account: platform.account, scopes: vec![Scope::Deploy], function: None, expires: None };
    platform.control.grants.lock().insert(sha256("token"), grant);
    "cc_session=token".to_owned()
}

#[tokio::test]
async fn the_api_is_proxied_both_ways_as_a_stream() {
    let mut platform = Platform::start().await;
    let authorization = bearer(&platform.key(&[Scope::Read]));
    let headers = [
        ("transfer-encoding", "chunked"),
        ("authorization", authorization.as_str()),
        ("x-crowdcloud-account", "ada"),
        ("x-crowdcloud-ticket", "forged"),
        ("x-forwarded-for", "1.2.3.4"),
    ];
    let mut client = Client::connect(platform.port).await;
    client.send(request("POST", "/api/v1/logs?follow=true", &headers, b"")).await;
    assert_eq!(client.head().await.status, 200);
    for line in ["{\"line\":1}\n", "{\"line\":2}\n"] {
        client.send(format!("{:x}\r\n{line}\r\n", line.len())).await;
        assert_eq!(client.chunk().await.unwrap(), line.as_bytes());
    }
    let head = platform.control.heads.lock().pop().unwrap();
    assert_eq!(head.uri, "/api/v1/logs?follow=true");
    assert_eq!(head.headers["authorization"], authorization);
    assert_eq!(head.headers["x-crowdcloud-account"], "ada");
    assert_eq!(head.headers["x-forwarded-for"], "127.0.0.1");
    assert!(!head.headers.contains_key("x-crowdcloud-ticket"));

    platform.stop_control();
    let answer = platform.get("/api/v1/me").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "control_plane_unavailable"));
    assert!(answer.took < Duration::from_secs(3), "{:?}", answer.took);
}

#[tokio::test]
async fn other_sites_cannot_use_a_log_in() {
    let platform = Platform::start().await;
    let cookie = log_in(&platform);
    let post = async |headers: &[(&str, &str)]| {
        let headers: Vec<_> = [&[("cookie", cookie.as_str()), ("x-crowdcloud-account", "ada")], headers].concat();
        platform.fetch("POST", "/api/v1/functions", &headers, b"{}").await
    };
    assert_eq!(post(&[]).await.status, 200);
    assert_eq!(post(&[("sec-fetch-site", "same-origin")]).await.status, 200);
    assert_eq!(post(&[("origin", "http://localhost:8080")]).await.status, 200);
    for headers in [
        [("sec-fetch-site", "same-site"), ("origin", "http://x--ada.localhost:8080")],
        [("sec-fetch-site", "cross-site"), ("origin", "null")],
        [("origin", "null"), ("x-other", "1")],
    ] {
        let answer = post(&headers).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "cross_site"), "{headers:?}");
    }
    let headers = [("cookie", cookie.as_str()), ("x-crowdcloud-account", "ada"), ("origin", "https://evil.example")];
    assert_eq!(platform.fetch("POST", "/api/v1/artifacts", &headers, b"x").await.code(), "cross_site");
    assert_eq!(platform.fetch("POST", "/api/v1/functions/echo/test", &headers, b"{}").await.code(), "cross_site");
}

#[tokio::test]
async fn artifacts_go_straight_into_the_store() {
    let platform = Platform::start_with(|config| config.artifact_max = protocol::ByteSize::mib(2)).await;
    let deploy = bearer(&platform.key(&[Scope::Deploy]));
    let artifact: Vec<u8> = (0..1_500_000_u32).flat_map(|n| n.to_le_bytes()).take(1_500_000).collect();
    let answer = platform.fetch("POST", "/api/v1/artifacts", &[("authorization", &deploy)], &artifact).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let digest = Digest::of(&artifact);
    assert_eq!(answer.json()["digest"], digest.to_string());
    assert_eq!(answer.json()["size"], "1500000");
    let row = platform.control.artifacts.lock().pop().unwrap();
    assert_eq!(row["account"], platform.account.to_string());
    let blob: Blob = serde_json::from_value(row["blob"].clone()).unwrap();
    assert_eq!((blob.digest, blob.size.0, blob.id.epoch()), (digest, 1_500_000, Epoch(1)));
    let stored = platform.store.get(&blob).await.unwrap().collect(protocol::ByteSize::mib(2)).await.unwrap();
    assert_eq!(Digest::of(&stored), digest);

    let large = platform.fetch("POST", "/api/v1/artifacts", &[("authorization", &deploy)], &vec![0; 3 << 20]).await;
    assert_eq!((large.status, large.code().as_str()), (413, "artifact_too_large"));
    assert_eq!(large.json()["field"], "$", "the body itself");
    let invoke = bearer(&platform.key(&[Scope::Invoke]));
    let answer = platform.fetch("POST", "/api/v1/artifacts", &[("authorization", &invoke)], b"x").await;
    assert_eq!(answer.code(), "forbidden");
    assert_eq!(platform.fetch("POST", "/api/v1/artifacts", &[], b"x").await.code(), "unauthenticated");
    assert_eq!(platform.get("/api/v1/artifacts").await.code(), "method_not_allowed");
    let cookie = log_in(&platform);
    let headers = [("cookie", cookie.as_str()), ("x-crowdcloud-account", "ada"), ("sec-fetch-site", "same-origin")];
    assert_eq!(platform.fetch("POST", "/api/v1/artifacts", &headers, b"x").await.status, 201);
    assert_eq!(platform.fetch("POST", "/api/v1/artifacts", &headers[..1], b"x").await.code(), "missing_account");
    let nameless = platform.fetch("POST", "/api/v1/artifacts", &headers[..1], b"x").await;
    assert_eq!(nameless.json()["field"], "x-crowdcloud-account");
}

#[tokio::test]
async fn uploads_have_epochs_that_are_renewed_or_they_are_refused() {
    let platform = Platform::start().await;
    let deploy = bearer(&platform.key(&[Scope::Deploy]));
    let upload = async || platform.fetch("POST", "/api/v1/artifacts", &[("authorization", &deploy)], b"x").await;
    let epoch = || {
        let row = platform.control.artifacts.lock().pop().unwrap();
        serde_json::from_value::<Blob>(row["blob"].clone()).unwrap().id.epoch()
    };
    assert!(platform.control.epochs.lock().is_empty(), "nobody needs one yet");
    platform.control.epoch_lasts.store(0, Ordering::Relaxed);
    let refused = upload().await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "control_plane_unavailable"));
    assert!(platform.control.artifacts.lock().is_empty());

    platform.control.epoch_lasts.store(6_000, Ordering::Relaxed);
    assert_eq!((upload().await.status, epoch()), (201, Epoch(1)));
    let asked = async |like: &dyn Fn(&AskEpoch) -> bool| {
        for _ in 0..100 {
            if platform.control.epochs.lock().iter().any(like) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never asked so: {:?}", platform.control.epochs.lock());
    };
    asked(&|asked| asked.renew == Some(Epoch(1))).await;
    assert_eq!((upload().await.status, epoch()), (201, Epoch(1)), "it goes on");

    // It was closed meanwhile: the next uploads go on under another one, and nothing is left open.
    platform.control.epochs_closed.lock().push(Epoch(1));
    asked(&|asked| asked.renew.is_some_and(|epoch| epoch != Epoch(1))).await;
    assert_eq!(upload().await.status, 201);
    assert_ne!(epoch(), Epoch(1));
    asked(&|asked| asked.close == [Epoch(1)]).await;

    // More copies are to be kept than there are disks.
    *platform.control.copies.lock() = NonZeroUsize::new(2);
    platform.control.epochs.lock().clear();
    asked(&|asked| asked.renew.is_some()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(upload().await.status, 503);
}

#[tokio::test]
async fn a24_a_test_call_is_bounded_as_any_call() {
    let platform = Platform::start().await;
    platform.deploy("echo", |route| route.public = false).await;
    let node = platform.node(echo).await;
    let key = bearer(&platform.key(&[Scope::Invoke]));
    let call = async |path: &str, headers: Vec<(String, String)>| {
        let body = serde_json::json!({"method": "GET", "path": path, "headers": headers}).to_string();
        let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
        platform.fetch("POST", "/api/v1/functions/echo/test", &headers, body.as_bytes()).await
    };
    let many = |count: usize, bytes: usize| (0..count).map(|at| (format!("x-{at}"), "v".repeat(bytes))).collect();
    assert_eq!(call(&format!("/{}", "x".repeat(1000)), many(100, 9)).await.status, 200);
    let called = node.called();
    for (path, headers, field) in [
        (format!("/{}", "x".repeat(40_000)), Vec::new(), "path"),
        ("/".to_owned(), many(500, 1), "headers"),
        ("/".to_owned(), many(100, 400), "headers"),
        (format!("/{}", "x".repeat(30_000)), many(10, 400), "headers"),
    ] {
        let wrong = call(&path, headers).await;
        assert_eq!(
            (wrong.status, wrong.code().as_str(), wrong.json()["field"].as_str()),
            (422, "invalid_field", Some(field))
        );
    }
    assert_eq!(node.called(), called);
}

#[tokio::test]
async fn a_test_call_is_a_run_answered_as_data() {
    let platform = Platform::start().await;
    platform.deploy("echo", |route| route.public = false).await;
    let node = platform.node(echo).await;
    let cookie = log_in(&platform);
    let headers = [("cookie", cookie.as_str()), ("x-crowdcloud-account", "ada"), ("sec-fetch-site", "same-origin")];
    let call = br#"{"method":"PUT","path":"/x?y=1","headers":[["x-own","1"],["authorization","Bearer cck_a"]],"body":"aGVsbG8="}"#;
    let answer = platform.fetch("POST", "/api/v1/functions/echo/test", &headers, call).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let data = answer.json();
    assert_eq!((data["status"].as_u64(), data["body"].as_str()), (Some(200), Some("aGVsbG8=")));
    assert_eq!(data["node"], node.id.to_string());
    let seen = data["headers"].to_string();
    assert!(seen.contains("PUT /x?y=1") && seen.contains("x-own: 1") && !seen.contains("cck_"), "{seen}");
    let observed = platform.observed(|observation| data["run"] == observation.run.to_string()).await;
    assert!(matches!(observed.principal, Some(RunPrincipal::User(_))), "{observed:?}");
    assert_eq!(observed.source, Some(RunSource::Test));

    // What pages of other sites can send without asking is no call, and what the platform passes over is refused.
    for form in ["text/plain;json", "multipart/form-data; boundary=json", "application/x-www-form-urlencoded"] {
        let headers = [headers[0], headers[1], ("content-type", form)];
        let wrong = platform.fetch("POST", "/api/v1/functions/echo/test", &headers, call).await;
        assert_eq!((wrong.status, wrong.json()["field"].as_str()), (400, Some("Content-Type")), "{form}");
    }
    for target in ["/api/v1/functions/echo/test", "/api/v1/artifacts", "/api/v1/uploads"] {
        let wrong = platform.fetch("POST", &format!("{target}?force=1"), &headers, call).await;
        assert_eq!((wrong.code().as_str(), wrong.json()["field"].as_str()), ("invalid_request", Some("force")));
    }
    let missing = platform.fetch("POST", "/api/v1/functions/nothing/test", &headers, call).await;
    assert_eq!(missing.code(), "function_not_found");
    for (body, code, field) in [
        (&b"{\"path\":1}"[..], "invalid_field", "path"),
        (b"{\"path\":\"/\"}", "invalid_field", "method"),
        (b"{\"path\":\"/\",\"method\":\"GET\",\"colour\":1}", "invalid_field", "colour"),
        (b"{\"path\":1e309,\"method\":\"GET\"}", "invalid_field", "path"),
        (b"{\"path\":NaN,\"method\":\"GET\"}", "invalid_request", "path"),
        (b"{", "invalid_request", "$"),
        (b"{\"path\":\"/\",\"method\":\"TRACE\"}", "invalid_field", "method"),
        (b"{\"path\":\"/ \",\"method\":\"GET\"}", "invalid_field", "path"),
        (b"{\"path\":\"/\",\"method\":\"GET\",\"body\":\"?\"}", "invalid_field", "body"),
        (
            b"{\"path\":\"/\",\"method\":\"GET\",\"headers\":[[\"a\",\"b\"],[\"c d\",\"\"]]}",
            "invalid_field",
            "headers[1][0]",
        ),
        (b"{\"path\":\"/\",\"method\":\"GET\",\"reference\":\"v9\"}", "version_not_found", "reference"),
        (b"[\"GET\",\"/\"]", "invalid_field", "$"),
        (b"{\"path\":\"/\",\"method\":\"GET\",\"path\":\"/x\"}", "invalid_field", "path"),
    ] {
        let wrong = platform.fetch("POST", "/api/v1/functions/echo/test", &headers, body).await;
        let text = String::from_utf8_lossy(body);
        assert_eq!((wrong.code().as_str(), wrong.json()["field"].as_str()), (code, Some(field)), "{text}: {wrong:?}");
    }
}
