//! Refusals of the API that are repeated without the control plane.

use std::time::Duration;

use protocol::route::Scope;
use protocol::{AccountId, Code, Millis};

use crate::client::{Client, request};
use crate::platform::{Platform, bearer};

const DEPLOY: &str = "/api/v1/functions/echo/versions";

impl Platform {
    /// What the control plane was asked of the API since the last look.
    fn asked(&self) -> usize {
        std::mem::take(&mut *self.control.heads.lock()).len()
    }

    fn refuse(&self, how: Option<(Code, &'static str)>) {
        *self.control.refuses.lock() = how;
    }
}

#[tokio::test]
async fn a06_who_is_over_the_share_is_refused_again_without_the_control_plane() {
    // A busy machine may take its time.
    let platform = Platform::start_with(|config| config.refusal_life = Millis::seconds(5)).await;
    let ada = bearer(&platform.key(&[Scope::Deploy]));
    let bob = bearer(&platform.key_of(AccountId::new(), &[Scope::Deploy], None));
    let ask = async |method: &str, path: &str, key: &str| {
        let headers = [("authorization", key), ("idempotency-key", "one")];
        let answer = platform.fetch(method, path, &headers, b"{}").await;
        (answer, platform.asked())
    };
    for _ in 0..3 {
        let (answer, asked) = ask("POST", DEPLOY, &ada).await;
        assert_eq!((answer.status, asked), (200, 1), "a success is never remembered");
    }
    platform.refuse(Some((Code::ShareExceeded, "9")));
    let (first, asked) = ask("POST", DEPLOY, &ada).await;
    assert_eq!((first.status, first.code().as_str(), asked), (429, "share_exceeded", 1));

    platform.refuse(None);
    for path in [DEPLOY, "/api/v1/functions/another/versions"] {
        let (again, asked) = ask("POST", path, &ada).await;
        assert_eq!((again.status, again.code().as_str(), asked), (429, "share_exceeded", 0), "{path}");
        assert_eq!((&again.body, again.header("retry-after")), (&first.body, "9"));
        let headers = ["content-type", "cache-control", "x-content-type-options"];
        assert_eq!(headers.map(|name| again.header(name)), headers.map(|name| first.header(name)));
    }
    // Large bodies are not even asked for.
    let headers = [("authorization", ada.as_str()), ("expect", "100-continue"), ("content-length", "1000000")];
    let mut client = Client::connect(platform.port).await;
    client.send(request("POST", DEPLOY, &headers, b"")).await;
    let unread = client.answer(false).await;
    assert_eq!((unread.status, unread.code().as_str(), platform.asked()), (429, "share_exceeded", 0));

    for (method, path, key) in [
        ("POST", DEPLOY, &bob),
        ("GET", DEPLOY, &ada),
        ("PUT", DEPLOY, &ada),
        ("POST", "/api/v1/functions/echo/rollback", &ada),
    ] {
        let (answer, asked) = ask(method, path, key).await;
        assert_eq!((answer.status, asked), (200, 1), "{method} {path}");
    }
}

#[tokio::test]
async fn a06_a_refusal_is_repeated_for_a_moment_and_for_what_others_would_get_too() {
    let platform = Platform::start().await;
    let ada = bearer(&platform.key(&[Scope::Deploy]));
    let ask = async || {
        let answer = platform.fetch("POST", DEPLOY, &[("authorization", ada.as_str())], b"{}").await;
        (answer.status, platform.asked())
    };
    platform.refuse(Some((Code::ShareExceeded, "1")));
    assert_eq!(ask().await, (429, 1));
    platform.refuse(None);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(ask().await, (200, 1), "its time is over");

    for (code, retry_after) in [(Code::ShareExceeded, "0"), (Code::RateLimited, "1"), (Code::LimitReached, "1")] {
        platform.refuse(Some((code, retry_after)));
        for _ in 0..2 {
            assert_eq!(ask().await, (code.status(), 1), "{code}, Retry-After: {retry_after}");
        }
    }
}
