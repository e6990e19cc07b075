//! What a ticket opens at the core, and that whoever has no issuer's key opens nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use protocol::api::{Invocation, Page};
use protocol::node::{HelloReply, LogLine, LogStream, RunLog};
use protocol::receipt::NodeReceipt;
use protocol::ticket::{Day, DayRoot, IssuerKeys, Purpose, SignedTicket, Ticket, TicketRoot, TwoDays};
use protocol::{AccountId, Code, Digest, EpochId, FunctionId, Lane, Limits, NodeId, RunId, Timestamp, VersionId};
use sea_orm::EntityTrait as _;

use super::harness::{Ground, suite};
use super::settlement::{Runs, Signer, as_node, hello_of, later, observe};
use crate::db::entities::run_logs;
use crate::tickets::Tickets;

suite!(
    each_endpoint_asks_for_an_issuers_ticket,
    what_older_nodes_have_kept_is_void_alone,
    keys_are_given_to_whom_they_are_for
);

/// A ticket of the first form.
const OLD: &str = include_str!("../../../protocol/src/tests/golden/signed_ticket_v1.txt");

pub(crate) fn any_ticket(node: NodeId) -> Ticket {
    Ticket {
        purpose: Purpose::Run,
        run: RunId::new(),
        node,
        account: AccountId::new(),
        function: FunctionId::new(),
        version: VersionId::new(),
        artifact: Digest([1; 32]),
        lane: Lane::Wasm,
        limits: Limits::default(),
        epoch: EpochId::new(),
        issued: Timestamp::now(),
        expires: later(20),
    }
}

/// The same ticket, as its node itself would make it: with its own MAC, and something in place of the other.
fn by_its_node(ground: &Ground, ticket: &Ticket) -> SignedTicket {
    let keys = ground.app.tickets.node_keys(ticket.node, ticket.issued);
    let key = &keys.keys[usize::from(Day::of(ticket.issued) != keys.first)];
    let mut bytes = URL_SAFE_NO_PAD.decode(ground.app.tickets.issue(ticket).0).unwrap();
    let pay = bytes.len() - 32;
    bytes.truncate(pay);
    bytes.extend_from_slice(&blake3::keyed_hash(&key.0, &bytes).as_bytes()[..16]);
    bytes.extend_from_slice(&blake3::keyed_hash(&key.0, &bytes).as_bytes()[..16]);
    let made = SignedTicket(URL_SAFE_NO_PAD.encode(bytes));
    assert!(keys.check(ticket.node, &made).is_ok(), "the node itself would take it");
    made
}

async fn each_endpoint_asks_for_an_issuers_ticket(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let tickets = &ground.app.tickets;
    let good = runs.permission(RunId::new());
    let genuine = tickets.begin_epoch(good.issued).issue(&good);
    let mut flipped = genuine.0.clone().into_bytes();
    flipped[100] ^= 1;
    let forged = [
        ("its node's own", by_its_node(&ground, &Ticket { epoch: EpochId::new(), ..good.clone() })),
        ("another platform's", TicketRoot::of(&[9; 32]).issuer(good.epoch, good.issued).issue(&good)),
        (
            "in another issuer's name",
            IssuerKeys { epoch: EpochId::new(), ..tickets.begin_epoch(good.issued) }.issue(&good),
        ),
        ("another node's", tickets.issue(&Ticket { node: NodeId::new(), ..good.clone() })),
        ("cut off", SignedTicket(genuine.0[..genuine.0.len() - 4].to_owned())),
        ("another text", SignedTicket(String::from_utf8(flipped).unwrap())),
        ("an old release's", SignedTicket(OLD.trim_end().to_owned())),
        ("none", SignedTicket(String::new())),
    ];
    let prepare = ("to prepare", tickets.issue(&Ticket { purpose: Purpose::Prepare, ..good.clone() }));
    let over = Ticket { issued: later(-1000), expires: later(-990), ..good.clone() };
    let over = ("that is over", tickets.issue(&over));

    let blobs = |ticket: &SignedTicket| {
        as_node(crate::api::nodes::blob(ground.app.clone()), ground.node).with(protocol::headers::TICKET, &ticket.0)
    };
    let paths = [format!("/versions/{}", good.version), format!("/artifacts/{}", good.artifact)];
    for (what, ticket) in forged.iter().chain([&over]) {
        for path in &paths {
            let answer = blobs(ticket).send(Method::GET, path, None).await;
            assert_eq!(answer.code(), Code::Forbidden, "{path} with a ticket: {what}");
        }
    }

    let logs = as_node(crate::api::nodes::log(ground.app.clone()), ground.node);
    let log = async |ticket: &SignedTicket| {
        let (run, at, text) = (good.run, Timestamp::now(), "hello".to_owned());
        let line = LogLine { run, sequence: 0, at, stream: LogStream::Stdout, text };
        let log = serde_json::to_value([RunLog { run, ticket: ticket.clone(), lines: vec![line] }]).unwrap();
        assert_eq!(logs.send(Method::POST, "/logs", Some(log)).await.status, StatusCode::NO_CONTENT);
        run_logs::Entity::find().all(ground.app.db.read()).await.unwrap().len()
    };
    for (what, ticket) in forged.iter().chain([&over, &prepare]) {
        assert_eq!(log(ticket).await, 0, "a log with a ticket: {what}");
    }

    let (receipt, _) = runs.halves(&ground, 1, 1);
    let claim = |run, ticket: &SignedTicket| NodeReceipt { run, ticket: ticket.clone(), ..receipt.clone() };
    let void: Vec<_> = forged.iter().chain([&prepare]).map(|(_, ticket)| claim(good.run, ticket)).collect();
    node.submit(void).await;
    node.submit(vec![claim(RunId::new(), &genuine)]).await;
    let listed = async || -> Page<Invocation> { runs.client.get("/invocations").await.read() };
    assert_eq!(listed().await.items.len(), 0);

    // The genuine one opens all of it.
    for path in &paths {
        assert_eq!(blobs(&genuine).send(Method::GET, path, None).await.status, StatusCode::OK);
    }
    assert_eq!(log(&genuine).await, 1);
    node.submit(vec![claim(good.run, &genuine)]).await;
    assert_eq!(listed().await.items.iter().map(|run| run.run).collect::<Vec<_>>(), [good.run]);
    // A receipt counts however late it comes.
    let late = Ticket { run: RunId::new(), issued: later(-200_000), expires: later(-199_990), ..good.clone() };
    node.submit(vec![claim(late.run, &tickets.issue(&late))]).await;
    assert_eq!(listed().await.items.len(), 2);
}

/// Receipts with tickets of the first form: they are void, and what comes after them is taken.
async fn what_older_nodes_have_kept_is_void_alone(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (mut old, old_seen) = runs.halves(&ground, 700, 900);
    old.ticket = SignedTicket(OLD.trim_end().to_owned());
    let (good, good_seen) = runs.halves(&ground, 700, 900);
    node.submit(vec![old]).await;
    node.submit(vec![good]).await;
    observe(&ground, &[old_seen.clone(), good_seen.clone()]).await;
    assert!(runs.run(good_seen.run).await.settled);
    assert!(!runs.run(old_seen.run).await.settled, "nobody has claimed it");
    crate::settlement::sweep_once(&ground.app, later(61), false).await.unwrap();
    let run = runs.run(old_seen.run).await;
    assert_eq!((run.settled, run.usage.wall_us), (true, 900), "by what the gateway saw");
}

async fn keys_are_given_to_whom_they_are_for(ground: Ground) {
    let tickets = &ground.app.tickets;
    // A gateway that starts, and one that goes on.
    let begin = async || -> IssuerKeys {
        ground.anonymous().send(Method::POST, "/internal/ticket-keys", Some(().into())).await.read()
    };
    let (one, two) = (begin().await, begin().await);
    assert!(one.epoch != two.epoch && one.pay != two.pay);
    let days: TwoDays<DayRoot> = ground.anonymous().send(Method::GET, "/internal/ticket-keys", None).await.read();
    assert_eq!((&days, &one.days), (&tickets.days(Timestamp::now()), &two.days));
    let ticket = any_ticket(ground.node);
    assert_eq!(tickets.keys().check(&one.issue(&ticket)), Ok(Ticket { epoch: one.epoch, ..ticket.clone() }));

    // A node that starts.
    let hello = hello_of(&ed25519_dalek::SigningKey::from_bytes(&[7; 32]));
    let say = async |hello: serde_json::Value| {
        let api = as_node(crate::api::nodes::api(ground.app.clone()), ground.node);
        api.send(Method::POST, "/hello", Some(hello)).await
    };
    let hello = serde_json::to_value(hello).unwrap();
    let reply: HelloReply = say(hello.clone()).await.read();
    assert!(reply.node_keys.check(ground.node, &two.issue(&ticket)).is_ok());
    // Nobody is told keys who names no start that they could be sealed for.
    let mut nameless = hello;
    nameless.as_object_mut().unwrap().remove("boot");
    assert_eq!(say(nameless).await.code(), Code::InvalidField);
}

/// Who has given a webhook's secret to its receiver, or a browser the cookie of a device, has it for good.
#[test]
fn secrets_are_those_of_earlier_releases() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ticket.key");
    std::fs::write(&path, [7; 32]).unwrap();
    let tickets = Tickets::open(&path, true).unwrap();
    let hex = |secret: [u8; 32]| Digest(secret).to_string();
    let devices = "43ae7554a342af0b929e61c2b4c43d26196bea043f8e55048d22ad340a0ab004";
    assert_eq!(hex(tickets.secret("devices")), devices);
    let account = "acct_01930000000070008000000000000003".parse().unwrap();
    let webhooks = "3ad235b9e852006e55fe52bb84afcbd8c8f946429d7f40fa71d8d771566e8ddb";
    assert_eq!(hex(tickets.secret_of(account, "webhooks")), webhooks);
}
