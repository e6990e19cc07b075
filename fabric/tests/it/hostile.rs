//! A node that breaks every rule, with nothing but a node's own credentials: it reads no foreign message and disturbs
//! nobody else's exchange.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fabric::{CallError, Fabric, Mount, NodeEndpoint, NodeService, Peer, ServeOptions, Target, subjects};
use http_body_util::BodyExt as _;
use protocol::NodeId;

use crate::harness::{Ground, Heard, Raw, bytes, echo, options, post, run_on, serve};

/// A frame of version 1 without a payload worth the name.
pub(crate) fn frame(kind: u8, flags: u16, exchange: u128, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, kind];
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&exchange.to_be_bytes());
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn open(exchange: u128) -> Vec<u8> {
    let head = [&[11, 0, 3][..], b"GET", &[0, 0, 0, 1], b"/", &[0, 0]].concat();
    let length = u32::try_from(head.len()).unwrap().to_be_bytes();
    let payload = [&[7; 16][..], &30_000u32.to_be_bytes(), &(1u32 << 20).to_be_bytes(), &length, &head].concat();
    frame(1, 3, exchange, 0, &payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_listen_to_nothing_foreign() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let (victim_id, hostile_id) = (NodeId::new(), NodeId::new());
    let victim = ground.node(victim_id).await;
    let _runs = serve(&victim, Mount::OnNode(NodeEndpoint::Run), ServeOptions::default(), echo).await;
    let _api = serve(&core, Mount::ForNodes(NodeService::Api), ServeOptions::default(), echo).await;
    let mut raw = Raw::connect(&ground.server.url(), &ground.node_user(hostile_id)).await;

    let foreign = [
        ">".to_owned(),
        "cc.>".to_owned(),
        "*.*.*.*.*".to_owned(),
        "_INBOX.>".to_owned(),
        "$SYS.>".to_owned(),
        "$JS.API.>".to_owned(),
        "$JS.ACK.>".to_owned(),
        "$KV.>".to_owned(),
        "cc.core.>".to_owned(),
        "cc.core.events.control".to_owned(),
        "cc.node.*.in.>".to_owned(),
        "cc.node.*.out.>".to_owned(),
        "cc.node.*.api".to_owned(),
        format!("cc.node.{victim_id}.in.>"),
        format!("cc.node.{victim_id}.in.run"),
        format!("cc.node.{victim_id}.in.store"),
        format!("cc.node.{victim_id}.out.>"),
        format!("cc.node.{hostile_id}.api"),
        format!("cc.node.{hostile_id}.out.>"),
    ];
    for (id, subject) in foreign.iter().enumerate() {
        for line in [format!("SUB {subject} {id}\r\n"), format!("SUB {subject} core {id}\r\n")] {
            raw.send(line.as_bytes()).await;
            match raw.next().await {
                Some(Heard::Error(error)) => assert!(error.contains("Permissions Violation"), "{subject}: {error}"),
                other => panic!("{subject}: {other:?}"),
            }
        }
    }
    let forbidden = [
        "$JS.API.INFO".to_owned(),
        "$JS.API.STREAM.LIST".to_owned(),
        "$JS.API.CONSUMER.CREATE.KV_cc-routes".to_owned(),
        "$JS.ACK.x".to_owned(),
        "$KV.cc-routes.x".to_owned(),
        "$SYS.REQ.SERVER.PING".to_owned(),
        "_INBOX.x".to_owned(),
        "cc.core.svc.control-plane".to_owned(),
        "cc.core.events.control".to_owned(),
        format!("cc.node.{victim_id}.api"),
        format!("cc.node.{victim_id}.out.report"),
        format!("cc.node.{victim_id}.in.run"),
        format!("cc.node.{victim_id}.in.store"),
        format!("cc.node.{hostile_id}.in.run"),
        format!("cc.node.{hostile_id}.secrets"),
    ];
    for subject in &forbidden {
        raw.publish(subject, &format!("cc.node.{hostile_id}.in.r.x"), b"x").await;
        match raw.next().await {
            Some(Heard::Error(error)) => assert!(error.contains("Permissions Violation"), "{subject}: {error}"),
            other => panic!("{subject}: {other:?}"),
        }
    }
    // While all others talk, it hears nothing.
    bytes(core.call(run_on(victim_id), post("/", "secret"), options()).await.unwrap()).await;
    let to = Target::FromNode(NodeService::Api);
    bytes(victim.call(to, post("/", "secret"), options()).await.unwrap()).await;
    victim.publish(&subjects::report(victim_id), b"secret").await.unwrap();
    assert!(raw.next().await.is_none());
}

/// Others' calls, one after another, counted, until told to stop; none may fail.
fn traffic(
    core: &Fabric,
    victim_id: NodeId,
    victim: &Fabric,
    calls: &Arc<AtomicUsize>,
    stop: &Arc<AtomicBool>,
) -> tokio::task::JoinHandle<()> {
    let (core, victim, calls, stop) = (core.clone(), victim.clone(), calls.clone(), stop.clone());
    tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            let body = "b".repeat(calls.load(Ordering::Relaxed) % 7 * 100_000);
            let reply = core.call(run_on(victim_id), post("/", body.clone()), options()).await.unwrap();
            assert!(bytes(reply).await == body);
            let to = Target::FromNode(NodeService::Api);
            assert_eq!(bytes(victim.call(to, post("/", "api"), options()).await.unwrap()).await, "api");
            calls.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Calls that go on during the flood.
const CALLS_MIN: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn it_disturbs_nobody() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let instance_tap = ground.core().await;
    let (victim_id, hostile_id) = (NodeId::new(), NodeId::new());
    let victim = ground.node(victim_id).await;
    let _runs = serve(&victim, Mount::OnNode(NodeEndpoint::Run), ServeOptions::default(), echo).await;
    let foreign_opens = Arc::new(AtomicUsize::new(0));
    let opens = foreign_opens.clone();
    let _api = serve(&core, Mount::ForNodes(NodeService::Api), ServeOptions::default(), move |request| {
        let opens = opens.clone();
        async move {
            if *request.extensions().get::<Peer>().unwrap() == Peer::Node(hostile_id) {
                opens.fetch_add(1, Ordering::Relaxed);
                // It asks, and never reads or ends.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            echo(request).await
        }
    })
    .await;
    // Whoever listens slowly loses some: this one reads on.
    let mut reports = core.events(subjects::REPORTS).await.unwrap();
    let (heard, mut of_victim) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(event) = reports.next().await {
            if subjects::node_of(&event.subject) == Some(victim_id) {
                heard.try_send(event.payload).ok();
            }
        }
    });

    // The instance is no secret: a node that was ever called knows it. Here the tap finds it.
    let mut tap = instance_tap.events("cc.node.*.out.x.>").await.unwrap();
    bytes(core.call(run_on(victim_id), post("/", ""), options()).await.unwrap()).await;
    let subject = tap.next().await.unwrap().subject;
    let instance = subject.split('.').nth(5).unwrap().to_owned();
    drop(tap);

    let (calls, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let traffic = traffic(&core, victim_id, &victim, &calls, &stop);
    let mut raw = Raw::connect(&ground.server.url(), &ground.node_user(hostile_id)).await;
    let (own, api) = (format!("cc.node.{hostile_id}.out.x.{instance}"), format!("cc.node.{hostile_id}.api"));
    let headers: [&[u8]; 6] = [
        b"NATS/1.0\r\nx: \xff\xfe\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"NATS/1.0 503\r\n\r\n",
        b"NATS/1.0\r\n: : :\r\n\r\n",
        b"NATS/1.0 \xc3\x28\r\nname\r\n\r\n",
        b"\r\n\r\n\r\n",
    ];
    let begun = Instant::now();
    let mut round: u128 = 0;
    // Three seconds of it, and as long as a busy machine takes for some calls.
    let goes_on = |took: Duration| took < Duration::from_secs(3) || calls.load(Ordering::Relaxed) < CALLS_MIN;
    while goes_on(begun.elapsed()) {
        assert!(begun.elapsed() < Duration::from_secs(30), "only {calls:?} calls");
        round += 1;
        for header in headers {
            for subject in [&api, &subjects::report(hostile_id), &format!("{own}.{round:032x}")] {
                raw.publish_with_header(subject, header, b"payload").await;
                raw.publish_with_header(subject, header, b"").await;
            }
        }
        for kind in 0..20 {
            let bytes = frame(kind, u16::from(kind), round, 9, b"some payload, more or less");
            raw.publish(&format!("{own}.{round:032x}"), &own, &bytes).await;
            raw.publish(&api, "cc.core.svc.control-plane", &bytes).await;
            raw.publish(&format!("{own}.not-an-exchange"), "", &bytes[..usize::from(kind)]).await;
        }
        raw.publish(&api, "", &open(round)).await;
        raw.publish(&api, "", &open(round)).await;
        let mut strange = open(round + (1 << 100));
        strange[0] = 200;
        raw.publish(&api, "$JS.API.STREAM.LIST", &strange).await;
        raw.publish(&api, "", &vec![0xff; 400_000]).await;
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    traffic.await.unwrap();
    assert!(foreign_opens.load(Ordering::Relaxed) > 0, "the flood did reach the service");
    // Reports are still heard: one of them at least, as they come again and again.
    for _ in 0..50 {
        victim.publish(&subjects::report(victim_id), b"fine").await.unwrap();
        if let Ok(payload) = tokio::time::timeout(Duration::from_millis(200), of_victim.recv()).await {
            assert_eq!(payload.unwrap(), "fine");
            return;
        }
    }
    panic!("the reports are not heard any more");
}

/// A node that answers what it likes.
async fn lying(ground: &Ground, node: NodeId, mut answer: impl FnMut(u128) -> Vec<Vec<u8>> + Send + 'static) {
    let mut raw = Raw::connect(&ground.server.url(), &ground.node_user(node)).await;
    raw.send(format!("SUB cc.node.{node}.in.run 1\r\nSUB cc.node.{node}.in.r.* 2\r\nPING\r\n").as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    tokio::spawn(async move {
        loop {
            let Some(heard) = raw.next().await else { continue };
            let Heard::Message { payload, subject } = heard else { panic!("{heard:?}") };
            if !subject.ends_with(".run") {
                continue;
            }
            let exchange = u128::from_be_bytes(payload[4..20].try_into().unwrap());
            let instance = uuid::Uuid::from_slice(&payload[24..40]).unwrap();
            let instance = protocol::InstanceId::from_uuid(instance);
            for bytes in answer(exchange) {
                raw.publish(&format!("cc.node.{node}.out.x.{instance}.{exchange:032x}"), "", &bytes).await;
            }
        }
    });
}

fn reply(exchange: u128, body: &[u8]) -> Vec<u8> {
    let head = [11, 0, 200, 0, 0];
    let payload = [&[7; 16][..], &(1u32 << 20).to_be_bytes(), &5u32.to_be_bytes(), &[0; 4], &head, body].concat();
    frame(4, 0, exchange, 0, &payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_end_the_exchange_they_are_told_in() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let node = NodeId::new();

    // A head that is none.
    lying(&ground, node, |id| vec![frame(4, 0, id, 0, &[&[7; 20][..], &[0, 0, 0, 2], &[0; 4], b"??"].concat())]).await;
    let error = core.call(run_on(node), post("/", ""), options()).await.err().unwrap();
    assert!(matches!(error, CallError::Aborted(_)), "{error}");

    // A body larger than the window.
    let node = NodeId::new();
    lying(&ground, node, |id| {
        let mut frames = vec![reply(id, b"")];
        frames.extend((1..8).map(|place| frame(5, 0, id, place, &vec![1; 256 * 1024])));
        frames
    })
    .await;
    let answered = core.call(run_on(node), post("/", ""), options()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let body = answered.response.into_body().collect().await;
    assert!(body.err().unwrap().to_string().contains("more was sent than was granted"));

    // A gap.
    let node = NodeId::new();
    lying(&ground, node, |id| vec![reply(id, b"a"), frame(5, 1, id, 2, b"c")]).await;
    let answered = core.call(run_on(node), post("/", ""), options()).await.unwrap();
    assert!(matches!(answered.response.into_body().collect().await.err().unwrap(), fabric::BodyError::Lost));

    // Silence: not accepted, not revoked.
    let node = NodeId::new();
    lying(&ground, node, |_| vec![]).await;
    let error = core.call(run_on(node), post("/", ""), options()).await.err().unwrap();
    assert_eq!(error, CallError::NotAccepted { revoked: false });

    // Another version: refused by name.
    let node = NodeId::new();
    lying(&ground, node, |id| {
        let mut bytes = reply(id, b"");
        bytes[0] = 7;
        vec![bytes]
    })
    .await;
    let error = core.call(run_on(node), post("/", ""), options()).await.err().unwrap();
    assert_eq!(error, CallError::Aborted("frames of version 7 are not spoken here, only 1 to 1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_open_never_starts() {
    let ground = Ground::start().await;
    let (core, id) = (ground.core().await, NodeId::new());
    let node = ground.node(id).await;
    let started = Arc::new(AtomicUsize::new(0));
    let counter = started.clone();
    let _runs = serve(&node, Mount::OnNode(NodeEndpoint::Run), ServeOptions::default(), move |request| {
        counter.fetch_add(1, Ordering::Relaxed);
        echo(request)
    })
    .await;
    let mut tap = core.events(&format!("cc.node.{id}.out.x.>")).await.unwrap();
    let exchange = 77;
    core.publish(&format!("cc.node.{id}.in.r.{exchange:032x}"), frame(11, 2, exchange, 0, b"")).await.unwrap();
    core.publish(&format!("cc.node.{id}.in.run"), open(exchange)).await.unwrap();
    let answer = tap.next().await.unwrap();
    assert_eq!(answer.payload[1], 12, "revoked");
    assert_eq!(started.load(Ordering::Relaxed), 0);

    // An open of another version is refused by name, where the core listens.
    let mut strange = open(78);
    strange[0] = 2;
    let mut raw = Raw::connect(&ground.server.url(), &ground.authority.lenders_user("raw").unwrap()).await;
    raw.send(b"SUB cc.core.in.test.* 1\r\n").await;
    raw.publish(&format!("cc.node.{id}.in.run"), "cc.node.x.out.x", &strange).await;
    assert!(raw.next().await.is_none());
}
