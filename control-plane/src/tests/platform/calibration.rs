//! Nodes are checked with runs whose results are known, and are caught where theirs are others.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::api::NodeDetails;
use protocol::node::{Hello, Missing, TrustLevel};
use protocol::ticket::Ticket;

use super::*;
use crate::tests::harness::Client;

/// A node that runs nothing: it knows the results, as the platform does.
async fn answer(app: App, asking: Fabric, lies: bool, request: Request<fabric::Body>) -> http::Response<fabric::Body> {
    let signed = SignedTicket(request.headers()[headers::TICKET].to_str().unwrap().to_owned());
    let ticket = app.tickets.keys().check(&signed).unwrap();
    assert!(app.calibration.is_check(&ticket));
    let (status, spec) = fetch(&asking, format!("/versions/{}", ticket.version), &signed.0).await;
    assert_eq!(status, StatusCode::OK, "{spec:?}");
    let spec: VersionSpec = serde_json::from_slice(&spec).unwrap();
    assert_eq!((spec.version, spec.artifact), (ticket.version, ticket.artifact));
    assert_eq!((spec.account, spec.function), (ticket.account, ticket.function));
    assert_eq!((spec.kind, spec.env.len()), (Some(Kind::Command), 0));
    let (_, artifact) = fetch(&asking, format!("/artifacts/{}", spec.artifact), &signed.0).await;
    assert_eq!(protocol::Digest::of(&artifact), spec.artifact);
    // Another node's are others.
    assert!(!app.calibration.is_check(&Ticket { node: NodeId::new(), ..ticket.clone() }));
    let seed = request.into_body().collect().await.unwrap().to_bytes();
    let seed = u64::from_le_bytes(seed[..].try_into().unwrap());
    let mut result = app.calibration.answer(&ticket, seed);
    result[0] ^= u8::from(lies);
    http::Response::new(fabric::full(result.to_vec()))
}

/// The node, once it is so.
async fn until(client: &Client, node: NodeId, what: &str, is_so: impl Fn(&NodeDetails) -> bool) -> NodeDetails {
    let begun = Instant::now();
    loop {
        let shown: NodeDetails = client.get(&format!("/nodes/{node}")).await.read();
        if is_so(&shown) {
            return shown;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {shown:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn say(fabric: &Fabric, hello: &Hello) -> StatusCode {
    let request = Request::post("/hello").header("content-type", "application/json");
    let request = request.body(fabric::full(serde_json::to_vec(hello).unwrap())).unwrap();
    let reply = fabric.call(Target::FromNode(NodeService::Api), request, CallOptions::default()).await.unwrap();
    reply.response.status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_is_checked_until_it_lies() {
    let platform = Platform::start(None).await;
    let ground = &platform.ground;
    let ada = ground.user("ada@example.org", "ada").await;
    let (machine, token) = (Machine::new(31), joining::token(&ada).await);
    let admission = joining::admitted(ground, &token, &joining::register(ground, &machine.asks(&token)).await).await;
    let node = admission.node;
    // Its own JWT is good for WebSockets alone, which only gateways bring.
    let credentials = machine.nats.of_node(platform.authority.registrar(), node).unwrap();
    let fabric = connect_as(&platform.server, credentials, Identity::Node(node)).await;
    let mut hello = machine.hello();
    hello.boot = Some(fabric.boot().clone());
    assert_eq!(say(&fabric, &hello).await, StatusCode::OK);

    let lies = Arc::new(AtomicBool::new(false));
    let service = tower::service_fn({
        let (app, asking, lies) = (ground.app.clone(), fabric.clone(), Arc::clone(&lies));
        move |request: Request<fabric::Body>| {
            let answered = answer(app.clone(), asking.clone(), lies.load(Ordering::Relaxed), request);
            async move { Ok::<_, Infallible>(answered.await) }
        }
    });
    let _serving = fabric.serve(Mount::OnNode(NodeEndpoint::Run), service, ServeOptions::default()).await.unwrap();
    let reporting = fabric.clone();
    let reports = tokio::spawn(async move {
        for sequence in 0.. {
            let report = report(&reporting, node, sequence);
            drop(reporting.publish(&subjects::report(node), serde_json::to_vec(&report).unwrap()).await);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    let new = until(&ada, node, "it is being measured", |shown| shown.node.state.reports()).await;
    assert_eq!(new.node.state, NodeState::Calibrating, "{new:?}");
    let checked = until(&ada, node, "it is online", |shown| shown.node.state == NodeState::Online).await;
    assert!(checked.availability.answered >= 3, "{checked:?}");
    // A further hello changes nothing of that.
    assert_eq!(say(&fabric, &hello).await, StatusCode::OK);
    let listed: NodeDetails = ada.get(&format!("/nodes/{node}")).await.read();
    assert_eq!(listed.node.state, NodeState::Online);
    assert!(checked.lied.is_none() && checked.turns_per_ms.is_some_and(|speed| speed > 0), "{checked:?}");
    assert!(checked.checks.iter().all(|check| check.wall_us.is_some()), "{checked:?}");
    assert!(matches!(checked.missing[0], Missing::Checks { agreed, .. } if agreed >= 2), "{checked:?}");
    lies.store(true, Ordering::Relaxed);
    let caught = until(&ada, node, "it is caught", |shown| shown.lied.is_some()).await;
    assert_eq!((caught.node.level, caught.missing), (Some(TrustLevel::New), vec![Missing::Honesty]));
    reports.abort();
    platform.end().await;
}
