//! Routes and nodes follow their buckets, whatever happens to the server between.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use fabric::subjects;
use protocol::placement::Refusal;
use protocol::route::Share;

use crate::node::echo;
use crate::platform::Platform;

#[tokio::test]
async fn routes_follow_over_a_restart_of_the_server() {
    let platform = Platform::start().await;
    let first = platform.deploy("echo", |_| {}).await;
    let _node = platform.node(echo).await;
    assert_eq!(platform.get("/f/ada/echo/").await.status, 200);

    let pid = rustix::process::Pid::from_raw(platform.server.pid().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let killed = Instant::now();
    while platform.get("/f/ada/echo/").await.status != 200 {
        assert!(killed.elapsed() < Duration::from_secs(10), "no calls 10 s after the server was killed");
    }
    // A new version, and a function that nobody knew, as soon as the server takes them.
    let mut second = platform.route("echo");
    second.function = first.function;
    let mut version = first.versions[&1].clone();
    version.number = 2;
    second.versions.insert(2, version);
    second.aliases.values_mut().for_each(|shares| *shares = vec![Share { version: 2, weight: 100 }]);
    platform.publish(&second).await;
    let answer = platform.get("/f/ada/echo/").await;
    assert_eq!(platform.observation(&answer).await.version_number, 2);
    platform.deploy("fresh", |_| {}).await;
    assert_eq!(platform.get("/f/ada/fresh/").await.status, 200);
    assert_eq!(platform.control.looked_up.load(Ordering::Relaxed), 0, "all came by the watch");
}

/// A route of a later release: what it adds under a plain name is passed over, one version that asks for more than this
/// gateway knows takes nothing from the others, and a whole function that does is refused and said so.
#[tokio::test]
async fn f35_routes_of_a_later_release() {
    let platform = Platform::start().await;
    let _node = platform.node(echo).await;
    let route = platform.deploy("later", |_| {}).await;
    assert_eq!(platform.get("/f/ada/later/").await.status, 200);
    let publish = async |change: &dyn Fn(&mut serde_json::Value)| {
        let mut next = platform.route("later");
        (next.function, next.versions) = (route.function, route.versions.clone());
        let mut json = serde_json::to_value(&next).unwrap();
        json["quota"] = 1.into();
        json["versions"]["2"] = json["versions"]["1"].clone();
        json["versions"]["2"]["number"] = 2.into();
        json["versions"]["2"]["limits"]["!gpus"] = 1.into();
        change(&mut json);
        platform.publish_as("ada.later".to_owned(), next.revision, serde_json::to_vec(&json).unwrap()).await;
    };
    publish(&|_| {}).await;
    assert_eq!(platform.get("/f/ada/later/").await.status, 200);
    assert_eq!(platform.get("/f/ada/later@v1/").await.status, 200);
    let refused = platform.get("/f/ada/later@v2/").await;
    assert_eq!((refused.status, refused.code().as_str()), (501, "not_understood"));
    publish(&|json| json["!quota"] = 1.into()).await;
    let refused = platform.get("/f/ada/later@v1/").await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (501, "not_understood"),
        "what was known before is no longer so"
    );
    publish(&|_| {}).await;
    assert_eq!(platform.get("/f/ada/later@v1/").await.status, 200);
}

#[tokio::test]
async fn what_vanished_from_the_bucket_vanishes_here() {
    let platform = Platform::start().await;
    platform.deploy("gone", |_| {}).await;
    let _node = platform.node(echo).await;
    assert_eq!(platform.get("/f/ada/gone/").await.status, 200);
    platform.control.routes.lock().clear();
    let bucket = jetstream::new(platform.core.nats().clone()).get_key_value(subjects::ROUTES_BUCKET).await.unwrap();
    bucket.purge("ada.gone").await.unwrap();
    let purged = Instant::now();
    // As private ones are to a caller without a key.
    while platform.get("/f/ada/gone/").await.status != 401 {
        assert!(purged.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Deleted by a route that says so.
    platform.deploy("dead", |route| route.deleted = true).await;
    assert_eq!(platform.get("/f/ada/dead/").await.code(), "unauthenticated");
}

#[tokio::test]
async fn a_revision_that_was_announced_but_never_came_is_read_for() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let mut pulses = platform.core.events(subjects::GATEWAY_PULSE).await.unwrap();
    let announced = platform.control.revision.fetch_add(5, Ordering::Relaxed) + 5;
    let begun = Instant::now();
    while let Some(event) = pulses.next().await {
        let pulse: protocol::route::GatewayPulse = serde_json::from_slice(&event.payload).unwrap();
        if pulse.revision == announced {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "still at {}", pulse.revision);
    }
    assert!(begun.elapsed() > Duration::from_millis(900), "a second of patience first");
}

#[tokio::test]
async fn a_silent_node_is_not_asked() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let silent = platform.node(echo).await;
    let talking = platform.node(echo).await;
    silent.reports.abort();
    let is_known_as_silent = async || {
        let answer = platform.get("/f/ada/echo/").await;
        let why = platform.observation(&answer).await.placement.unwrap();
        why.refused.iter().any(|refused| refused.why == Refusal::Silent)
    };
    let aborted = Instant::now();
    while !is_known_as_silent().await {
        assert!(aborted.elapsed() < Duration::from_secs(20), "it is still asked");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = silent.called();
    for _ in 0..10 {
        let answer = platform.get("/f/ada/echo/").await;
        assert_eq!(answer.header("x-crowdcloud-node"), talking.id.to_string());
    }
    assert_eq!(silent.called(), before);
}
