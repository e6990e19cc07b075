//! Calls that are answered later: what the gateway hands on to the control plane.

use protocol::job::DeferredCall;
use protocol::route::Scope;

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
