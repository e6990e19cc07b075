//! A copy of a node's credentials: it may listen to all that is sent to the node, and learns nothing.

use fabric::{
    Credentials, Event, Exchange, Fabric, FabricConfig, Identity, Mount, NodeEndpoint, NodeService, ServeOptions,
    Target, subjects,
};
use protocol::node::NodeReport;
use protocol::{ByteSize, Lane, NodeId};

use crate::harness::{Ground, Heard, Raw, bytes, echo, options, post, run_on, serve};

/// A process that has the node's credentials.
async fn process(ground: &Ground, node: NodeId, credentials: &Credentials) -> Fabric {
    let (url, name) = (ground.server.url(), "node".to_owned());
    let config = FabricConfig { url, credentials: credentials.clone(), identity: Identity::Node(node), name };
    Fabric::connect(config).await.unwrap()
}

fn report(node: NodeId, of: &Fabric) -> Vec<u8> {
    serde_json::to_vec(&NodeReport {
        v: NodeReport::VERSION,
        node,
        sequence: 1,
        cores: 2,
        load: 0.5,
        memory_total: ByteSize::mib(512),
        memory_free: ByteSize::mib(512),
        slots: 4,
        running: 0,
        lanes: vec![Lane::Wasm],
        arch: "x86_64".to_owned(),
        warm: vec![],
        cached: vec![],
        draining: false,
        vm: None,
        boot: Some(of.boot().clone()),
        lending: None,
        confinement: None,
        lists: None,
    })
    .unwrap()
}

/// Whether the core believes a report of this process.
async fn believed(core: &Fabric, node: NodeId, of: &Fabric) -> bool {
    let mut reports = core.events(subjects::REPORTS).await.unwrap();
    of.publish(&subjects::report(node), report(node, of)).await.unwrap();
    core.report(&reports.next().await.unwrap()).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_copy_of_a_node_is_refused_and_reads_no_call() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let node = NodeId::new();
    let credentials = ground.node_user(node);
    let first = process(&ground, node, &credentials).await;
    let _runs = serve(&first, Mount::OnNode(NodeEndpoint::Run), ServeOptions::default(), echo).await;
    let _control = serve(&first, Mount::OnNode(NodeEndpoint::Control), ServeOptions::default(), echo).await;
    assert!(core.admit_boot(node, Some(first.boot())).await);
    assert!(believed(&core, node, &first).await);

    let copy = process(&ground, node, &credentials).await;
    assert!(!core.admit_boot(node, Some(copy.boot())).await, "the first answers");
    assert!(!believed(&core, node, &copy).await);
    assert!(believed(&core, node, &first).await);

    let mut raw = Raw::connect(&ground.server.url(), &credentials).await;
    raw.send(format!("SUB cc.node.{node}.in.> 1\r\nPING\r\n").as_bytes()).await;
    assert!(raw.next().await.is_none());
    // One that fits in a message, one that streams both ways.
    for body in ["the caller's secret".to_owned(), "secret ".repeat(200_000)] {
        let reply = core.call(run_on(node), post("/secret?secret", body.clone()), options()).await.unwrap();
        assert!(bytes(reply).await == body);
    }
    let mut messages = 0;
    while let Some(heard) = raw.next().await {
        let Heard::Message { payload, subject } = heard else { panic!("{heard:?}") };
        assert!(!payload.windows(6).any(|window| window == b"secret"), "{subject}");
        messages += 1;
    }
    assert!(messages > 2, "it did listen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_copy_cannot_answer_for_the_node() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let node = NodeId::new();
    let credentials = ground.node_user(node);
    let first = process(&ground, node, &credentials).await;
    let slow = async |request| {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        echo(request).await
    };
    let _runs = serve(&first, Mount::OnNode(NodeEndpoint::Run), ServeOptions::default(), slow).await;
    assert!(core.admit_boot(node, Some(first.boot())).await);
    // It knows where the core listens: the subject to answer to comes with the call.
    let mut raw = Raw::connect(&ground.server.url(), &credentials).await;
    raw.send(format!("SUB cc.node.{node}.in.run 1\r\nPING\r\n").as_bytes()).await;
    assert!(raw.next().await.is_none());
    let forge = async {
        let Some(Heard::Message { .. }) = raw.next().await else { panic!("the call is not heard") };
        let reply_to = raw.last_reply.clone();
        let exchange = u128::from_str_radix(reply_to.rsplit('.').next().unwrap(), 16).unwrap();
        for kind in [2, 3, 4, 7, 8] {
            raw.publish(&reply_to, "", &crate::hostile::frame(kind, 0, exchange, 0, &[0; 60])).await;
        }
    };
    let call = core.call(run_on(node), post("/", "true"), options());
    let (reply, ()) = tokio::join!(call, forge);
    assert_eq!(bytes(reply.unwrap()).await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_node_that_starts_again_takes_its_place_at_once() {
    let ground = Ground::start().await;
    let (core, gateway) = (ground.core().await, ground.core().await);
    let mut boots = gateway.events(subjects::NODE_BOOTS).await.unwrap();
    let node = NodeId::new();
    let credentials = ground.node_user(node);
    let first = process(&ground, node, &credentials).await;
    let control = serve(&first, Mount::OnNode(NodeEndpoint::Control), ServeOptions::default(), echo).await;
    assert!(core.admit_boot(node, Some(first.boot())).await);
    assert!(believed(&core, node, &first).await && believed(&gateway, node, &first).await);
    drop(control);
    first.close().await;

    let again = process(&ground, node, &credentials).await;
    assert!(core.admit_boot(node, Some(again.boot())).await, "nobody answers as the first");
    for _ in 0..2 {
        let event: Event = boots.next().await.unwrap();
        gateway.learn_boot(&event);
    }
    assert!(believed(&gateway, node, &again).await && believed(&core, node, &again).await);
}

/// Nobody knows the key of a start before its hello: what it is told in return is sealed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_first_hello_is_sealed() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let node = NodeId::new();
    let credentials = ground.node_user(node);
    let first = process(&ground, node, &credentials).await;
    let boot = first.boot().clone();
    // With a pause, after which the call is accepted before it is answered; and an answer that streams.
    let answer = move |request: http::Request<fabric::Body>| {
        let boot = boot.clone();
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            request.extensions().get::<Exchange>().unwrap().seal_for(&boot);
            echo(request).await
        }
    };
    let _api = serve(&core, Mount::ForNodes(NodeService::Api), ServeOptions::default(), answer).await;
    let mut raw = Raw::connect(&ground.server.url(), &credentials).await;
    raw.send(format!("SUB cc.node.{node}.in.> 1\r\nPING\r\n").as_bytes()).await;
    assert!(raw.next().await.is_none());
    for body in ["the node's secret".to_owned(), "secret ".repeat(200_000)] {
        let hello = post("/hello", body.clone());
        let reply = first.call(Target::FromNode(NodeService::Api), hello, options()).await.unwrap();
        assert!(bytes(reply).await == body);
    }
    let mut messages = 0;
    while let Some(heard) = raw.next().await {
        let Heard::Message { payload, subject } = heard else { panic!("{heard:?}") };
        assert!(!payload.windows(6).any(|window| window == b"secret"), "{subject}");
        messages += 1;
    }
    assert!(messages > 2, "it did listen");
}
