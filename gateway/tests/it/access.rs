//! Who may call what, and that no credential of ours travels on.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use protocol::route::{Route, Scope};
use protocol::{AccountId, FunctionId, Millis, RunPrincipal, RunSource};

use crate::client::{Client, request};
use crate::node::echo;
use crate::platform::{Platform, bearer, sha256};

#[tokio::test]
async fn a19_private_functions_need_a_key_of_their_account() {
    let platform = Platform::start().await;
    let route = platform.deploy("secret", |route| route.public = false).await;
    let _node = platform.node(echo).await;
    let call = async |target: &str, key: &str| {
        platform.fetch("GET", target, &[("authorization", &bearer(key)), ("cookie", "cc_session=s; a=1")], b"").await
    };

    let answer = platform.get("/f/ada/secret/").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
    for none in ["/f/ada/nothing/", "/f/nobody/nothing/", "/f/ada/nothing@v3/x"] {
        let missing = platform.get(none).await;
        assert_eq!((missing.status, missing.json()), (401, answer.json()), "{none}: as if it were private");
    }
    let cookie = platform.fetch("GET", "/f/ada/secret/", &[("cookie", "cc_session=s")], b"").await;
    assert_eq!(cookie.code(), "unauthenticated", "cookies never authenticate here");
    let query = platform.get("/f/ada/secret/?key=cck_1_secret").await;
    assert_eq!(query.code(), "unauthenticated");

    let good = platform.key(&[Scope::Invoke]);
    let answer = call("/f/ada/secret/", &good).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = answer.header("seen-headers");
    assert!(!seen.contains("cck_") && !seen.contains("cc_session") && seen.contains("cookie: a=1"), "{seen}");
    let observed = platform.observation(&answer).await;
    assert!(matches!(observed.principal, Some(RunPrincipal::Key(_))), "{observed:?}");
    assert_eq!(observed.source, Some(RunSource::Call));

    let bad = call("/f/ada/secret/", "cck_key_nobody").await;
    assert_eq!((bad.status, bad.code().as_str()), (401, "invalid_key"));
    assert_eq!(call("/f/ada/nothing/", "cck_key_nobody").await.json(), bad.json());
    let unknown = call("/f/ada/nothing/", &good).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "function_not_found"));
    let others = platform.key_of(AccountId::new(), &[Scope::Admin], None);
    let foreign = call("/f/ada/secret/", &others).await;
    assert_eq!((foreign.status, foreign.code().as_str()), (404, "function_not_found"));
    assert_eq!(foreign.json()["detail"], unknown.json()["detail"], "as if it did not exist");

    let reader = platform.key(&[Scope::Read]);
    assert_eq!(call("/f/ada/secret/", &reader).await.code(), "forbidden");
    let only_this = platform.key_of(platform.account, &[Scope::Invoke], Some(route.function));
    assert_eq!(call("/f/ada/secret/", &only_this).await.status, 200);
    let only_other = platform.key_of(platform.account, &[Scope::Invoke], Some(FunctionId::new()));
    assert_eq!(call("/f/ada/secret/", &only_other).await.code(), "forbidden");
}

#[tokio::test]
async fn a_renamed_function_tells_its_callers_where_it_is() {
    let platform = Platform::start().await;
    let route = platform.deploy("old", |route| route.public = false).await;
    let _node = platform.node(echo).await;
    let next = platform.route("young");
    platform.publish(&Route { function: route.function, public: false, ..next }).await;
    let left = platform.route("old");
    let renamed = Some("young".parse().unwrap());
    platform.publish(&Route { function: route.function, deleted: true, renamed, public: false, ..left }).await;

    let call =
        async |target: &str, key: &str| platform.fetch("GET", target, &[("authorization", &bearer(key))], b"").await;
    let good = platform.key(&[Scope::Invoke]);
    assert_eq!(call("/f/ada/young/", &good).await.status, 200);
    let answer = call("/f/ada/old/", &good).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "function_not_found"));
    assert_eq!(answer.json()["detail"], "ada/old was renamed to `young`");
    let only_this = platform.key_of(platform.account, &[Scope::Invoke], Some(route.function));
    assert_eq!(call("/f/ada/old/", &only_this).await.json()["detail"], answer.json()["detail"]);

    // Nobody else learns that it was ever there.
    let others = platform.key_of(AccountId::new(), &[Scope::Admin], None);
    let only_other = platform.key_of(platform.account, &[Scope::Invoke], Some(FunctionId::new()));
    for key in [others, only_other, platform.key(&[Scope::Read])] {
        let (there, nowhere) = (call("/f/ada/old/", &key).await, call("/f/ada/nothing/", &key).await);
        assert_eq!((there.status, &there.json()["detail"]), (404, &nowhere.json()["detail"]));
    }
    assert_eq!(platform.get("/f/ada/old/").await.status, 401);
}

#[tokio::test]
async fn other_authorizations_pass_to_public_functions() {
    let platform = Platform::start().await;
    platform.deploy("open", |_| {}).await;
    let _node = platform.node(echo).await;
    let answer = platform.fetch("GET", "/f/ada/open/", &[("authorization", "Basic dXNlcjpwYXNz")], b"").await;
    assert!(answer.header("seen-headers").contains("authorization: Basic dXNlcjpwYXNz"));
    let answer = platform.fetch("GET", "/f/ada/open/", &[("authorization", "Bearer cck_x_y")], b"").await;
    assert_eq!(answer.status, 200);
    assert!(!answer.header("seen-headers").contains("authorization"));
    assert_eq!(platform.observation(&answer).await.principal, Some(RunPrincipal::Public));
}

#[tokio::test]
async fn one_question_for_a_key_and_revocation_within_a_second() {
    let platform = Platform::start().await;
    platform.deploy("secret", |route| route.public = false).await;
    let _node = platform.node(echo).await;
    let key = platform.key(&[Scope::Invoke]);
    let authorization = bearer(&key);
    let call = async || platform.fetch("GET", "/f/ada/secret/", &[("authorization", &authorization)], b"").await;
    let together = futures::future::join_all((0..10).map(|_| call())).await;
    assert!(together.iter().all(|answer| answer.status == 200));
    for _ in 0..10 {
        assert_eq!(call().await.status, 200);
    }
    assert_eq!(platform.control.verified.load(Ordering::Relaxed), 1, "asked once for twenty calls");

    platform.control.grants.lock().clear();
    platform.control.revoked.lock().push(sha256(&key));
    let revoked = Instant::now();
    while call().await.status == 200 {
        assert!(revoked.elapsed() < Duration::from_secs(1), "still trusted after 1 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(call().await.code(), "invalid_key");
}

#[tokio::test]
async fn a03_a_key_that_ends_while_a_body_comes_has_no_effect() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let node = platform.node(echo).await;
    let key = platform.key(&[Scope::Deploy, Scope::Invoke]);
    let authorization = bearer(&key);
    let body = br#"{"method":"GET","path":"/","headers":[],"body":""}"#;
    let mut open = Vec::new();
    for target in ["/api/v1/artifacts", "/api/v1/uploads", "/api/v1/functions/echo/test", "/f/ada/echo/"] {
        let headers = [("authorization", &*authorization), ("prefer", "respond-async"), ("expect", "100-continue")];
        let bytes = request("POST", target, &headers, body);
        let mut client = Client::connect(platform.port).await;
        client.send(&bytes[..bytes.len() - body.len()]).await;
        // Now it is let in, and waits for the body.
        client.continued().await;
        open.push((target, client));
    }
    platform.control.grants.lock().clear();
    platform.control.revoked.lock().push(sha256(&key));
    let headers = [("authorization", authorization.as_str())];
    while platform.fetch("POST", "/api/v1/functions/nothing/test", &headers, body).await.status != 401 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (target, mut client) in open {
        client.send(body).await;
        let answer = client.answer(false).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_key"), "{target}");
    }
    assert!(platform.control.artifacts.lock().is_empty());
    assert!(platform.control.heads.lock().is_empty(), "no job was made");
    assert_eq!(node.called(), 0);
}

#[tokio::test]
async fn keys_are_checked_again_when_the_pulse_is_silent() {
    let platform = Platform::start_with(|config| config.pulse_silence = Millis(1500)).await;
    platform.deploy("secret", |route| route.public = false).await;
    let _node = platform.node(echo).await;
    let authorization = bearer(&platform.key(&[Scope::Invoke]));
    let call = async || platform.fetch("GET", "/f/ada/secret/", &[("authorization", &authorization)], b"").await;
    assert_eq!(call().await.status, 200);
    platform.control.silent.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(2600)).await;
    assert_eq!(call().await.status, 200);
    assert_eq!(platform.control.verified.load(Ordering::Relaxed), 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    platform.control.away.store(true, Ordering::Relaxed);
    let answer = call().await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "control_plane_unavailable"));
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn an_unknown_function_is_asked_for_once() {
    let platform = Platform::start().await;
    let _node = platform.node(echo).await;
    let mut client = Client::connect(platform.port).await;
    for _ in 0..5 {
        client.send("GET /f/ada/late/ HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        // Nobody without a key is told what there is.
        assert_eq!(client.answer(false).await.code(), "unauthenticated");
    }
    assert_eq!(platform.control.looked_up.load(Ordering::Relaxed), 1);
    platform.deploy("late", |_| {}).await;
    assert_eq!(platform.get("/f/ada/late/").await.status, 200, "the watch brings it at once");

    // Known to the control plane, not to the bucket yet.
    let route = platform.route("early");
    platform.control.routes.lock().insert("ada.early".to_owned(), route);
    assert_eq!(platform.get("/f/ada/early/").await.status, 200);
}
