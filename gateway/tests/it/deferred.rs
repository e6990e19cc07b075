//! Calls that are answered later: what the gateway hands on to the control plane.

use protocol::job::DeferredCall;
use protocol::route::{Scope, Share};
use protocol::{ByteSize, Digest, Limits, VersionId};

use crate::node::echo;
use crate::platform::{Platform, bearer};

fn handed_on(platform: &Platform) -> DeferredCall {
    platform.control.deferred.lock().pop().expect("the control plane was asked")
}

#[tokio::test]
async fn f24_a_deferred_call_is_handed_on_as_a_direct_one() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let _node = platform.node(echo).await;
    let key = bearer(&platform.key(&[Scope::Invoke]));
    let target = format!("/f/ada/echo/a%20b?q={}", "x".repeat(10 << 10));
    let headers = [
        ("authorization", key.as_str()),
        ("x-name", "Gr\u{fc}n"),
        ("x-name", "again"),
        ("cookie", "my_cc_session=1; cc_session=2"),
        ("content-type", "text/csv"),
        ("prefer", "return=minimal"),
        ("forwarded", "for=6.6.6.6"),
        ("x-crowdcloud-run", "x"),
        ("idempotency-key", "k"),
    ];
    let direct = platform.fetch("POST", &target, &headers, b"x").await;
    let mut later = headers.to_vec();
    later.push(("prefer", "respond-async, wait=5"));
    platform.fetch("POST", &target, &later, b"x").await;
    let call = handed_on(&platform);
    assert_eq!(direct.header("seen-line"), format!("{} {}", call.method, call.path));
    let lines =
        call.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    let mut lines: Vec<String> = lines.collect();
    // It is the platform's there, and the function's here.
    lines.push("idempotency-key: k".to_owned());
    let mut seen: Vec<&str> = direct.header("seen-headers").split(" | ").collect();
    seen.retain(|line| !line.starts_with("x-crowdcloud-ticket:"));
    lines.sort();
    seen.sort_unstable();
    assert_eq!(lines, seen);
}

#[tokio::test]
async fn a_long_body_is_handed_on_as_a_blob() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let key = bearer(&platform.key(&[Scope::Invoke]));
    let body: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let headers = [("authorization", key.as_str()), ("prefer", "respond-async")];
    platform.fetch("POST", "/f/ada/echo/", &headers, &body).await;
    let call = handed_on(&platform);
    let blob = call.blob.unwrap();
    assert_eq!((call.body, call.size, blob.size), (None, ByteSize(800_000), ByteSize(800_000)));
    let stored = platform.store.get(&blob).await.unwrap().collect(ByteSize::mib(1)).await.unwrap();
    assert!(stored == body && Digest::of(&body) == blob.digest);
}

#[tokio::test]
async fn a_key_that_could_be_two_is_refused_and_quotes_are_no_part_of_one() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let _node = platform.node(echo).await;
    let key = bearer(&platform.key(&[Scope::Invoke]));
    let caller = [("authorization", key.as_str()), ("prefer", "respond-async")];
    for keys in [&["k", "k"][..], &["a b"], &["a, b"], &["\"k"], &[""]] {
        let keys: Vec<_> = keys.iter().map(|key| ("idempotency-key", *key)).collect();
        let refused = platform.fetch("POST", "/f/ada/echo/", &[&caller[..], &keys[..]].concat(), b"x").await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_request"), "{keys:?}");
        assert_eq!(refused.json()["field"], "Idempotency-Key", "{keys:?}");
        // Of a call that is answered at once the function makes what it likes.
        let plain = platform.fetch("POST", "/f/ada/echo/", &keys, b"x").await;
        assert_eq!(plain.status, 200, "{keys:?}");
    }
    assert!(platform.control.deferred.lock().is_empty());
}

#[tokio::test]
async fn without_a_key_for_repetitions_a_call_is_answered_later_all_the_same() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let node = platform.node(echo).await;
    let key = bearer(&platform.key(&[Scope::Invoke]));
    let headers = [("authorization", key.as_str()), ("prefer", "respond-async")];
    platform.fetch("POST", "/f/ada/echo/", &headers, b"x").await;
    assert_eq!(handed_on(&platform).target, "echo");
    // Who has no key of the account could never see what came of it.
    let stranger = platform.fetch("POST", "/f/ada/echo/", &headers[1..], b"x").await;
    assert_eq!((stranger.status, stranger.header("preference-applied")), (200, ""));
    assert!(platform.control.deferred.lock().is_empty());
    assert_eq!(node.called(), 1);
}

#[tokio::test]
async fn f22_whatever_version_is_drawn_a_repeated_call_is_handed_on() {
    let platform = Platform::start().await;
    platform
        .deploy("echo", |route| {
            let first = route.versions[&1].clone();
            let limits = Limits { body: ByteSize::kib(1), ..first.limits };
            route
                .versions
                .insert(2, protocol::route::VersionRoute { number: 2, version: VersionId::new(), limits, ..first });
            let live = route.aliases.values_mut().next().unwrap();
            *live = vec![Share { version: 2, weight: 100 }];
        })
        .await;
    let key = bearer(&platform.key(&[Scope::Invoke]));
    let headers = [("authorization", key.as_str()), ("prefer", "respond-async"), ("idempotency-key", "k")];
    // The job may have been made when the alias meant version 1, which accepts this.
    platform.fetch("POST", "/f/ada/echo/", &headers, &[b'x'; 4096]).await;
    let call = handed_on(&platform);
    assert_eq!((call.target.as_str(), call.version, call.size), ("echo", 2, ByteSize::kib(4)));
    let refused = platform.fetch("POST", "/f/ada/echo/", &headers[..2], &[b'x'; 4096]).await;
    assert_eq!(refused.code(), "body_too_large", "without a key it can be no repetition");
    platform.fetch("POST", "/f/ada/echo@v1/", &headers, b"x").await;
    assert_eq!(handed_on(&platform).target, "echo@v1");
}
