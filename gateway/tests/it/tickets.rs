//! The tickets that a gateway makes, and where it has their keys from.

use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::ticket::{Purpose, SignedTicket};
use protocol::{Millis, Timestamp};

use crate::control::root;
use crate::node::echo;
use crate::platform::Platform;

#[tokio::test]
async fn a_run_has_a_ticket_that_node_and_core_take() {
    let platform = Platform::start().await;
    let route = platform.deploy("echo", |_| {}).await;
    let node = platform.node(echo).await;
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let answer = platform.get("/f/ada/echo").await;
        let seen = answer.header("seen-headers").split(" | ");
        let ticket = seen.filter_map(|line| line.strip_prefix("x-crowdcloud-ticket: ")).next().unwrap();
        assert!(ticket.len() < 300, "it is short: {ticket}");
        let ticket = SignedTicket(ticket.to_owned());
        let read = root().check(&ticket).unwrap();
        assert_eq!(root().node_keys(node.id, Timestamp::now()).check(node.id, &ticket), Ok(read.clone()));
        assert_eq!(read.run.to_string(), answer.header("x-crowdcloud-run"));
        let version = &route.versions[&1];
        assert_eq!((read.purpose, read.node, read.account), (Purpose::Run, node.id, route.account));
        assert_eq!((read.function, read.version, read.limits), (route.function, version.version, version.limits));
        assert_eq!(read.expires.since(read.issued), Duration::from_secs(20));
        epochs.push(read.epoch);
    }
    assert_eq!(epochs[0], epochs[1], "an epoch is a start of the gateway");
}

#[tokio::test]
async fn a_gateway_without_keys_is_not_ready_and_goes_on_asking() {
    let mut platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let _node = platform.node(echo).await;
    platform.stop_gateway().await;
    platform.control.keyless.store(true, Ordering::Relaxed);
    let ready = platform.launch_gateway(|config| config.place_within = Millis(700)).await;
    let refused = platform.get("/f/ada/echo").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "control_plane_unavailable"));
    assert_eq!(platform.get("/readyz").await.status, 503);

    platform.control.keyless.store(false, Ordering::Relaxed);
    tokio::time::timeout(Duration::from_secs(10), ready).await.expect("ready within 10 s").unwrap();
    assert_eq!(platform.get("/readyz").await.status, 200);
    assert_eq!(platform.get("/f/ada/echo").await.status, 200);
}
