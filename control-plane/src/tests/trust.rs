//! How far nodes are trusted: by checks, by time, by what the operator and their owners say.

use std::time::Instant;

use http::StatusCode;
use protocol::api::{Function, NodeDetails, Version, Vouch};
use protocol::job::Job;
use protocol::node::{CheckOutcome, Lending, Missing, NodeReport, PauseReason, Paused, TrustLevel};
use protocol::{ByteSize, Code, Lane, NodeId, PlacementClass, Problem, RunId, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::json;

use super::harness::{Client, Ground, suite, version_of};
use super::joining::{Machine, joined, register, token};
use crate::db::columns::Col;
use crate::db::entities::{audit, node_checks, nodes};
use crate::nodes::records;
use crate::nodes::trust::{self, Check};

suite!(
    a_node_is_proven_by_checks_and_a_day,
    the_operator_alone_vouches,
    a_wrong_result_ends_all_trust,
    a_node_is_own_once_its_owner_has_confirmed_it,
    a_deploy_says_why_no_node_may_have_it,
    a_deploy_for_own_nodes_says_that_they_are_away,
    nobody_sees_the_nodes_of_others,
    old_checks_go,
);

const DAY_MS: i64 = 86_400_000;

async fn note(ground: &Ground, node: NodeId, outcome: CheckOutcome) {
    let check =
        Check { node, run: RunId::new(), outcome, with_operator: true, wall: None, speed: Some(90_000), detail: None };
    let _committed = trust::note(&ground.app.db, check).await.unwrap();
}

async fn settle(ground: &Ground, node: NodeId) -> bool {
    trust::settle(&ground.app.db, node, Timestamp::now()).await.unwrap().is_some()
}

/// As if so many days had passed since then.
fn days_ago(days: i64) -> Col<Timestamp> {
    Col(Timestamp(Timestamp::now().0 - days * DAY_MS))
}

async fn change(ground: &Ground, node: NodeId, change: nodes::ActiveModel) {
    let of_node = nodes::Column::Id.eq(Col(node));
    nodes::Entity::update_many().set(change).filter(of_node).exec(ground.app.db.write()).await.unwrap();
}

async fn shown(client: &Client, node: NodeId) -> NodeDetails {
    client.get(&format!("/nodes/{node}")).await.read()
}

async fn level(client: &Client, node: NodeId) -> Option<TrustLevel> {
    shown(client, node).await.node.level
}

/// A node that has been proven for so many days.
async fn proven(ground: &Ground, node: NodeId, days: i64) {
    let earned = nodes::ActiveModel {
        created: Set(days_ago(days + 1)),
        agreed: Set(20),
        agreed_operator: Set(20),
        proven: Set(Some(days_ago(days))),
        level: Set(Col(TrustLevel::Proven)),
        ..Default::default()
    };
    change(ground, node, earned).await;
}

fn vouch(withdraw: bool) -> serde_json::Value {
    serde_json::to_value(Vouch { node: None, account: Some("ada".parse().unwrap()), withdraw }).unwrap()
}

async fn a_node_is_proven_by_checks_and_a_day(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let node = joined(&ground, &ada, &Machine::new(41)).await.node;
    let new = shown(&ada, node).await;
    assert_eq!((new.node.level, new.missing.len(), new.turns_per_ms), (Some(TrustLevel::New), 3, None));
    for _ in 0..20 {
        note(&ground, node, CheckOutcome::Agreed).await;
    }
    note(&ground, node, CheckOutcome::Failed).await;
    assert!(!settle(&ground, node).await, "it joined just now");
    let checked = shown(&ada, node).await;
    assert!(matches!(checked.missing.as_slice(), [Missing::Age { .. }]), "{:?}", checked.missing);
    assert_eq!((checked.availability.asked, checked.availability.answered), (21, 20));
    assert_eq!((checked.checks.len(), checked.turns_per_ms), (21, Some(90_000)));
    change(&ground, node, nodes::ActiveModel { created: Set(days_ago(1)), ..Default::default() }).await;
    assert!(settle(&ground, node).await && !settle(&ground, node).await, "once");
    let proven = shown(&ada, node).await;
    assert_eq!((proven.node.level, proven.node.class), (Some(TrustLevel::Proven), PlacementClass::Any));
    assert!(matches!(proven.missing.as_slice(), [Missing::ProvenFor { .. }, Missing::Vouch]), "{:?}", proven.missing);
    let audited = audit::Entity::find().filter(audit::Column::Action.eq("node.proven"));
    assert_eq!(audited.count(ground.app.db.read()).await.unwrap(), 1);
    let records = records::all(&ground.app.db).await.unwrap();
    let record = records.iter().find(|record| record.node == node).unwrap();
    assert_eq!((record.trust().level, record.trust().agreed), (TrustLevel::Proven, 20));
    let local = records.iter().find(|record| record.node == ground.node).unwrap();
    assert_eq!((local.trust().level, local.trust().confirmed), (TrustLevel::Operator, true));
}

async fn the_operator_alone_vouches(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let op = ground.operator().await;
    let node = joined(&ground, &ada, &Machine::new(42)).await.node;
    proven(&ground, node, 30).await;
    assert_eq!(ada.post("/nodes/vouch", vouch(false)).await.code(), Code::Forbidden);
    assert_eq!(op.key(&["admin"]).await.post("/nodes/vouch", vouch(false)).await.code(), Code::Forbidden);
    assert_eq!(op.post("/nodes/vouch", json!({})).await.code(), Code::InvalidField);
    assert_eq!(op.post("/nodes/vouch", json!({"account": "none"})).await.code(), Code::NotFound);
    // A name that is an account's, too, is no node's: whoever lends chooses it.
    let both: Problem = op.post("/nodes/vouch", json!({"node": node, "account": "ada"})).await.read();
    assert_eq!((both.code, both.field.unwrap().as_str()), (Code::InvalidField, "account"));
    assert_eq!(level(&ada, node).await, Some(TrustLevel::Proven), "that changes nothing");
    let named = op.post("/nodes/vouch", json!({"node": node, "account": "attic", "withdraw": true})).await;
    assert_eq!(named.status, StatusCode::NO_CONTENT, "{named:?}");
    assert_eq!(op.post("/nodes/vouch", vouch(false)).await.status, StatusCode::NO_CONTENT);
    let verified = shown(&ada, node).await;
    assert_eq!((verified.node.level, verified.vouched), (Some(TrustLevel::Verified), true));
    assert_eq!((verified.node.class, verified.missing), (PlacementClass::Verified, vec![]));
    assert_eq!(op.post("/nodes/vouch", vouch(true)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(level(&ada, node).await, Some(TrustLevel::Proven));
    // For this one alone; and not before its time.
    let one = json!({"node": node});
    assert_eq!(op.post("/nodes/vouch", one.clone()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(level(&ada, node).await, Some(TrustLevel::Verified));
    let young = joined(&ground, &ada, &Machine::new(43)).await.node;
    proven(&ground, young, 29).await;
    assert_eq!(op.post("/nodes/vouch", json!({"node": young})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(level(&ada, young).await, Some(TrustLevel::Proven));
}

async fn a_wrong_result_ends_all_trust(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let node = joined(&ground, &ada, &Machine::new(44)).await.node;
    proven(&ground, node, 40).await;
    note(&ground, node, CheckOutcome::Differed).await;
    let lied = shown(&ada, node).await;
    assert_eq!((lied.node.level, lied.missing), (Some(TrustLevel::New), vec![Missing::Honesty]));
    assert!(lied.lied.is_some() && lied.proven.is_none());
    assert_eq!(lied.availability.answered, 1, "it did answer");
    note(&ground, node, CheckOutcome::Agreed).await;
    assert!(!settle(&ground, node).await, "for good");
    let audited = audit::Entity::find().filter(audit::Column::Action.eq("node.lied"));
    assert_eq!(audited.count(ground.app.db.read()).await.unwrap(), 1);
    let records = records::all(&ground.app.db).await.unwrap();
    assert!(records.iter().find(|record| record.node == node).unwrap().trust().lied);
    // Nor is the machine another one with another token.
    let refused = register(&ground, &Machine::new(49).asks(&token(&ada).await)).await;
    assert_eq!(refused.code(), Code::NodeSuspended);
    assert!(refused.read::<Problem>().detail.contains("it returned a wrong result"), "{refused:?}");
}

async fn a_node_is_own_once_its_owner_has_confirmed_it(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let node = joined(&ground, &ada, &Machine::new(45)).await.node;
    let new = shown(&ada, node).await;
    let (path, fingerprint) = (format!("/nodes/{node}/confirm"), new.fingerprint.unwrap());
    let asked = |name: &str, fingerprint: &str| json!({"name": name, "fingerprint": fingerprint});
    let right = asked("attic", &fingerprint);
    let problem = |answer: super::harness::Answer| -> Problem { answer.read() };
    assert_eq!(ada.key(&["admin"]).await.post(&path, right.clone()).await.code(), Code::Forbidden);
    let eve = ground.user("eve@example.org", "eve").await;
    assert_eq!(eve.post(&path, right.clone()).await.code(), Code::NotFound);
    for (field, wrong) in [("name", asked("cellar", &fingerprint)), ("fingerprint", asked("attic", "3f2a"))] {
        let refused = problem(ada.post(&path, wrong).await);
        assert_eq!((refused.code, refused.field.unwrap().as_str()), (Code::InvalidField, field));
    }
    let trusted = async || {
        let records = records::all(&ground.app.db).await.unwrap();
        records.iter().find(|record| record.node == node).unwrap().trust()
    };
    assert!(!trusted().await.confirmed);
    let confirmed: NodeDetails = ada.post(&path, right.clone()).await.read();
    assert!(confirmed.confirmed.is_some() && trusted().await.confirmed);
    let again: NodeDetails = ada.post(&path, right).await.read();
    assert_eq!(again.confirmed, confirmed.confirmed);
    assert_eq!(again.node.level, Some(TrustLevel::New), "others trust it as before");
}

pub(crate) fn report(node: NodeId) -> NodeReport {
    NodeReport {
        v: NodeReport::VERSION,
        node,
        sequence: 1,
        cores: 2,
        load: 0.0,
        memory_total: ByteSize::mib(1024),
        memory_free: ByteSize::mib(1024),
        slots: 8,
        running: 0,
        lanes: vec![Lane::Wasm],
        arch: "x86_64".to_owned(),
        warm: vec![],
        cached: vec![],
        draining: false,
        vm: None,
        boot: None,
        lending: None,
        confinement: None,
        lists: None,
    }
}

async fn a_deploy_says_why_no_node_may_have_it(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ada.post("/functions", json!({"name": "hello"})).await;
    let node = joined(&ground, &ada, &Machine::new(46)).await.node;
    let artifact = ground.artifact(&ada, b"an artifact").await;
    let mut own = version_of(artifact);
    own["placement"] = json!("own");
    ground.app.nodes.heard(&report(node), Instant::now());
    let refused = ada.post("/functions/hello/versions", own.clone()).await;
    assert_eq!(refused.code(), Code::NoNode);
    let problem: Problem = refused.read();
    assert!(problem.detail.contains("not confirmed by its owner"), "{problem}");
    assert_eq!(problem.field.unwrap().as_str(), "placement");
    // The operator's node may have it, though it is silent: the version waits for it.
    let waits = ada.post("/functions/hello/versions", version_of(artifact)).await;
    assert_eq!(waits.status, StatusCode::ACCEPTED, "{waits:?}");
    // Without it there is the new one, which does its own account's runs alone.
    change(
        &ground,
        ground.node,
        nodes::ActiveModel { state: Set(Col(protocol::node::NodeState::Left)), ..Default::default() },
    )
    .await;
    let eve = ground.user("eve@example.org", "eve").await;
    eve.post("/functions", json!({"name": "hello"})).await;
    note(&ground, node, CheckOutcome::Agreed).await;
    let artifact = ground.artifact(&eve, b"an artifact").await;
    ground.app.nodes.heard(&report(node), Instant::now());
    let refused: Problem = eve.post("/functions/hello/versions", version_of(artifact)).await.read();
    assert!(refused.detail.contains("1 node: 1 new: 1 of 20 checks agreed"), "{refused}");
    // One of her own is waited for while it is being started, and no longer.
    let own = joined(&ground, &eve, &Machine::new(50)).await.node;
    let waits = eve.post("/functions/hello/versions", version_of(artifact)).await;
    assert_eq!(waits.status, StatusCode::ACCEPTED, "{waits:?}");
    let gone = nodes::ActiveModel { created: Set(days_ago(1)), hello: Set(Some(days_ago(1))), ..Default::default() };
    change(&ground, own, gone).await;
    ground.app.nodes.heard(&report(node), Instant::now());
    let refused = eve.post("/functions/hello/versions", version_of(artifact)).await;
    assert_eq!(refused.code(), Code::NoNode, "{refused:?}");
}

async fn a_deploy_for_own_nodes_says_that_they_are_away(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ada.post("/functions", json!({"name": "hello"})).await;
    let node = joined(&ground, &ada, &Machine::new(51)).await.node;
    let fingerprint = shown(&ada, node).await.fingerprint.unwrap();
    let confirmed = json!({"name": "attic", "fingerprint": fingerprint});
    assert_eq!(ada.post(&format!("/nodes/{node}/confirm"), confirmed).await.status, StatusCode::OK);
    let artifact = ground.artifact(&ada, b"an artifact").await;
    let mut own = version_of(artifact);
    own["placement"] = json!("own");
    let waits = ada.post("/functions/hello/versions", own.clone()).await;
    assert_eq!(waits.status, StatusCode::ACCEPTED, "{waits:?}");
    let offline = "no own node is online: calls wait until one is (attic: offline)";
    let version: Version = waits.read();
    assert_eq!(version.warning.unwrap(), offline);
    let told = async || ada.get("/functions/hello").await.read::<Function>().warning;
    assert_eq!(told().await.unwrap(), offline);
    let until = Some("2030-01-01T00:00:00Z".parse().unwrap());
    let paused = Some(Paused { reason: PauseReason::ByOwner, until });
    let lending = Some(Lending { paused, egress: false, disk: None, traffic: None });
    ground.app.nodes.heard(&NodeReport { lending, ..report(node) }, Instant::now());
    let paused =
        "no own node is online: calls wait until one is (attic: paused by its owner until 2030-01-01T00:00:00Z)";
    assert_eq!(told().await.unwrap(), paused);
    ground.ready(version.id).await;
    let job: Job = ada.post("/jobs", json!({"function": "hello"})).await.read();
    assert_eq!(job.reason, format!("submitted; {paused}"));
    ground.app.nodes.heard(&report(node), Instant::now());
    assert_eq!(told().await, None, "it takes runs");
    // Where it was turned off a day ago, no deploy waits, and it is told why.
    ground.app.nodes.forget(node);
    let gone = nodes::ActiveModel { created: Set(days_ago(1)), hello: Set(Some(days_ago(1))), ..Default::default() };
    change(&ground, node, gone).await;
    ground.app.nodes.heard(&report(ground.node), Instant::now());
    let refused: Problem = ada.post("/functions/hello/versions", own).await.read();
    assert!(refused.detail.ends_with("; no own node is online (attic: offline)."), "{refused}");
    assert_eq!(told().await.unwrap(), offline);
}

async fn nobody_sees_the_nodes_of_others(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let eve = ground.user("eve@example.org", "eve").await;
    let node = joined(&ground, &ada, &Machine::new(47)).await.node;
    assert_eq!(eve.get(&format!("/nodes/{node}")).await.code(), Code::NotFound);
    assert_eq!(shown(&eve, ground.node).await.node.level, Some(TrustLevel::Operator), "everybody's to see");
    assert_eq!(ground.operator().await.get(&format!("/nodes/{node}")).await.status, StatusCode::OK);
    ada.post(&format!("/nodes/{node}/revoke"), json!({})).await;
    assert_eq!(eve.get(&format!("/nodes/{node}")).await.code(), Code::NotFound);
}

async fn old_checks_go(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let node = joined(&ground, &ada, &Machine::new(48)).await.node;
    note(&ground, node, CheckOutcome::Agreed).await;
    note(&ground, node, CheckOutcome::Agreed).await;
    let one = node_checks::Entity::find().one(ground.app.db.read()).await.unwrap().unwrap();
    node_checks::Entity::update_many()
        .set(node_checks::ActiveModel { at: Set(days_ago(91)), ..Default::default() })
        .filter(node_checks::Column::RunId.eq(one.run_id))
        .exec(ground.app.db.write())
        .await
        .unwrap();
    trust::prune(&ground.app.db).await.unwrap();
    let kept = shown(&ada, node).await;
    assert_eq!((kept.checks.len(), kept.availability.asked), (1, 2), "the counts stay");
}
