//! Nodes as the database and the API know them.

use ed25519_dalek::SigningKey;
use fabric::UserKey;
use http::{Method, StatusCode};
use protocol::api::{AuditEntry, Node, NodeDetails, Page};
use protocol::node::{
    BootKey, Caps, CapsWish, Fingerprint, Hello, HelloReply, NodeState, NodeWant, PublicKey, PublicKeys, StoreDisk,
};
use protocol::{ByteSize, Code, Digest, DiskId, NodeId, Problem};
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::json;

use super::harness::{Answer, Client, Ground, suite};
use super::joining::{self, Machine, admitted, register, token};
use super::settlement::{as_node, hello_of};
use crate::db::columns::Col;
use crate::db::entities::{audit, nodes};
use crate::nodes::{records, registry};

suite!(
    a_hello_with_other_keys_is_refused_and_named,
    a_hello_is_a_change_where_it_says_something_new,
    keys_that_an_earlier_release_has_not_noted_are_noted_once,
    disks_are_on_record_of_the_operators_nodes_alone,
    a_copied_disk_and_an_older_folder_are_refused_and_named,
    the_operator_suspends_and_lets_in_again,
    who_is_suspended_may_leave,
    a_suspended_machine_comes_back_by_no_other_token,
    a_revoked_node_is_shown_with_when_and_by_whom,
    nodes_are_found_by_their_name,
    when_a_node_was_heard_last_never_falls,
    a_hello_of_a_clock_far_ahead_gives_way_to_the_next,
    at_a_stop_it_is_noted_of_all_nodes_when_they_were_heard,
    an_owner_lowers_caps_from_afar_and_raises_none,
    who_has_not_seen_another_s_wish_does_not_overwrite_it,
    a_node_is_its_owner_s_to_see_and_to_pause,
);

/// What this node says, with these keys.
fn hello_with(receipt: u8, nats: &UserKey, ticket: u8) -> Hello {
    let key = SigningKey::from_bytes(&[receipt; 32]);
    let keys = PublicKeys {
        nats: nats.public(),
        receipt: PublicKey(key.verifying_key().to_bytes()),
        ticket: PublicKey([ticket; 32]),
    };
    Hello { keys: Some(keys), ..hello_of(&key) }
}

async fn say(ground: &Ground, hello: &Hello) -> Answer {
    let api = as_node(crate::api::nodes::api(ground.app.clone()), ground.node);
    api.send(Method::POST, "/hello", Some(serde_json::to_value(hello).unwrap())).await
}

async fn row(ground: &Ground) -> nodes::Model {
    nodes::Entity::find_by_id(Col(ground.node)).one(ground.app.db.read()).await.unwrap().unwrap()
}

async fn a_hello_with_other_keys_is_refused_and_named(ground: Ground) {
    let (nats, other) = (UserKey::generate(), UserKey::generate());
    let right = hello_with(7, &nats, 3);
    assert_eq!(say(&ground, &right).await.status, StatusCode::OK);
    let noted = row(&ground).await;
    let wrong = [
        ("receipt", hello_with(8, &nats, 3)),
        ("NATS", hello_with(7, &other, 3)),
        ("ticket", hello_with(7, &nats, 4)),
        ("NATS", Hello { keys: None, ..right.clone() }),
    ];
    for (name, hello) in wrong {
        let refused = say(&ground, &hello).await;
        assert_eq!(refused.code(), Code::NodeKeysDiffer, "{name}");
        let problem: Problem = refused.read();
        assert!(problem.detail.contains(&format!("{name} key")), "{name}: {problem}");
        assert_eq!(row(&ground).await, noted, "{name}");
    }
    assert_eq!(say(&ground, &right).await.status, StatusCode::OK);

    let mut strange = right.clone();
    strange.keys.as_mut().unwrap().nats = "UAAA".to_owned();
    assert_eq!(say(&ground, &strange).await.code(), Code::InvalidField);
    strange = right;
    strange.public_key = hello_with(9, &nats, 3).public_key;
    assert_eq!(say(&ground, &strange).await.code(), Code::InvalidField);
}

async fn a_hello_is_a_change_where_it_says_something_new(ground: Ground) {
    let (ada, machine) = (ground.user("ada@example.org", "ada").await, Machine::new(46));
    let node = joining::joined(&ground, &ada, &machine).await.node;
    let api = as_node(crate::api::nodes::api(ground.app.clone()), node);
    let say = async |hello: &Hello| {
        let answer = api.send(Method::POST, "/hello", Some(serde_json::to_value(hello).unwrap())).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    };
    let changes = async || {
        let of_node = audit::Entity::find().filter(audit::Column::Target.eq(node.to_string()));
        of_node.filter(audit::Column::Action.eq("node.hello")).count(ground.app.db.read()).await.unwrap()
    };
    let first = machine.hello();
    say(&first).await;
    let noted = joining::row(&ground, node).await;
    assert_eq!(changes().await, 1);
    for _ in 0..3 {
        say(&first).await;
    }
    assert_eq!(changes().await, 1, "it says the same each minute");
    let later = joining::row(&ground, node).await;
    assert!(later.hello >= noted.hello, "it was heard");
    assert_eq!(nodes::Model { hello: noted.hello, ..later }, noted);
    say(&Hello { cores: 1, ..first }).await;
    assert_eq!((changes().await, joining::row(&ground, node).await.cores), (2, 1));
}

async fn disks_are_on_record_of_the_operators_nodes_alone(ground: Ground) {
    let of = async |node: NodeId| {
        let records = records::all(&ground.app.db).await.unwrap();
        records.into_iter().find(|record| record.node == node).unwrap().disks
    };
    let disks = vec![StoreDisk { id: DiskId::new(), domain: "c0ffee/64769".to_owned() }];
    let plain = hello_with(7, &UserKey::generate(), 3);
    let with_disks = Hello { disks: disks.clone(), ..plain.clone() };
    assert_eq!(say(&ground, &with_disks).await.status, StatusCode::OK);
    assert_eq!(of(ground.node).await, disks);
    let rows = crate::db::loops::nodes_with_disks().all(ground.app.db.read()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id.0).collect::<Vec<_>>(), [ground.node]);

    // A lender's node that says the same is not asked to keep anything.
    let (ada, machine) = (ground.user("ada@example.org", "ada").await, Machine::new(47));
    let node = joining::joined(&ground, &ada, &machine).await.node;
    let api = as_node(crate::api::nodes::api(ground.app.clone()), node);
    let hello = Hello { disks: disks.clone(), ..machine.hello() };
    let answer = api.send(Method::POST, "/hello", Some(serde_json::to_value(&hello).unwrap())).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(of(node).await.is_empty());

    // Twice the same one is a mistake; none at all takes it from the record.
    let twice = Hello { disks: [disks.clone(), disks.clone()].concat(), ..plain.clone() };
    let refused = say(&ground, &twice).await;
    let field = refused.read::<Problem>().field.map(|field| field.to_string());
    assert_eq!((refused.code(), field.as_deref()), (Code::InvalidField, Some("disks")));
    assert_eq!(say(&ground, &plain).await.status, StatusCode::OK);
    assert!(of(ground.node).await.is_empty());
}

async fn keys_that_an_earlier_release_has_not_noted_are_noted_once(ground: Ground) {
    let (nats, other) = (UserKey::generate(), UserKey::generate());
    let right = hello_with(7, &nats, 3);
    // Its software named one key.
    assert_eq!(say(&ground, &Hello { keys: None, ..right.clone() }).await.status, StatusCode::OK);
    let earlier = row(&ground).await;
    assert_eq!((earlier.public_key, earlier.nats_key), (Some(right.public_key.clone()), None));
    assert_eq!(say(&ground, &right).await.status, StatusCode::OK);
    let noted = row(&ground).await;
    assert_eq!(noted.nats_key, Some(nats.public()));
    assert_eq!(noted.ticket_key, Some(PublicKey([3; 32]).to_string()));
    assert_eq!(say(&ground, &hello_with(7, &other, 3)).await.code(), Code::NodeKeysDiffer);
}

async fn a_copied_disk_and_an_older_folder_are_refused_and_named(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let machine = Machine::new(44);
    let node = joining::joined(&ground, &ada, &machine).await.node;
    let api = as_node(crate::api::nodes::api(ground.app.clone()), node);
    let say = async |fingerprint: Option<Fingerprint>, boot: u8| {
        let hello = Hello { fingerprint, boot: Some(BootKey([boot; 32])), ..machine.hello() };
        api.send(Method::POST, "/hello", Some(serde_json::to_value(hello).unwrap())).await
    };
    let of = |machine: &[u8], boot: &[u8], starts| {
        Some(Fingerprint { machine: Some(Digest::of(machine)), boot: Some(Digest::of(boot)), starts })
    };
    assert_eq!(say(of(b"a machine", b"monday", 1), 1).await.status, StatusCode::OK);
    assert_eq!(say(of(b"a machine", b"monday", 1), 1).await.status, StatusCode::OK, "the same start again");
    assert_eq!(say(of(b"a machine", b"tuesday", 4), 2).await.status, StatusCode::OK, "it was booted again");
    let noted = joining::row(&ground, node).await;
    assert_eq!(noted.name, "attic", "as it has joined, whatever its software calls it");
    for (fingerprint, code, named) in [
        (of(b"another", b"tuesday", 5), Code::NodeMachineDiffers, "its disk is a copy"),
        (None, Code::NodeMachineDiffers, "its disk is a copy"),
        (of(b"a machine", b"monday", 3), Code::NodeRestored, "3 times"),
        (of(b"a machine", b"tuesday", 4), Code::NodeRestored, "the same machine"),
        (of(b"a machine", b"friday", 4), Code::NodeRestored, "another machine"),
    ] {
        let refused = say(fingerprint, 3).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, code), "{named}");
        assert!(refused.read::<Problem>().detail.contains(named), "{named}: {refused:?}");
        assert_eq!(joining::row(&ground, node).await, noted, "{named}");
    }
    assert_eq!(say(of(b"a machine", b"tuesday", 5), 3).await.status, StatusCode::OK);
}

async fn operator_of(ground: &Ground) -> Client {
    let link = std::fs::read_to_string(ground.folder.path().join("operator.token")).unwrap();
    let asked = json!({
        "email": "op@example.org", "password": "correct horse", "account": "op", "operator_token": link.trim()
    });
    let signed_up = ground.anonymous().post("/signup", asked).await;
    ground.anonymous().with("cookie", &signed_up.cookie()).with("x-crowdcloud-account", "op")
}

async fn the_operator_suspends_and_lets_in_again(ground: Ground) {
    let operator = operator_of(&ground).await;
    let ada = ground.user("ada@example.org", "ada").await;
    let machine = Machine::new(45);
    let node = joining::joined(&ground, &ada, &machine).await.node;
    let suspend = async |client: &Client, reason: &str| {
        client.post(&format!("/nodes/{node}/suspend"), json!({"reason": reason})).await
    };
    let resume = async |client: &Client| client.post(&format!("/nodes/{node}/resume"), json!({})).await;
    assert_eq!(suspend(&ada, "envy").await.code(), Code::Forbidden);
    let key = suspend(&operator.key(&["admin"]).await, "envy").await;
    assert_eq!(key.code(), Code::Forbidden);
    assert!(key.read::<Problem>().detail.contains("needs a log-in"), "{key:?}");
    assert_eq!(suspend(&operator, " ").await.code(), Code::InvalidField);
    assert_eq!(resume(&operator).await.code(), Code::NodeState, "it is not suspended");
    assert_eq!(suspend(&operator, "it returns garbage").await.status, StatusCode::NO_CONTENT);
    let seen = async || -> Node {
        let nodes: Page<Node> = ada.get("/nodes").await.read();
        nodes.items.into_iter().find(|listed| listed.id == node).unwrap()
    };
    assert_eq!(
        (seen().await.state, seen().await.state_reason.as_deref()),
        (NodeState::Suspended, Some("it returns garbage"))
    );
    assert!(records::all(&ground.app.db).await.unwrap().iter().all(|record| record.node != node));
    let refused = joining::say_hello(&ground, node, &machine).await;
    assert_eq!(refused.code(), Code::NodeSuspended);
    assert!(refused.read::<Problem>().detail.contains("it returns garbage"));
    assert_eq!(resume(&ada).await.code(), Code::Forbidden);
    assert_eq!(resume(&operator).await.status, StatusCode::NO_CONTENT);
    assert_eq!(joining::say_hello(&ground, node, &machine).await.status, StatusCode::OK);
    assert!(seen().await.state_reason.is_none());
}

async fn who_is_suspended_may_leave(ground: Ground) {
    let (operator, ada) = (operator_of(&ground).await, ground.user("ada@example.org", "ada").await);
    let machine = Machine::new(48);
    let node = joining::joined(&ground, &ada, &machine).await.node;
    let suspended = operator.post(&format!("/nodes/{node}/suspend"), json!({"reason": "it returns garbage"})).await;
    assert_eq!(suspended.status, StatusCode::NO_CONTENT, "{suspended:?}");
    let ask = async |path: &str, wants: NodeWant| {
        let asked = serde_json::to_value(machine.wants(node, wants)).unwrap();
        ground.anonymous().post(path, asked).await
    };
    assert_eq!(ask("/nodes/renew", NodeWant::Renewal).await.code(), Code::NodeSuspended, "that alone");
    assert_eq!(ask("/nodes/leave", NodeWant::Leave).await.status, StatusCode::NO_CONTENT);
    assert_eq!(joining::row(&ground, node).await.state.0, NodeState::Left);
    assert_eq!(ask("/nodes/leave", NodeWant::Leave).await.code(), Code::NodeLeft);
}

async fn a_suspended_machine_comes_back_by_no_other_token(ground: Ground) {
    let (operator, ada) = (operator_of(&ground).await, ground.user("ada@example.org", "ada").await);
    let eve = ground.user("eve@example.org", "eve").await;
    let (first, second, other) = (Machine::new(49), Machine::new(50), Machine::new(51));
    let as_operator = async |node: NodeId, what: &str| {
        let answer = operator.post(&format!("/nodes/{node}/{what}"), json!({"reason": "lying about cores"})).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    };
    // All of them are one machine. What its owner revoked is not held against it.
    let revoked = joining::joined(&ground, &ada, &Machine::new(52)).await.node;
    assert_eq!(ada.post(&format!("/nodes/{revoked}/revoke"), json!({})).await.status, StatusCode::NO_CONTENT);
    let node = joining::joined(&ground, &ada, &first).await.node;
    as_operator(node, "suspend").await;
    let next = token(&ada).await;
    let refused = register(&ground, &second.asks(&next)).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, Code::NodeSuspended));
    let problem: Problem = refused.read();
    assert!(problem.detail.contains("lying about cores") && problem.help.contains(&node.to_string()), "{problem}");
    // For another account it is the same machine; of whose node it was, its owner learns nothing.
    let of_eve = token(&eve).await;
    let refused = register(&ground, &other.asks(&of_eve)).await;
    assert_eq!(refused.code(), Code::NodeSuspended);
    let problem: Problem = refused.read();
    assert!(problem.detail.contains(&node.to_string()), "{problem}");
    let told = format!("{} {}", problem.detail, problem.help).replace(&node.to_string(), "it");
    assert!(["lying", "attic", "ada"].iter().all(|secret| !told.contains(secret)), "{told}");
    // Others, be they behind the same address, join as ever.
    let elsewhere = joining::joined(&ground, &eve, &Machine::of(53, b"another machine")).await.node;
    // Leaving does not help; the operator does, before and after.
    let asked = serde_json::to_value(first.wants(node, NodeWant::Leave)).unwrap();
    assert_eq!(ground.anonymous().post("/nodes/leave", asked).await.status, StatusCode::NO_CONTENT);
    assert_eq!(register(&ground, &second.asks(&next)).await.code(), Code::NodeSuspended);
    as_operator(node, "resume").await;
    assert_eq!(joining::row(&ground, node).await.state.0, NodeState::Left, "for good");
    assert_eq!(register(&ground, &second.asks(&next)).await.status, StatusCode::OK);
    let third = admitted(&ground, &of_eve, &register(&ground, &other.asks(&of_eve)).await).await.node;
    // The operator sees who shares a machine; their owners do not.
    let shown = async |client: &Client| client.get(&format!("/nodes/{third}")).await.read::<NodeDetails>();
    assert_eq!(shown(&operator).await.same_machine.len(), 1);
    assert!(!shown(&operator).await.same_machine.contains(&elsewhere) && shown(&eve).await.same_machine.is_empty());
}

async fn a_revoked_node_is_shown_with_when_and_by_whom(ground: Ground) {
    let (operator, ada) = (operator_of(&ground).await, ground.user("ada@example.org", "ada").await);
    let mut nodes = Vec::new();
    for number in 54..58 {
        nodes.push(joining::joined(&ground, &ada, &Machine::new(number)).await.node);
    }
    let began = protocol::Timestamp::now();
    let post = async |client: &Client, node: NodeId, what: &str| {
        let answer = client.post(&format!("/nodes/{node}/{what}"), json!({"reason": "it returns garbage"})).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    };
    post(&ada, nodes[0], "revoke").await;
    post(&operator, nodes[1], "revoke").await;
    post(&operator, nodes[2], "suspend").await;
    let asked = serde_json::to_value(Machine::new(57).wants(nodes[3], NodeWant::Leave)).unwrap();
    assert_eq!(ground.anonymous().post("/nodes/leave", asked).await.status, StatusCode::NO_CONTENT);
    let shown = async |node: NodeId| ada.get(&format!("/nodes/{node}")).await.read::<NodeDetails>();
    for (node, state, by) in [
        (nodes[0], NodeState::Revoked, "ada@example.org"),
        (nodes[1], NodeState::Revoked, "the operator"),
        (nodes[2], NodeState::Suspended, "the operator"),
        (nodes[3], NodeState::Left, "the machine"),
    ] {
        let details = shown(node).await;
        assert_eq!((details.node.state, details.by.as_deref()), (state, Some(by)));
        assert!(details.since.unwrap() >= began && details.missing.is_empty() && details.node.level.is_none());
    }
    let by: NodeDetails = operator.get(&format!("/nodes/{}", nodes[1])).await.read();
    assert_eq!(by.by.as_deref(), Some("op@example.org"));
    post(&operator, nodes[2], "resume").await;
    assert_eq!(shown(nodes[2]).await.by, None);
    // The list leaves out those that are gone, unless all are asked for.
    let listed = async |query: &str| {
        let page: Page<Node> = ada.get(&format!("/nodes?{query}")).await.read();
        page.items.into_iter().filter(|node| node.own).map(|node| node.id).collect::<Vec<_>>()
    };
    assert_eq!(listed("").await, [nodes[2]], "it was let in again");
    nodes.sort();
    assert_eq!(listed("all=true").await, nodes);
}

async fn nodes_are_found_by_their_name(ground: Ground) {
    let (ada, eve) = (ground.user("ada@example.org", "ada").await, ground.user("eve@example.org", "eve").await);
    let (first, second) = (joining::joined(&ground, &ada, &Machine::new(58)).await.node, Machine::new(59));
    let made: protocol::api::NodeToken = ada.post("/nodes/tokens", json!({"name": "loft & cellar"})).await.read();
    let spent = register(&ground, &second.asks(&made.token.as_ref().unwrap().parse().unwrap())).await;
    assert_eq!(spent.status, StatusCode::OK, "{spent:?}");
    let called = async |client: &Client, name: &str| {
        let page: Page<Node> = client.get(&format!("/nodes?name={name}")).await.read();
        page.items.into_iter().map(|node| node.id).collect::<Vec<_>>()
    };
    assert_eq!(called(&ada, "attic").await, [first]);
    assert_eq!(called(&ada, "loft%20%26%20cellar").await, [made.node.unwrap()]);
    assert!(called(&ada, "att").await.is_empty() && called(&eve, "attic").await.is_empty());
    assert_eq!(ada.get("/nodes?name=%1b").await.code(), Code::InvalidField);
}

async fn when_a_node_was_heard_last_never_falls(ground: Ground) {
    let (operator, ada) = (operator_of(&ground).await, ground.user("ada@example.org", "ada").await);
    let machine = Machine::new(60);
    let node = joining::joined(&ground, &ada, &machine).await.node;
    assert_eq!(joining::say_hello(&ground, node, &machine).await.status, StatusCode::OK);
    let seen = async || ada.get(&format!("/nodes/{node}")).await.read::<Node>().last_seen.unwrap();
    let hello = seen().await;
    while protocol::Timestamp::now() == hello {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    ground.app.nodes.heard(&super::trust::report(node), std::time::Instant::now());
    let heard = seen().await;
    assert!(heard > hello);
    for what in ["suspend", "resume", "suspend"] {
        let asked = json!({"reason": "it returns garbage"});
        operator.post(&format!("/nodes/{node}/{what}"), asked).await;
        assert_eq!(seen().await, heard, "{what}");
    }
    // Another process has it from the row.
    assert_eq!(joining::row(&ground, node).await.seen, None);
    ground.app.nodes.note_seen(&ground.app.db, std::time::Duration::from_secs(60)).await.unwrap();
    assert_eq!(joining::row(&ground, node).await.seen, Some(Col(heard)));
    // A clock that goes back changes nothing.
    let later = nodes::ActiveModel {
        hello: sea_orm::ActiveValue::Set(Some(Col(super::settlement::later(60)))),
        ..Default::default()
    };
    nodes::Entity::update_many()
        .set(later)
        .filter(nodes::Column::Id.eq(Col(node)))
        .exec(ground.app.db.write())
        .await
        .unwrap();
    let later = seen().await;
    operator.post(&format!("/nodes/{node}/resume"), json!({})).await;
    assert_eq!(joining::say_hello(&ground, node, &machine).await.status, StatusCode::OK);
    assert_eq!(seen().await, later);
}

async fn a_hello_of_a_clock_far_ahead_gives_way_to_the_next(ground: Ground) {
    let (ada, machine) = (ground.user("ada@example.org", "ada").await, Machine::new(61));
    let node = joining::joined(&ground, &ada, &machine).await.node;
    let tomorrow = protocol::Timestamp::now().plus(std::time::Duration::from_secs(86_400));
    let wrong = nodes::ActiveModel { hello: sea_orm::ActiveValue::Set(Some(Col(tomorrow))), ..Default::default() };
    // The first one says something new, the second one does not.
    for _ in 0..2 {
        nodes::Entity::update_many()
            .set(wrong.clone())
            .filter(nodes::Column::Id.eq(Col(node)))
            .exec(ground.app.db.write())
            .await
            .unwrap();
        assert_eq!(joining::say_hello(&ground, node, &machine).await.status, StatusCode::OK);
        assert!(joining::row(&ground, node).await.hello.unwrap().0 <= protocol::Timestamp::now());
    }
}

async fn at_a_stop_it_is_noted_of_all_nodes_when_they_were_heard(ground: Ground) {
    let now = std::time::Instant::now();
    ground.app.nodes.heard(&super::trust::report(ground.node), now);
    for _ in 0..1500 {
        ground.app.nodes.heard(&super::trust::report(NodeId::new()), now);
    }
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    registry::note_seen(ground.app.clone(), stop).await;
    assert!(row(&ground).await.seen.is_some());
    let is_more = ground.app.nodes.note_seen(&ground.app.db, std::time::Duration::ZERO).await.unwrap();
    assert!(!is_more, "of some it is not noted");
}

const AGREED: Caps =
    Caps { cores: 4, memory: ByteSize::mib(2048), disk: ByteSize::mib(4096), traffic: None, egress: false };

/// A node of this user's account.
async fn node_of(ground: &Ground, client: &Client, machine: &Machine) -> NodeId {
    let token = token(client).await;
    let answer = register(ground, &machine.asks(&token)).await;
    admitted(ground, &token, &answer).await.node
}

/// What the platform says to a hello with which these caps were agreed.
async fn greeted(ground: &Ground, node: NodeId, machine: &Machine) -> HelloReply {
    let hello = Hello { agreed: Some(AGREED), ..machine.hello() };
    let api = as_node(crate::api::nodes::api(ground.app.clone()), node);
    api.send(Method::POST, "/hello", Some(serde_json::to_value(hello).unwrap())).await.read()
}

async fn an_owner_lowers_caps_from_afar_and_raises_none(ground: Ground) {
    let (ada, machine) = (ground.user("ada@example.org", "ada").await, Machine::new(41));
    let node = node_of(&ground, &ada, &machine).await;
    assert_eq!(greeted(&ground, node, &machine).await.wish, None);
    let path = format!("/nodes/{node}/wish");
    let set = ada.put(&path, json!({"caps": {"cores": 1, "memory": "1GiB"}})).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let detail: NodeDetails = set.read();
    assert_eq!((detail.node.id, detail.node.own, detail.agreed), (node, true, Some(AGREED)));
    let wish = detail.wish.unwrap();
    assert_eq!((wish.caps.cores, wish.caps.memory), (Some(1), Some(ByteSize::mib(1024))));
    let told = greeted(&ground, node, &machine).await.wish.unwrap();
    assert_eq!((told.revision, told.wish), (1, wish));

    // What stands there does not matter here.
    let ada = ada.with("if-match", "*");
    for (cap, value) in
        [("cores", json!(5)), ("memory", json!("3GiB")), ("disk", json!("5GiB")), ("egress", json!(true))]
    {
        let problem: Problem = ada.put(&path, json!({"caps": {(cap): value}})).await.read();
        assert_eq!(problem.field.as_ref().unwrap().as_str(), format!("caps.{cap}"), "{problem}");
        assert!(problem.help.contains(&format!("crowdcloud lend caps set --{cap}")), "{problem}");
    }
    for (body, field, said) in [
        (json!({"caps": {"cores": 0}}), "caps.cores", "at least 1 is lent"),
        (json!({"caps": {"memory": 0}}), "caps.memory", "at least 16MiB is lent"),
        (json!({"caps": {"disk": "63MiB"}}), "caps.disk", "at least 64MiB is lent"),
        (json!({"caps": {"traffic": 0}}), "caps.traffic", "at least 1MiB is lent"),
        (json!({"pause": {"until": "2001-01-01T00:00:00Z"}}), "pause.until", "this time is over"),
    ] {
        let problem: Problem = ada.put(&path, body).await.read();
        assert!(problem.detail.contains(said), "{problem}");
        assert_eq!((problem.code, problem.field.unwrap().as_str()), (Code::InvalidField, field));
    }
    assert_eq!(greeted(&ground, node, &machine).await.wish, Some(told), "what was refused changes nothing");
    // All as it was agreed again.
    assert_eq!(ada.put(&path, json!({})).await.status, StatusCode::OK);
    let told = greeted(&ground, node, &machine).await.wish.unwrap();
    assert_eq!((told.revision, told.wish), (2, protocol::node::NodeWish::default()));
}

async fn who_has_not_seen_another_s_wish_does_not_overwrite_it(ground: Ground) {
    let (ada, machine) = (ground.user("ada@example.org", "ada").await, Machine::new(47));
    let node = node_of(&ground, &ada, &machine).await;
    let (show, path) = (format!("/nodes/{node}"), format!("/nodes/{node}/wish"));
    // Two browsers show the same page.
    let first = ada.get(&show).await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(first.read::<NodeDetails>().etag.as_ref(), Some(&tag));
    let browser = ada.with("if-match", &tag);
    let one = browser.put(&path, json!({"caps": {"cores": 1}})).await;
    assert_eq!(one.status, StatusCode::OK, "{one:?}");
    let refused = browser.put(&path, json!({"caps": {"memory": "1GiB"}})).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::PRECONDITION_FAILED, Code::PreconditionFailed));
    let kept: NodeDetails = ada.get(&show).await.read();
    assert_eq!(kept.wish.unwrap().caps, CapsWish { cores: Some(1), ..CapsWish::default() });
    let silent = ada.put(&path, json!({})).await;
    assert_eq!((silent.status.as_u16(), silent.code()), (428, Code::PreconditionRequired), "it has not looked");
    // Whoever has seen it, or says that it does not matter, goes on.
    let seen = ada.with("if-match", one.headers["etag"].to_str().unwrap());
    assert_eq!(seen.put(&path, json!({"caps": {"cores": 1}, "pause": {}})).await.status, StatusCode::OK);
    assert_eq!(ada.with("if-match", "*").put(&path, json!({})).await.status, StatusCode::OK);
    assert_eq!(ada.put(&path, json!({"pause": {}})).await.status, StatusCode::OK, "nothing is wished for any more");
    // Nobody else learns of it.
    let eve = ground.user("eve@example.org", "eve").await;
    let strange = eve.get(&format!("/nodes/{}", ground.node)).await;
    assert!(strange.headers.get("etag").is_none() && strange.read::<NodeDetails>().etag.is_none());
}

async fn a_node_is_its_owner_s_to_see_and_to_pause(ground: Ground) {
    let (ada, eve) = (ground.user("ada@example.org", "ada").await, ground.user("eve@example.org", "eve").await);
    let machine = Machine::new(42);
    let node = node_of(&ground, &ada, &machine).await;
    let (show, path) = (format!("/nodes/{node}"), format!("/nodes/{node}/wish"));
    assert_eq!(eve.get(&show).await.code(), Code::NotFound);
    assert_eq!(eve.put(&path, json!({})).await.code(), Code::NotFound);
    assert_eq!(ada.key(&["deploy"]).await.put(&path, json!({})).await.code(), Code::Forbidden);
    // The operator's nodes are seen by all, and changed by nobody else.
    let seen: NodeDetails = eve.get(&format!("/nodes/{}", ground.node)).await.read();
    assert!(!seen.node.own && seen.agreed.is_none() && seen.wish.is_none() && seen.node.owner.is_none());
    assert_eq!(eve.put(&format!("/nodes/{}/wish", ground.node), json!({})).await.code(), Code::NotFound);

    let paused: NodeDetails = ada.put(&path, json!({"pause": {}})).await.read();
    let pause = paused.wish.unwrap().pause.unwrap();
    assert!(pause.since.is_some(), "it is told from the next one");
    let kept = json!({"caps": {"cores": 1}, "pause": pause});
    let ada = ada.with("if-match", "*");
    let kept: NodeDetails = ada.put(&path, kept).await.read();
    assert_eq!(kept.wish.unwrap().pause, Some(pause));
    for body in [json!({}), json!({"pause": {"drain": true}})] {
        assert_eq!(ada.put(&path, body).await.status, StatusCode::OK);
    }
    let changes: Page<AuditEntry> = ada.get(&format!("/audit?subject={node}")).await.read();
    let actions: Vec<&str> = changes.items.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["node.drain", "node.resume", "node.caps", "node.pause", "node.register"]);

    assert_eq!(ada.post(&format!("/nodes/{node}/revoke"), json!({})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.put(&path, json!({})).await.code(), Code::NodeLeft);
}
