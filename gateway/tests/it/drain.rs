//! Shutting down, and what outlives it.

use std::time::{Duration, Instant};

use protocol::Millis;

use crate::client::{Client, fetch, request};
use crate::node::{echo, text};
use crate::platform::Platform;

#[tokio::test]
async fn running_requests_finish_and_the_rest_is_told() {
    let mut platform = Platform::start_with(|config| {
        config.unready = Millis(400);
        config.grace = Millis(4000);
    })
    .await;
    platform.deploy("sleep", |_| {}).await;
    let node = platform
        .node(|request| {
            Box::pin(async move {
                let ms = request.uri().path()[1..].parse().unwrap();
                tokio::time::sleep(Duration::from_millis(ms)).await;
                text("slept")
            })
        })
        .await;
    let port = platform.port;
    assert_eq!(platform.get("/readyz").await.status, 200);
    let short = tokio::spawn(async move { fetch(port, "GET", "/f/ada/sleep/1200", &[], b"").await });
    let long = tokio::spawn(async move { fetch(port, "GET", "/f/ada/sleep/9000", &[], b"").await });
    while node.called() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = Instant::now();
    platform.begin_shutdown();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = platform.get("/readyz").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "draining"), "unready before it stops accepting");
    assert_eq!(platform.get("/healthz").await.status, 200);
    let short = short.await.unwrap();
    assert_eq!((short.status, short.text().as_str()), (200, "slept"));
    let long = long.await.unwrap();
    assert_eq!((long.status, long.code().as_str()), (503, "draining"));
    platform.stop_gateway().await;
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn an_idle_gateway_stops_at_once() {
    let mut platform = Platform::start_with(|config| config.grace = Millis::seconds(8)).await;
    let mut idle = Client::connect(platform.port).await;
    idle.send(request("GET", "/healthz", &[], b"")).await;
    assert_eq!(idle.answer(false).await.status, 200);
    let begun = Instant::now();
    platform.stop_gateway().await;
    assert!(begun.elapsed() < Duration::from_secs(6), "it does not wait out its grace: {:?}", begun.elapsed());
    assert!(idle.closed().await);
}

#[tokio::test]
async fn observations_survive_a_crash_and_an_absent_control_plane() {
    let mut platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let _node = platform.node(echo).await;
    platform.control.away.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(platform.get("/f/ada/echo/").await);
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    platform.crash_gateway().await;
    assert!(platform.control.observations.lock().is_empty());
    platform.control.away.store(false, std::sync::atomic::Ordering::Relaxed);
    platform.start_gateway(|_| {}).await;
    for answer in &answers {
        platform.observation(answer).await;
    }
    let left = || std::fs::read_dir(platform.folder.path().join("spool")).unwrap().count();
    let seen = Instant::now();
    while left() > 0 {
        assert!(seen.elapsed() < Duration::from_secs(10), "what is acknowledged is removed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
