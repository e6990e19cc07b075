//! How nodes connect: by their signature alone, once each, by no other way, and no longer than they are on record.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use fabric::{
    Body, Fabric, FabricConfig, FabricError, FirstHop, Identity, Mount, NodeEndpoint, ServeOptions, Trust, Uplink,
    UserKey, subjects,
};
use http::{Request, Response};
use protocol::node::{Connection, NodeRecord, Nonce, TokenSeed};
use protocol::signed::Signed;
use protocol::{AccountId, Code, NodeId, PlacementClass, Problem, Timestamp};

use crate::client::{Client, request};
use crate::platform::Platform;

const SOON: Duration = Duration::from_secs(1);

/// A lender's machine. Its receipt key is the seed's.
struct Machine {
    node: NodeId,
    seed: TokenSeed,
    user: UserKey,
}

impl Machine {
    fn new() -> Self {
        Self { node: NodeId::new(), seed: TokenSeed(rand::random()), user: UserKey::generate() }
    }

    fn record(&self) -> NodeRecord {
        NodeRecord {
            node: self.node,
            account: AccountId::new(),
            name: "attic".to_owned(),
            class: PlacementClass::Any,
            arch: "x86_64".to_owned(),
            protocol: 2,
            trust: None,
            key: Some(self.seed.public()),
            disks: Vec::new(),
        }
    }

    /// The control plane knows it; gateways hear of it later, or ask.
    fn joins(&self, platform: &Platform) {
        platform.control.nodes.lock().insert(self.node, Ok(self.record()));
    }

    fn config(&self, platform: &Platform) -> FabricConfig {
        let expires = Timestamp::now().plus(Duration::from_secs(3600));
        let jwt = platform.authority.registrar().lender_jwt(self.node, &self.user.public(), expires).unwrap();
        FabricConfig {
            url: platform.server.url(),
            credentials: self.user.credentials(jwt).unwrap(),
            identity: Identity::Node(self.node),
            name: "attic".to_owned(),
        }
    }

    /// Connects through the gateway at this origin, as this start.
    async fn connect_at(&self, platform: &Platform, origin: &str, start: Nonce) -> Result<Fabric, FabricError> {
        let (node, seed) = (self.node, self.seed.clone());
        let sign =
            Arc::new(move |challenge| Ok::<_, FabricError>(signed(&Connection { node, start, challenge }, &seed)));
        let uplink = Uplink::new(origin, FirstHop::of(origin)?, Trust::new()?, sign)?;
        Fabric::connect_through(uplink, self.config(platform)).await
    }

    async fn connect(&self, platform: &Platform, start: Nonce) -> Result<Fabric, FabricError> {
        self.connect_at(platform, &format!("http://127.0.0.1:{}", platform.port), start).await
    }
}

fn signed(connection: &Connection, seed: &TokenSeed) -> Signed {
    let text = serde_json::to_string(connection).unwrap();
    Signed { signature: seed.sign::<Connection>(&text), text }
}

fn refused(connected: Result<Fabric, FabricError>) -> Problem {
    match connected {
        Err(FabricError::Refused(problem)) => *problem,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it is let in"),
    }
}

/// What the gateway asks to be signed.
async fn challenge(client: &mut Client) -> Nonce {
    client.send(request("GET", "/fabric", &[], b"")).await;
    let answer = client.answer(false).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
    answer.header("x-crowdcloud-challenge").parse().unwrap()
}

/// A signed request for a WebSocket.
fn upgrade(signed: &Signed) -> Vec<u8> {
    let signature = signed.signature.to_string();
    let headers = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("x-crowdcloud-connection", signed.text.as_str()),
        ("x-crowdcloud-signature", signature.as_str()),
    ];
    request("GET", "/fabric", &headers, b"")
}

#[tokio::test]
async fn a_node_comes_in_by_a_signature_that_is_good_once() {
    let platform = Platform::start().await;
    let (machine, stranger) = (Machine::new(), Machine::new());
    machine.joins(&platform);
    let (node, start) = (machine.node, Nonce(rand::random()));
    let mut client = Client::connect(platform.port).await;

    let given = challenge(&mut client).await;
    let forged = [
        (signed(&Connection { node, start, challenge: given }, &stranger.seed), 409, "node_keys_differ"),
        (signed(&Connection { node: stranger.node, start, challenge: given }, &machine.seed), 404, "not_found"),
        (signed(&Connection { node, start, challenge: Nonce([7; 32]) }, &machine.seed), 401, "unauthenticated"),
        (Signed { text: "{}".to_owned(), signature: protocol::node::Signature([0; 64]) }, 422, "invalid_field"),
    ];
    for (forged, status, code) in forged {
        client.send(upgrade(&forged)).await;
        let answer = client.answer(false).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{forged:?}");
    }
    let post = platform.fetch("POST", "/fabric", &[], b"x").await;
    assert_eq!((post.status, post.code().as_str()), (405, "method_not_allowed"));
    let good = signed(&Connection { node, start, challenge: given }, &machine.seed);
    let signature = good.signature.to_string();
    let plain = [("x-crowdcloud-connection", good.text.as_str()), ("x-crowdcloud-signature", signature.as_str())];
    let given = challenge(&mut client).await;
    let plain = platform.fetch("GET", "/fabric", &plain, b"").await;
    assert_eq!((plain.status, plain.code().as_str()), (400, "invalid_request"), "no WebSocket is asked for");

    let good = signed(&Connection { node, start, challenge: given }, &machine.seed);
    client.send(upgrade(&good)).await;
    let answer = client.head().await;
    assert_eq!((answer.status, answer.header("sec-websocket-accept")), (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let replayed = async || {
        let mut thief = Client::connect(platform.port).await;
        thief.send(upgrade(&good)).await;
        assert_eq!(thief.answer(false).await.code(), "unauthenticated");
    };
    replayed().await;
    // What is no frame of a client ends it.
    client.send("PING\r\n").await;
    client.ended().await;
    replayed().await;
}

#[tokio::test]
async fn nothing_else_is_upgraded() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let offer = [("connection", "upgrade"), ("upgrade", "websocket")];
    for target in ["/", "/api/v1/platform", "/f/ada/echo/fabric", "/fabric/", "/healthz"] {
        let answer = platform.fetch("GET", target, &offer, b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (501, "upgrade_not_supported"), "{target}");
    }
    let host = [("host", "echo--ada.localhost:8080"), offer[0], offer[1]];
    let answer = platform.fetch("GET", "/fabric", &host, b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (501, "upgrade_not_supported"), "a function's own path");
}

#[tokio::test]
async fn a_lenders_jwt_opens_no_other_way_and_a_node_works_through_the_gateway() {
    let platform = Platform::start().await;
    let machine = Machine::new();
    machine.joins(&platform);
    let direct = Fabric::connect(machine.config(&platform)).await;
    assert!(matches!(direct, Err(FabricError::Connect { .. })), "{:?}", direct.err());
    let fabric = machine.connect(&platform, Nonce([1; 32])).await.unwrap();
    let service = tower::service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(fabric::full(vec![7; 3 << 20])))
    });
    let _serving = fabric.serve(Mount::OnNode(NodeEndpoint::Control), service, ServeOptions::default()).await.unwrap();
    let core = platform.among_nodes().await;
    let asked = Request::get("/").body(fabric::empty()).unwrap();
    let to = fabric::Target::Node(machine.node, NodeEndpoint::Control);
    let within = Duration::from_secs(10);
    let reply = core.call(to, asked, fabric::CallOptions { deadline: within, accept_within: within }).await.unwrap();
    assert_eq!(crate::platform::bytes(reply.response.into_body()).await, vec![7; 3 << 20]);
}

#[tokio::test]
async fn a_copy_is_refused_and_who_is_shut_out_is_cut_at_once_and_told_why() {
    let platform = Platform::start().await;
    let machine = Machine::new();
    machine.joins(&platform);
    let bucket = jetstream::new(platform.core.nats().clone()).get_key_value(subjects::NODES_BUCKET).await.unwrap();
    let key = machine.node.to_string();
    bucket.put(&key, serde_json::to_vec(&machine.record()).unwrap().into()).await.unwrap();

    let (own, copys) = (Nonce([1; 32]), Nonce([2; 32]));
    let first = machine.connect(&platform, own).await.unwrap();
    assert_eq!(refused(machine.connect(&platform, copys).await).code, Code::NodeCopied);
    assert!(first.is_up());
    // The same start again: the one before is over, and comes back by itself; whichever came last stays.
    let begun = Instant::now();
    let second = loop {
        match machine.connect(&platform, own).await {
            Ok(second) => break second,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "{error}"),
        }
    };
    first.close().await;
    while !second.is_up() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    platform.control.nodes.lock().insert(machine.node, Err(Code::NodeSuspended));
    let begun = Instant::now();
    bucket.delete(&key).await.unwrap();
    while second.refusal().is_none() {
        assert!(begun.elapsed() < SOON, "it is not cut");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(second.refusal().unwrap().code, Code::NodeSuspended);
    assert!(!second.is_up());
    assert_eq!(refused(machine.connect(&platform, copys).await).code, Code::NodeSuspended);
}

#[tokio::test]
async fn a_silent_node_makes_room_for_its_next_start() {
    let platform = Platform::start_with(|config| config.node_idle = protocol::Millis(300)).await;
    let machine = Machine::new();
    machine.joins(&platform);
    let mut client = Client::connect(platform.port).await;
    let given = challenge(&mut client).await;
    let connection = Connection { node: machine.node, start: Nonce([1; 32]), challenge: given };
    client.send(upgrade(&signed(&connection, &machine.seed))).await;
    assert_eq!(client.head().await.status, 101);
    let begun = Instant::now();
    let next = loop {
        match machine.connect(&platform, Nonce([2; 32])).await {
            Ok(next) => break next,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    drop(next);
}
