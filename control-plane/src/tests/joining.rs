//! How machines join, renew and leave: with good tokens and with all others.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use fabric::UserKey;
use http::{Method, StatusCode};
use protocol::api::{AskAsNode, Node, NodeToken, Page, RegisterNode};
use protocol::node::{
    Admission, Fingerprint, Hello, JoinToken, NodeRecord, NodeRequest, NodeState, NodeWant, Nonce, PROTOCOL_MAX,
    PROTOCOL_MIN, PlatformStatement, Probe, PublicKey, PublicKeys, Registration, Signature, TokenQuery, TokenSeed,
    TokenTerms,
};
use protocol::signed::{self, Signed};
use protocol::{ByteSize, Code, Digest, Lane, NodeId, PlacementClass, Problem, Timestamp, TokenId, headers};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::json;

use super::harness::{Answer, Client, Ground, suite};
use super::settlement::{as_node, hello_of, later};
use crate::db::columns::Col;
use crate::db::entities::{node_tokens, nodes};
use crate::nodes::records;
use crate::{LocalJoin, LocalNode};

suite!(
    a_token_makes_a_node_once,
    a_token_is_looked_at_before_it_is_spent,
    tokens_are_listed_and_deleted,
    a_lost_reply_is_given_again,
    tokens_that_are_used_expired_or_forged,
    a_token_of_another_platform,
    keys_are_of_one_node,
    nobody_registers_what_cannot_be,
    a_node_renews_and_leaves,
    a_revoked_node_is_heard_by_nobody,
    the_gateways_certificate_is_named_by_the_platforms_key,
    a_local_node_joins_and_is_adopted,
    tokens_have_a_bound,
);

/// A machine's keys.
pub(crate) struct Machine {
    pub(crate) receipt: SigningKey,
    pub(crate) nats: UserKey,
    ticket: u8,
    /// As it tells.
    id: Digest,
}

impl Machine {
    /// One whose keys are of this number. All of these are the same machine.
    pub(crate) fn new(number: u8) -> Self {
        Self::of(number, b"a machine")
    }

    /// One of this id.
    pub(crate) fn of(number: u8, id: &[u8]) -> Self {
        let receipt = SigningKey::from_bytes(&[number; 32]);
        Self { receipt, nats: UserKey::generate(), ticket: number, id: Digest::of(id) }
    }

    fn keys(&self) -> PublicKeys {
        PublicKeys {
            nats: self.nats.public(),
            receipt: PublicKey(self.receipt.verifying_key().to_bytes()),
            ticket: PublicKey([self.ticket; 32]),
        }
    }

    fn registration(&self, token: TokenId) -> Registration {
        Registration {
            token,
            nonce: Nonce(rand::random()),
            keys: self.keys(),
            machine: Some(self.id),
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            probe: Probe {
                name: "attic".to_owned(),
                software: "test".to_owned(),
                arch: "x86_64".to_owned(),
                os: "linux".to_owned(),
                cores: 4,
                memory: ByteSize::mib(2048),
                slots: 8,
                disk: None,
                turns_per_ms: None,
                lanes: vec![Lane::Wasm],
                accelerator: None,
            },
        }
    }

    /// All that must sign it has signed it.
    fn signed(&self, registration: &Registration, seed: &TokenSeed) -> RegisterNode {
        let text = serde_json::to_string(registration).unwrap();
        let message = signed::message::<Registration>(&text);
        RegisterNode {
            token_signature: signed::sign::<Registration>(&text, &SigningKey::from_bytes(&seed.0)),
            receipt_signature: signed::sign::<Registration>(&text, &self.receipt),
            nats_signature: Signature(self.nats.sign(&message).unwrap()),
            registration: text,
        }
    }

    pub(crate) fn asks(&self, token: &JoinToken) -> RegisterNode {
        self.signed(&self.registration(token.id), &token.seed)
    }

    pub(crate) fn wants(&self, node: NodeId, wants: NodeWant) -> AskAsNode {
        let request = NodeRequest { node, wants, nonce: Nonce(rand::random()) };
        let text = serde_json::to_string(&request).unwrap();
        AskAsNode { signature: signed::sign::<NodeRequest>(&text, &self.receipt), request: text }
    }

    pub(crate) fn hello(&self) -> Hello {
        let fingerprint = Fingerprint { machine: Some(self.id), boot: None, starts: 1 };
        Hello { keys: Some(self.keys()), fingerprint: Some(fingerprint), ..hello_of(&self.receipt) }
    }
}

pub(crate) async fn token(client: &Client) -> JoinToken {
    let made = client.post("/nodes/tokens", json!({})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    made.read::<NodeToken>().token.unwrap().parse().unwrap()
}

pub(crate) async fn register(ground: &Ground, asked: &RegisterNode) -> Answer {
    ground.anonymous().post("/nodes/register", serde_json::to_value(asked).unwrap()).await
}

async fn platform(ground: &Ground) -> Signed {
    ground.anonymous().get("/platform").await.read()
}

/// What the platform has told the machine.
pub(crate) async fn admitted(ground: &Ground, token: &JoinToken, answer: &Answer) -> Admission {
    let statement: PlatformStatement = platform(ground).await.open(&token.root).unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.read::<Signed>().open(&statement.registrar).unwrap()
}

pub(crate) async fn joined(ground: &Ground, client: &Client, machine: &Machine) -> Admission {
    let token = token(client).await;
    let answer = register(ground, &machine.asks(&token)).await;
    admitted(ground, &token, &answer).await
}

pub(crate) async fn row(ground: &Ground, node: NodeId) -> nodes::Model {
    nodes::Entity::find_by_id(Col(node)).one(ground.app.db.read()).await.unwrap().unwrap()
}

pub(crate) async fn say_hello(ground: &Ground, node: NodeId, machine: &Machine) -> Answer {
    let api = as_node(crate::api::nodes::api(ground.app.clone()), node);
    api.send(Method::POST, "/hello", Some(serde_json::to_value(machine.hello()).unwrap())).await
}

async fn change_token(ground: &Ground, token: TokenId, change: node_tokens::ActiveModel) {
    let of_token = node_tokens::Column::Id.eq(Col(token));
    node_tokens::Entity::update_many().set(change).filter(of_token).exec(ground.app.db.write()).await.unwrap();
}

fn earlier(seconds: i64) -> Timestamp {
    Timestamp(Timestamp::now().0 - seconds * 1000)
}

async fn a_token_makes_a_node_once(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let told = ada.with("x-forwarded-proto", "https").with("x-forwarded-host", "cloud.example.org");
    let made: NodeToken = told.post("/nodes/tokens", json!({"name": "basement"})).await.read();
    let token: JoinToken = made.token.as_ref().unwrap().parse().unwrap();
    assert_eq!((token.origin.as_str(), token.id), ("https://cloud.example.org", made.id));
    let node_of_token = made.node.unwrap();
    let hour = made.expires.since(Timestamp::now());
    assert!(hour > Duration::from_secs(3590) && hour <= Duration::from_secs(3600), "{hour:?}");
    // Only the public half is kept.
    let kept = node_tokens::Entity::find_by_id(Col(token.id)).one(ground.app.db.read()).await.unwrap().unwrap();
    let public = PublicKey(SigningKey::from_bytes(&token.seed.0).verifying_key().to_bytes());
    assert_eq!(kept.public_key, public.to_string());

    let machine = Machine::new(11);
    let answer = register(&ground, &machine.asks(&token)).await;
    let admission = admitted(&ground, &token, &answer).await;
    assert_eq!((admission.node, admission.account.as_deref()), (node_of_token, Some("ada")));
    assert_eq!((&admission.nats, admission.protocol), (&machine.nats.public(), PROTOCOL_MAX));
    let day = admission.expires.since(Timestamp::now());
    assert!(day > Duration::from_secs(86_000) && day <= Duration::from_secs(86_400), "{day:?}");

    let listed = async || -> Node {
        let nodes: Page<Node> = ada.get("/nodes").await.read();
        nodes.items.into_iter().find(|node| node.id == node_of_token).unwrap()
    };
    let node = listed().await;
    assert_eq!((node.name.as_str(), node.state, node.class), ("basement", NodeState::Joining, PlacementClass::Any));
    assert_eq!(say_hello(&ground, node_of_token, &machine).await.status, StatusCode::OK);
    assert_eq!(row(&ground, node_of_token).await.state.0, NodeState::Calibrating, "nothing of it is known yet");
    assert_eq!(listed().await.state, NodeState::Offline, "it does not report");
    assert_eq!(say_hello(&ground, node_of_token, &Machine::new(11)).await.code(), Code::NodeKeysDiffer);
}

async fn a_token_is_looked_at_before_it_is_spent(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let (token, machine, other) = (token(&ada).await, Machine::new(40), Machine::new(41));
    let look = async |token: &JoinToken, machine: &Machine| {
        let query = TokenQuery { token: token.id, keys: machine.keys(), nonce: Nonce([7; 32]) };
        let text = serde_json::to_string(&query).unwrap();
        let signature = signed::sign::<TokenQuery>(&text, &SigningKey::from_bytes(&token.seed.0));
        ground.anonymous().post("/nodes/tokens/look", json!({"query": text, "signature": signature})).await
    };
    let statement: PlatformStatement = platform(&ground).await.open(&token.root).unwrap();
    let terms = look(&token, &machine).await;
    assert_eq!(terms.status, StatusCode::OK, "{terms:?}");
    let terms: TokenTerms = terms.read::<Signed>().open(&statement.registrar).unwrap();
    assert_eq!(
        (terms.account.as_deref(), terms.nonce, terms.class),
        (Some("ada"), Nonce([7; 32]), PlacementClass::Any)
    );
    let forged = JoinToken { seed: TokenSeed([1; 32]), ..token.clone() };
    assert_eq!(look(&forged, &machine).await.code(), Code::NodeTokenInvalid);
    // It is not spent; once it is, only its own machine is told still.
    assert_eq!(register(&ground, &machine.asks(&token)).await.status, StatusCode::OK);
    assert_eq!(look(&token, &machine).await.status, StatusCode::OK);
    assert_eq!(look(&token, &other).await.code(), Code::NodeTokenUsed);
}

async fn tokens_are_listed_and_deleted(ground: Ground) {
    let (ada, eve) = (ground.user("ada@example.org", "ada").await, ground.user("eve@example.org", "eve").await);
    let (first, second) = (token(&ada).await, token(&ada).await);
    assert_eq!(register(&ground, &Machine::new(42).asks(&first)).await.status, StatusCode::OK);
    let listed: Page<NodeToken> = ada.get("/nodes/tokens").await.read();
    let shown: Vec<_> =
        listed.items.iter().map(|token| (token.id, token.used.is_some(), token.node.is_some())).collect();
    assert_eq!(shown, [(second.id, false, false), (first.id, true, true)], "a node is there once it has joined");
    assert!(listed.items.iter().all(|token| token.token.is_none()), "shown once");
    let page: Page<NodeToken> = ada.get("/nodes/tokens?limit=1").await.read();
    let next: Page<NodeToken> = ada.get(&format!("/nodes/tokens?limit=1&cursor={}", page.next.unwrap())).await.read();
    assert_eq!(next.items[0].id, first.id);
    assert!(eve.get("/nodes/tokens").await.read::<Page<NodeToken>>().items.is_empty());

    let delete = async |client: &Client| client.delete(&format!("/nodes/tokens/{}", second.id)).await;
    assert_eq!(delete(&eve).await.code(), Code::NotFound);
    assert_eq!(delete(&ada).await.status, StatusCode::NO_CONTENT);
    assert_eq!(register(&ground, &Machine::new(43).asks(&second)).await.code(), Code::NodeTokenInvalid);
    assert_eq!(delete(&ada).await.code(), Code::NotFound);
}

async fn a_lost_reply_is_given_again(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let (token, machine) = (token(&ada).await, Machine::new(12));
    let asked = machine.asks(&token);
    let first = register(&ground, &asked).await;
    let admission = admitted(&ground, &token, &first).await;
    assert_eq!(register(&ground, &asked).await.body, first.body);
    // A machine that was started again asks with another nonce.
    assert_eq!(register(&ground, &machine.asks(&token)).await.body, first.body);
    let nodes: Page<Node> = ada.get("/nodes").await.read();
    assert_eq!(nodes.items.iter().filter(|node| node.id == admission.node).count(), 1);
    let later = node_tokens::ActiveModel { used: Set(Some(Col(earlier(601)))), ..Default::default() };
    change_token(&ground, token.id, later).await;
    let refused = register(&ground, &asked).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::GONE, Code::NodeTokenUsed));
    let problem: Problem = refused.read();
    assert!(problem.detail.contains(&admission.node.to_string()) && problem.help.contains("lend"), "{problem}");
}

async fn tokens_that_are_used_expired_or_forged(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let (used, machine, other) = (token(&ada).await, Machine::new(13), Machine::new(14));
    assert_eq!(register(&ground, &machine.asks(&used)).await.status, StatusCode::OK);
    let refused = register(&ground, &other.asks(&used)).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::GONE, Code::NodeTokenUsed));
    assert!(refused.read::<Problem>().help.contains("nodes tokens create"), "it says what to do");

    let expired = token(&ada).await;
    let past = node_tokens::ActiveModel { expires: Set(Col(earlier(1))), ..Default::default() };
    change_token(&ground, expired.id, past).await;
    let refused = register(&ground, &other.asks(&expired)).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::GONE, Code::NodeTokenExpired));

    // Its id is known, its seed is not.
    let known = token(&ada).await;
    let forged = JoinToken { seed: TokenSeed([1; 32]), ..known.clone() };
    assert_eq!(register(&ground, &other.asks(&forged)).await.code(), Code::NodeTokenInvalid);
    let unknown = JoinToken { id: TokenId::new(), ..known.clone() };
    assert_eq!(register(&ground, &other.asks(&unknown)).await.code(), Code::NodeTokenInvalid);
    // What was refused has not spent it.
    assert_eq!(register(&ground, &other.asks(&known)).await.status, StatusCode::OK);
}

async fn a_token_of_another_platform(ground: Ground) {
    let other = Ground::sqlite().await;
    let eve = other.user("eve@example.org", "eve").await;
    let token = token(&eve).await;
    let machine = Machine::new(15);
    assert_eq!(register(&ground, &machine.asks(&token)).await.code(), Code::NodeTokenInvalid);
    // The machine sees it first: the platform that answers has not the key that the token pins.
    assert!(platform(&ground).await.open::<PlatformStatement>(&token.root).is_err());
    let right: PlatformStatement = platform(&other).await.open(&token.root).unwrap();
    assert_eq!((right.root, right.protocol_min), (token.root, PROTOCOL_MIN));
    let mut changed = platform(&other).await;
    changed.text = changed.text.replace(&right.registrar.to_string(), &PublicKey([9; 32]).to_string());
    assert!(changed.open::<PlatformStatement>(&token.root).is_err());
}

async fn keys_are_of_one_node(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let machine = Machine::new(16);
    joined(&ground, &ada, &machine).await;
    // A copied disk with a token of its own.
    let second = token(&ada).await;
    let refused = register(&ground, &machine.asks(&second)).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, Code::NodeKeysTaken));
    // One of the keys is enough, and named.
    for (name, copy) in [
        ("receipt", Machine { ticket: 90, ..Machine::new(16) }),
        ("ticket", Machine { ticket: 16, ..Machine::new(91) }),
    ] {
        let refused = register(&ground, &copy.asks(&second)).await;
        assert_eq!(refused.code(), Code::NodeKeysTaken, "{name}");
        assert!(refused.read::<Problem>().detail.contains(name), "{name}: {refused:?}");
    }
    // Somebody else's public keys cannot be registered.
    let thief = Machine::new(17);
    let registration = Registration { keys: Machine::new(18).keys(), ..thief.registration(second.id) };
    let refused = register(&ground, &thief.signed(&registration, &second.seed)).await;
    let problem: Problem = refused.read();
    assert_eq!(problem.field.unwrap().as_str(), "receipt_signature");
    let registration = Registration {
        keys: PublicKeys { nats: Machine::new(1).nats.public(), ..thief.keys() },
        ..thief.registration(second.id)
    };
    let problem: Problem = register(&ground, &thief.signed(&registration, &second.seed)).await.read();
    assert_eq!(problem.field.unwrap().as_str(), "nats_signature");
    // With keys of its own the copy joins.
    assert_eq!(register(&ground, &thief.asks(&second)).await.status, StatusCode::OK);
}

async fn nobody_registers_what_cannot_be(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let (token, machine) = (token(&ada).await, Machine::new(19));
    let good = machine.registration(token.id);
    let probe = |change: fn(&mut Probe)| {
        let mut registration = good.clone();
        change(&mut registration.probe);
        registration
    };
    let cases = [
        ("registration.probe.cores", probe(|probe| probe.cores = 0)),
        ("registration.probe.arch", probe(|probe| probe.arch = "\u{1b}[31m".to_owned())),
        ("registration.probe.memory", probe(|probe| probe.memory = ByteSize(u64::MAX))),
        ("registration.protocol_max", Registration { protocol_min: 1, protocol_max: 1, ..good.clone() }),
        (
            "registration.keys.nats",
            Registration { keys: PublicKeys { nats: "UAAA".to_owned(), ..machine.keys() }, ..good.clone() },
        ),
    ];
    for (field, registration) in cases {
        let refused = register(&ground, &machine.signed(&registration, &token.seed)).await;
        assert_eq!(refused.code(), Code::InvalidField, "{field}: {refused:?}");
        assert_eq!(refused.read::<Problem>().field.unwrap().as_str(), field);
    }
    let garbage = RegisterNode { registration: "{".to_owned(), ..machine.asks(&token) };
    assert_eq!(register(&ground, &garbage).await.read::<Problem>().field.unwrap().as_str(), "registration");
    // What was changed on its way is no longer signed.
    let mut changed = machine.asks(&token);
    changed.registration = changed.registration.replace("attic", "cellar");
    assert_eq!(register(&ground, &changed).await.code(), Code::NodeTokenInvalid);
}

async fn a_node_renews_and_leaves(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let (machine, thief) = (Machine::new(20), Machine::new(21));
    let token = token(&ada).await;
    let answer = register(&ground, &machine.asks(&token)).await;
    let node = admitted(&ground, &token, &answer).await.node;
    let ask =
        async |path: &str, asked: AskAsNode| ground.anonymous().post(path, serde_json::to_value(asked).unwrap()).await;
    let renewed = ask("/nodes/renew", machine.wants(node, NodeWant::Renewal)).await;
    let renewed = admitted(&ground, &token, &renewed).await;
    assert_eq!((renewed.node, renewed.nats), (node, machine.nats.public()));
    let refused = ask("/nodes/renew", thief.wants(node, NodeWant::Renewal)).await;
    assert_eq!(refused.code(), Code::NodeKeysDiffer);
    assert_eq!(ask("/nodes/leave", machine.wants(node, NodeWant::Renewal)).await.code(), Code::InvalidField);
    assert_eq!(ask("/nodes/leave", thief.wants(node, NodeWant::Leave)).await.code(), Code::NodeKeysDiffer);
    let stranger = ask("/nodes/renew", machine.wants(NodeId::new(), NodeWant::Renewal)).await;
    assert_eq!(stranger.code(), Code::NotFound);

    let left = ask("/nodes/leave", machine.wants(node, NodeWant::Leave)).await;
    assert_eq!(left.status, StatusCode::NO_CONTENT, "{left:?}");
    assert_eq!(row(&ground, node).await.state.0, NodeState::Left);
    let nodes: Page<Node> = ada.get("/nodes").await.read();
    assert!(nodes.items.iter().all(|listed| listed.id != node));
    assert_eq!(ask("/nodes/renew", machine.wants(node, NodeWant::Renewal)).await.code(), Code::NodeLeft);
    assert_eq!(say_hello(&ground, node, &machine).await.code(), Code::NodeLeft);
}

async fn a_revoked_node_is_heard_by_nobody(ground: Ground) {
    let (ada, eve) = (ground.user("ada@example.org", "ada").await, ground.user("eve@example.org", "eve").await);
    let machine = Machine::new(22);
    let node = joined(&ground, &ada, &machine).await.node;
    assert_eq!(say_hello(&ground, node, &machine).await.status, StatusCode::OK);
    let on_record = async || records::all(&ground.app.db).await.unwrap().into_iter().any(|record| record.node == node);
    assert!(on_record().await);
    // What a gateway asks to which it connects.
    let looked_up =
        async |node: NodeId| ground.anonymous().send(Method::GET, &format!("/internal/nodes/{node}"), None).await;
    assert_eq!(looked_up(node).await.read::<NodeRecord>().key, Some(machine.keys().receipt));
    assert_eq!(looked_up(NodeId::new()).await.code(), Code::NotFound);
    let revoke = async |client: &Client| client.post(&format!("/nodes/{node}/revoke"), json!({})).await;
    assert_eq!(revoke(&eve).await.code(), Code::NotFound);
    assert_eq!(revoke(&ada.key(&["deploy"]).await).await.code(), Code::Forbidden);
    assert_eq!(revoke(&ada).await.status, StatusCode::NO_CONTENT);
    assert!(!on_record().await, "gateways forget it");
    assert_eq!(looked_up(node).await.code(), Code::NodeLeft);
    assert_eq!(say_hello(&ground, node, &machine).await.code(), Code::NodeLeft);
    let logs = as_node(crate::api::nodes::log(ground.app.clone()), node);
    assert_eq!(logs.send(Method::POST, "/logs", Some(json!([]))).await.code(), Code::NodeLeft);
    assert_eq!(revoke(&ada).await.code(), Code::NodeLeft);
    // Its keys do not come back by another token.
    let again = token(&ada).await;
    assert_eq!(register(&ground, &machine.asks(&again)).await.code(), Code::NodeKeysTaken);
}

async fn the_gateways_certificate_is_named_by_the_platforms_key(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let token = token(&ada).await;
    let named = async |header: Option<&str>| {
        let nobody = ground.anonymous();
        let asker = header.map_or_else(|| nobody.clone(), |header| nobody.with(headers::CERTIFICATE, header));
        let statement: Signed = asker.get("/platform").await.read();
        statement.open::<PlatformStatement>(&token.root).unwrap().certificate
    };
    let key = Digest::of(b"the key of a certificate");
    assert_eq!(named(Some(&key.to_string())).await, Some(key));
    assert_eq!((named(None).await, named(Some("nonsense")).await), (None, None));
}

async fn a_local_node_joins_and_is_adopted(ground: Ground) {
    let (machine, seed, id) = (Machine::new(23), TokenSeed([23; 32]), NodeId::new());
    let join = LocalJoin {
        token_key: PublicKey(SigningKey::from_bytes(&seed.0).verifying_key().to_bytes()),
        register: machine.signed(&machine.registration(TokenId::new()), &seed),
    };
    let local = LocalNode { id, name: "local-1".to_owned(), class: PlacementClass::Operator, join: Some(join) };
    let url = ground.app.config.database.clone();
    let again = async |local: LocalNode| Ground::on(url.clone(), |config| config.local_nodes = vec![local]).await;
    let first = again(local.clone()).await;
    let noted = row(&first, id).await;
    assert_eq!((noted.account_id, noted.state.0), (None, NodeState::Joining));
    assert_eq!((noted.nats_key.clone(), noted.name.as_str()), (Some(machine.nats.public()), "local-1"));
    // Another start with the same keys changes nothing; other keys are not taken.
    assert_eq!(row(&again(local.clone()).await, id).await, noted);
    let other = Machine::new(24);
    let register = other.signed(&other.registration(TokenId::new()), &seed);
    let changed = LocalJoin { register, ..local.join.clone().unwrap() };
    let last = again(LocalNode { join: Some(changed), ..local }).await;
    assert_eq!(row(&last, id).await.nats_key, noted.nats_key);
    assert_eq!(say_hello(&last, id, &other).await.code(), Code::NodeKeysDiffer);
    assert_eq!(say_hello(&last, id, &machine).await.status, StatusCode::OK);

    let link = std::fs::read_to_string(last.folder.path().join("operator.token")).unwrap();
    let asked = json!({
        "email": "op@example.org", "password": "correct horse", "account": "op", "operator_token": link.trim()
    });
    assert_eq!(last.anonymous().post("/signup", asked).await.status, StatusCode::CREATED);
    assert!(row(&last, id).await.account_id.is_some(), "the operator has it");
}

async fn tokens_have_a_bound(ground: Ground) {
    let ground = Ground::on(ground.app.config.database.clone(), |config| {
        config.node_tokens_max = 2;
        config.nodes_max = 1;
    })
    .await;
    let ada = ground.user("ada@example.org", "ada").await;
    let (first, second) = (token(&ada).await, token(&ada).await);
    assert_eq!(ada.post("/nodes/tokens", json!({})).await.code(), Code::LimitReached);
    assert_eq!(ada.post("/nodes/tokens", json!({"name": " "})).await.code(), Code::InvalidField);
    assert_eq!(register(&ground, &Machine::new(25).asks(&first)).await.status, StatusCode::OK);
    assert_eq!(register(&ground, &Machine::new(26).asks(&second)).await.code(), Code::LimitReached);
    let reader = ada.key(&["read"]).await;
    assert_eq!(reader.post("/nodes/tokens", json!({})).await.code(), Code::Forbidden);
    // Ended ones go, a week later.
    let old = Timestamp(later(0).0 - 8 * 86_400_000);
    let past = node_tokens::ActiveModel { expires: Set(Col(old)), ..Default::default() };
    change_token(&ground, first.id, past).await;
    crate::nodes::tokens::prune(&ground.app.db).await.unwrap();
    let kept = node_tokens::Entity::find_by_id(Col(first.id)).one(ground.app.db.read()).await.unwrap();
    assert!(kept.is_none());
}
