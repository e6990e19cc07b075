//! Functions, versions, aliases, and the routes that come of them.

use http::{Method, StatusCode};
use protocol::api::{Alias, Function, Page, Version, VersionState};
use protocol::placement::LaneReason;
use protocol::route::Route;
use protocol::{AccountId, ByteSize, Code, Digest, Lane, Problem, Timestamp};
use sea_orm::ActiveValue::Set;
use sea_orm::{EntityTrait as _, QueryOrder as _};
use serde_json::json;

use super::harness::{Answer, Ground, suite, version_of};
use crate::db::entities::{audit, functions, outbox, upload_quotas};

suite!(
    life,
    f30_a_freed_name_is_free,
    a_deleted_function_is_restored,
    versions,
    failed_versions,
    a_first_deploy_makes_its_function_or_leaves_nothing,
    races,
    aliases,
    f14_a_versions_notes_are_kept,
    rollback,
    if_match,
    limits,
    routes,
    pages,
    a14_uploads_are_counted_for_each_account,
);

async fn life(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let made: Function = ada.post("/functions", json!({"name": "hello"})).await.read();
    assert_eq!(made.path, "/f/ada/hello/");
    assert_eq!(made.host, "hello--ada.localhost:8080");
    assert!(!made.public, "private by default");
    assert_eq!(made.latest, None);
    assert_eq!(ada.post("/functions", json!({"name": "hello"})).await.code(), Code::NameTaken);
    for name in ["h", "A", "a--b", "-a", "admin", "x".repeat(31).as_str()] {
        assert_eq!(ada.post("/functions", json!({"name": name})).await.code(), Code::InvalidName, "{name}");
    }
    let open: Function = ada.patch("/functions/hello", json!({"public": true})).await.read();
    assert!(open.public);
    assert_eq!(ada.delete("/functions/hello").await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.get("/functions/hello").await.code(), Code::FunctionNotFound);
    assert_eq!(ada.get("/functions").await.read::<Page<Function>>().items, []);

    let rows = audit::Entity::find().order_by_asc(audit::Column::Revision).all(ground.app.db.read()).await.unwrap();
    let actions: Vec<&str> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["node.create", "user.signup", "function.create", "function.change", "function.delete"]);
    let told = outbox::Entity::find().all(ground.app.db.read()).await.unwrap();
    assert_eq!(told.len(), 3, "one for each change of a route");
}

async fn f30_a_freed_name_is_free(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let of = async |name: &str| ada.get(&format!("/functions/{name}")).await.read::<Function>();
    ground.function(&ada, "hello").await;
    ground.deployed(&ada, "hello").await;
    let old = of("hello").await;
    let scoped = json!({"name": "k", "scopes": ["invoke"], "function": "hello"});
    let key: protocol::api::Key = ada.post("/keys", scoped).await.read();
    for round in 0..3 {
        assert_eq!(ada.delete("/functions/hello").await.status, StatusCode::NO_CONTENT, "{round}");
        let made = ada.post("/functions", json!({"name": "hello"})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{round}: {made:?}");
        assert_eq!(ada.post("/functions", json!({"name": "hello"})).await.code(), Code::NameTaken);
    }
    // Nothing of the old one is the new one's.
    let new = of("hello").await;
    assert!(new.id != old.id && new.latest.is_none() && new.aliases.is_empty(), "{new:?}");
    let old_key = ground.anonymous().with_key(&key.secret.unwrap());
    assert_eq!(old_key.get("/me").await.code(), Code::InvalidKey);
    ground.deployed(&ada, "hello").await;
    assert_eq!(of("hello").await.latest, Some(1));
    // Whoever follows the routes in their order has the living one.
    let rows = outbox::Entity::find().order_by_asc(outbox::Column::Revision).all(ground.app.db.read()).await.unwrap();
    let last: Route = serde_json::from_str(&rows.last().unwrap().payload).unwrap();
    assert!(last.function == new.id && !last.deleted && last.versions.len() == 1, "{last:?}");
    let eve = ground.user("eve@example.org", "eve").await;
    ground.function(&eve, "hello").await;
}

async fn a_deleted_function_is_restored(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let restore = async || ada.raw(Method::POST, "/api/v1/functions/hello/restore", Vec::new()).await;
    ground.function(&ada, "hello").await;
    assert_eq!(restore().await.code(), Code::FunctionNotFound, "it was not deleted");
    ground.deployed(&ada, "hello").await;
    let old: Function = ada.get("/functions/hello").await.read();
    let scoped = json!({"name": "k", "scopes": ["invoke"], "function": "hello"});
    let key: protocol::api::Key = ada.post("/keys", scoped).await.read();
    ada.delete("/functions/hello").await;
    let eve = ground.user("eve@example.org", "eve").await;
    let of_eve = eve.raw(Method::POST, "/api/v1/functions/hello/restore", Vec::new()).await;
    assert_eq!(of_eve.code(), Code::FunctionNotFound, "it is another account's");
    let reader = ada.key(&["read"]).await;
    let by_reader = reader.raw(Method::POST, "/api/v1/functions/hello/restore", Vec::new()).await;
    assert_eq!(by_reader.code(), Code::Forbidden);

    let back: Function = restore().await.read();
    assert_eq!((back.id, back.latest, back.public), (old.id, old.latest, old.public));
    assert_eq!(back.aliases[0].shares, old.aliases[0].shares);
    let route = ground.anonymous().send(Method::GET, "/internal/routes/ada/hello", None).await.read::<Route>();
    assert!(!route.deleted && route.resolve(None, 0).is_some(), "{route:?}");
    let old_key = ground.anonymous().with_key(&key.secret.unwrap());
    assert_eq!(old_key.get("/me").await.code(), Code::InvalidKey, "its keys stay revoked");

    // A name that is taken again is not taken away, and of several the last comes back.
    let deleted =
        async |query: &str| ada.get(&format!("/functions?deleted=true{query}")).await.read::<Page<Function>>();
    assert!(deleted("").await.items.is_empty());
    ada.delete("/functions/hello").await;
    ada.post("/functions", json!({"name": "hello"})).await;
    assert_eq!(restore().await.code(), Code::NameTaken);
    ada.delete("/functions/hello").await;
    assert!(ada.get("/functions").await.read::<Page<Function>>().items.is_empty());
    assert!(eve.get("/functions?deleted=true").await.read::<Page<Function>>().items.is_empty(), "another account's");
    let first = deleted("&limit=1").await;
    let second = deleted(&format!("&limit=1&cursor={}", first.next.as_ref().unwrap())).await;
    assert!(first.items[0].id != old.id && first.items[0].deleted.is_some(), "{first:?}");
    assert!(second.items[0].id == old.id && second.next.is_none(), "{second:?}");
    let newest: Function = restore().await.read();
    assert!(newest.id != old.id && newest.latest.is_none(), "{newest:?}");
    // Past the days for which it is kept, it is gone.
    ada.delete("/functions/hello").await;
    let long_ago = Timestamp(Timestamp::now().0 - i64::from(ground.app.config.deleted_days + 1) * 86_400_000);
    let aged = functions::ActiveModel { deleted: Set(Some(long_ago.into())), ..Default::default() };
    functions::Entity::update_many().set(aged).exec(ground.app.db.write()).await.unwrap();
    assert_eq!(restore().await.code(), Code::FunctionNotFound);
    assert!(deleted("").await.items.is_empty());
}

async fn versions(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ada.post("/functions", json!({"name": "hello"})).await;
    let artifact = ground.artifact(&ada, b"one").await;
    let eve = ground.user("eve@example.org", "eve").await;
    eve.post("/functions", json!({"name": "hello"})).await;
    let stolen = eve.post("/functions/hello/versions", version_of(artifact)).await;
    assert_eq!(stolen.code(), Code::ArtifactNotFound, "only one's own artifacts");

    let asked = json!({"artifact": artifact, "env": {"A": "b"}, "egress": ["example.org"], "placement": "own", "limits": {"memory": "64MiB", "timeout": "5s"}});
    let made = ada.post("/functions/hello/versions", asked).await;
    assert_eq!(made.status, StatusCode::ACCEPTED, "there is no node");
    let version: Version = made.read();
    assert_eq!(
        (version.number, version.state, version.created_by.as_str()),
        (1, VersionState::Compiling, "ada@example.org")
    );
    assert_eq!(version.limits.memory, protocol::ByteSize::mib(64));
    assert!(ada.get("/functions/hello").await.read::<Function>().aliases.is_empty());
    let early = ada.put("/functions/hello/aliases/live", json!({"shares": [{"version": 1, "weight": 100}]})).await;
    assert_eq!(early.code(), Code::NotReady);
    ground.ready(version.id).await;
    let version: Version = ada.get("/functions/hello/versions/live").await.read();
    assert_eq!((version.number, version.state), (1, VersionState::Ready));
    assert_eq!(version.aliases[0].as_str(), "live");
    let live = ada.get("/functions/hello").await.read::<Function>().live.unwrap();
    assert_eq!((live.number, live.lane, live.lane_reason), (1, Lane::Wasm, LaneReason::Wasm));
    assert_eq!(live.limits, version.limits);
    let second = ground.deployed(&ada, "hello").await;
    assert_eq!(second.number, 2);
    let shares = json!({"shares": [{"version": 1, "weight": 90}, {"version": 2, "weight": 10}]});
    ada.put("/functions/hello/aliases/live", shares).await;
    let listed = ada.get("/functions").await.read::<Page<Function>>();
    assert_eq!(listed.items[0].live.unwrap().number, 1, "the largest share");
    ada.post("/functions", json!({"name": "other"})).await;
    let other = ada.get("/functions/other").await.read::<Function>();
    assert_eq!(other.live, None, "nothing answers for it yet");
    assert_eq!(ada.get("/functions/hello/versions/v2").await.read::<Version>().id, second.id);
    assert_eq!(ada.get("/functions/hello/versions/v3").await.code(), Code::VersionNotFound);
    assert_eq!(ada.get("/functions/hello/versions/canary").await.code(), Code::VersionNotFound);
    assert_eq!(ada.get("/functions/hello/versions/!").await.code(), Code::VersionNotFound);
}

async fn failed_versions(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    let bad = ground.compiling(&ada, "hello").await;
    let problem = Problem::new(Code::NotWasm, "it begins with #!");
    crate::functions::versions::finish(&ground.app, bad.id, Err(problem)).await.unwrap();
    // What a second node says afterwards does not count.
    ground.ready(bad.id).await;
    let failed: Version = ada.get("/functions/hello/versions/2").await.read();
    assert_eq!(failed.state, VersionState::Failed);
    assert_eq!(failed.problem.unwrap().code, Code::NotWasm);
    let live: Version = ada.get("/functions/hello/versions/live").await.read();
    assert_eq!(live.number, 1, "the alias stays");
    let refused = ada.post("/functions/hello/rollback", json!({"to": 2})).await;
    assert_eq!(refused.code(), Code::NotReady);
}

async fn a_first_deploy_makes_its_function_or_leaves_nothing(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let artifact = ground.artifact(&ada, b"one").await;
    let path = "/functions/hello/versions";
    let functions = async || ada.get("/functions").await.read::<Page<Function>>().items;
    for (asked, code) in [
        (json!({"artifact": Digest::of(b"nothing"), "create": {}}), Code::ArtifactNotFound),
        (json!({"artifact": artifact, "create": {}, "limits": {"cpus": 0}}), Code::InvalidField),
        (json!({"artifact": artifact, "create": {}, "alias": "v1"}), Code::InvalidName),
        (json!({"artifact": artifact, "create": {"private": true}}), Code::InvalidField),
        (json!({"artifact": artifact}), Code::FunctionNotFound),
    ] {
        assert_eq!(ada.post(path, asked.clone()).await.code(), code, "{asked}");
        assert_eq!(functions().await, [], "{asked}");
    }
    let asked = json!({"artifact": artifact, "create": {"public": true}});
    assert_eq!(ada.post("/functions/admin/versions", asked.clone()).await.code(), Code::InvalidName);

    // Once, whoever repeats it.
    let keyed = ada.with("idempotency-key", "first");
    let made: Version = keyed.post(path, asked.clone()).await.read();
    let again: Version = keyed.post(path, asked.clone()).await.read();
    assert_eq!((made.number, again.id), (1, made.id));
    let function: Function = ada.get("/functions/hello").await.read();
    assert!(function.public && function.latest == Some(1), "{function:?}");
    // Where there is one, it stays as it is.
    let second: Version = ada.post(path, json!({"artifact": artifact, "create": {}})).await.read();
    assert_eq!(second.number, 2);
    assert!(ada.get("/functions/hello").await.read::<Function>().public);
    ground.ready(second.id).await;
    let live: Version = ada.get("/functions/hello/versions/live").await.read();
    assert_eq!(live.id, second.id);

    // Several at once make one.
    let deploys = (0..8).map(|_| ada.post("/functions/same/versions", asked.clone()));
    let mut numbers: Vec<u32> =
        futures::future::join_all(deploys).await.iter().map(|answer| answer.read::<Version>().number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..9).collect::<Vec<_>>());
    assert_eq!(functions().await.len(), 2);

    // A key for one function makes no other.
    let scoped = json!({"name": "k", "scopes": ["deploy"], "function": "hello"});
    let key: protocol::api::Key = ada.post("/keys", scoped).await.read();
    let key = ground.anonymous().with_key(&key.secret.unwrap());
    assert_eq!(key.post("/functions/other/versions", asked).await.code(), Code::Forbidden);
}

async fn races(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    let slow = ground.compiling(&ada, "hello").await;
    let fast = ground.deployed(&ada, "hello").await;
    ground.ready(slow.id).await;
    let live: Version = ada.get("/functions/hello/versions/live").await.read();
    assert_eq!(live.id, fast.id, "the later deploy wins, whichever compiles faster");

    // Many at once: every number is given once.
    let artifact = ground.artifact(&ada, b"many").await;
    let path = "/functions/hello/versions";
    let deploys = (0..20).map(|_| ada.post(path, version_of(artifact)));
    let mut numbers: Vec<u32> =
        futures::future::join_all(deploys).await.iter().map(|answer| answer.read::<Version>().number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (4..24).collect::<Vec<_>>());
    let same = (0..10).map(|_| ada.post("/functions", json!({"name": "same"})));
    let made = futures::future::join_all(same).await.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1);
}

async fn aliases(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    ground.deployed(&ada, "hello").await;
    let shares = json!({"shares": [{"version": 1, "weight": 90}, {"version": 2, "weight": 10}]});
    let set = ada.put("/functions/hello/aliases/canary", shares).await;
    assert_eq!(set.status, StatusCode::OK);
    assert_eq!(set.header("etag"), set.read::<Alias>().etag);
    let version: Version = ada.get("/functions/hello/versions/2").await.read();
    assert_eq!(version.aliases.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["canary", "live"]);
    let wrong = json!({"shares": [{"version": 1, "weight": 90}]});
    assert_eq!(ada.put("/functions/hello/aliases/canary", wrong).await.code(), Code::InvalidField);
    let missing = json!({"shares": [{"version": 9, "weight": 100}]});
    assert_eq!(ada.put("/functions/hello/aliases/canary", missing).await.code(), Code::VersionNotFound);
    let huge = json!({"shares": [{"version": 4_294_967_295_u32, "weight": 100}]});
    assert_eq!(ada.put("/functions/hello/aliases/canary", huge).await.code(), Code::VersionNotFound);
    assert_eq!(ada.put("/functions/hello/aliases/v7", json!({"shares": []})).await.code(), Code::InvalidName);
    assert_eq!(ada.delete("/functions/hello/aliases/live").await.code(), Code::InvalidField);
    assert_eq!(ada.delete("/functions/hello/aliases/canary").await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.get("/functions/hello/aliases/canary").await.code(), Code::VersionNotFound);
}

async fn f14_a_versions_notes_are_kept(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    let deployed = ground.deployed(&ada, "hello").await;
    assert_eq!(deployed.notes, ["It is one of the tests'."]);
    let listed: Page<Version> = ada.get("/functions/hello/versions").await.read();
    assert_eq!(listed.items[0].notes, deployed.notes);
}

async fn rollback(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    let none = ada.raw(Method::POST, "/api/v1/functions/hello/rollback", Vec::new()).await;
    assert_eq!(none.code(), Code::VersionNotFound, "there was no other version");
    ground.deployed(&ada, "hello").await;
    ground.deployed(&ada, "hello").await;
    let back = |body| ada.post("/functions/hello/rollback", body);
    assert_eq!(back(json!({})).await.read::<Alias>().shares[0].version, 2);
    assert_eq!(back(json!({})).await.read::<Alias>().shares[0].version, 3, "and forth again");
    assert_eq!(back(json!({"to": 1})).await.read::<Alias>().shares[0].version, 1);
    assert_eq!(back(json!({"to": 7})).await.code(), Code::VersionNotFound);
    assert_eq!(back(json!({"to": -7})).await.code(), Code::InvalidField);
}

async fn if_match(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    let etag = ada.get("/functions/hello").await.header("etag").to_owned();
    let change = json!({"public": true});
    assert_eq!(ada.with("if-match", &etag).patch("/functions/hello", change.clone()).await.status, StatusCode::OK);
    let stale = ada.with("if-match", &etag);
    assert_eq!(stale.patch("/functions/hello", change).await.code(), Code::PreconditionFailed);
    assert_eq!(stale.delete("/functions/hello").await.code(), Code::PreconditionFailed);
    let alias = ada.get("/functions/hello/aliases/live").await.header("etag").to_owned();
    let shares = json!({"shares": [{"version": 1, "weight": 100}]});
    let path = "/functions/hello/aliases/live";
    assert_eq!(ada.with("if-match", &alias).put(path, shares.clone()).await.status, StatusCode::OK);
    assert_eq!(ada.with("if-match", &alias).put(path, shares.clone()).await.code(), Code::PreconditionFailed);
    assert_eq!(ada.with("if-match", "*").put(path, shares.clone()).await.status, StatusCode::OK);
    let new = ada.with("if-match", "*").put("/functions/hello/aliases/fresh", shares).await;
    assert_eq!(new.code(), Code::PreconditionFailed, "it is not there");
}

async fn limits(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ada.post("/functions", json!({"name": "hello"})).await;
    let artifact = ground.artifact(&ada, b"one").await;
    for wrong in [
        json!({"limits": {"memory": "1TiB"}}),
        json!({"limits": {"timeout": 1}}),
        json!({"limits": {"cpus": 0}}),
        json!({"limits": {"colour": 1}}),
        json!({"env": {"1": "x"}}),
        json!({"egress": ["http://example.org/"]}),
        json!({"lane": "rocket"}),
        json!({"alias": "v1"}),
        json!({"surprise": true}),
    ] {
        let mut asked = json!({"artifact": artifact});
        asked.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let answer = ada.post("/functions/hello/versions", asked).await;
        let code = answer.code();
        assert!(matches!(code, Code::InvalidField | Code::InvalidName), "{wrong}: {answer:?}");
    }
    let shown = ground.anonymous().get("/limits").await;
    assert_eq!(shown.read::<serde_json::Value>()["maxima"]["cpus"], 64);
}

async fn routes(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    let core = ground.anonymous();
    let route = || core.send(Method::GET, "/internal/routes/ada/hello", None);
    let first: Route = route().await.read();
    assert_eq!(first.aliases.len(), 1);
    assert_eq!(first.resolve(None, 0).unwrap().number, 1);
    ground.compiling(&ada, "hello").await;
    let same: Route = route().await.read();
    assert_eq!(same.versions.len(), 1, "only ready versions");
    ground.deployed(&ada, "hello").await;
    let next: Route = route().await.read();
    assert!(next.revision > first.revision);
    assert_eq!(next.resolve(None, 0).unwrap().number, 3);
    ada.delete("/functions/hello").await;
    assert_eq!(route().await.code(), Code::FunctionNotFound);
    for path in ["/internal/routes/nobody/hello", "/internal/routes/ada/---", "/internal/routes/a%2Fb/c"] {
        assert_eq!(core.send(Method::GET, path, None).await.code(), Code::FunctionNotFound, "{path}");
    }
    let rows = outbox::Entity::find().order_by_asc(outbox::Column::Revision).all(ground.app.db.read()).await.unwrap();
    let last: Route = serde_json::from_str(&rows.last().unwrap().payload).unwrap();
    assert!(last.deleted && last.versions.is_empty());
    assert_eq!(rows.last().unwrap().key, "ada.hello");
}

async fn pages(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    for name in ["aa", "bb", "cc", "dd", "ee"] {
        ada.post("/functions", json!({"name": name})).await;
    }
    let mut seen = Vec::new();
    let mut path = "/functions?limit=2".to_owned();
    loop {
        let page: Page<Function> = ada.get(&path).await.read();
        seen.extend(page.items.iter().map(|row| row.name.to_string()));
        let Some(next) = page.next else { break };
        path = format!("/functions?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["aa", "bb", "cc", "dd", "ee"]);
    assert_eq!(ada.get("/functions?cursor=!").await.code(), Code::InvalidRequest);
    assert_eq!(ada.get("/functions?limit=many").await.code(), Code::InvalidRequest);
}

async fn a14_uploads_are_counted_for_each_account(ground: Ground) {
    let (ada, eve) = (ground.user("ada@example.org", "ada").await, ground.user("eve@example.org", "eve").await);
    let (ada, eve) = (ada.account().await, eve.account().await);
    let core = ground.anonymous();
    let begin = async |account: AccountId, least: u64, most: u64| {
        let asked = json!({"account": account, "least": ByteSize(least), "most": ByteSize(most)});
        core.send(Method::POST, "/internal/uploads", Some(asked)).await
    };
    let settle = async |granted: u64, used: u64| {
        let settled = json!({"account": ada, "granted": ByteSize(granted), "used": ByteSize(used)});
        let answer = core.send(Method::POST, "/internal/uploads/settle", Some(settled)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    };
    let granted = |answer: Answer| answer.read::<serde_json::Value>()["granted"].clone();
    let config = &ground.app.config;
    let window = config.upload_window_max.0;

    // What is under way counts, so that uploads at the same time cannot pass together.
    let together = futures::future::join_all((0..4).map(|_| begin(ada, window / 2, window / 2))).await;
    let codes = together.iter().filter(|answer| answer.status != StatusCode::OK).map(Answer::code);
    assert_eq!(codes.collect::<Vec<_>>(), [Code::RateLimited; 2]);
    assert_eq!(granted(begin(eve, 10, 10).await), "10", "another account has its own");
    // One ends with less, the other breaks off: what came of it stays counted.
    settle(window / 2, 100).await;
    settle(window / 2, 400).await;
    let rest = window - 500;
    assert_eq!(granted(begin(ada, 1, u64::MAX).await), rest.to_string(), "of unknown length: what is left");
    assert_eq!(begin(ada, 1, 1).await.code(), Code::RateLimited);

    // Windows pass.
    let later = Timestamp(Timestamp::now().0 - 3_600_001);
    let over = upload_quotas::ActiveModel {
        account_id: Set(ada.into()),
        window_began: Set(later.into()),
        ..Default::default()
    };
    upload_quotas::Entity::update(over).exec(ground.app.db.write()).await.unwrap();
    assert_eq!(granted(begin(ada, 1000, 1000).await), "1000");
}

#[tokio::test]
async fn f03_long_answers_of_the_api_are_compressed() {
    let ground = Ground::sqlite().await;
    let ada = ground.user("ada@example.org", "ada").await;
    let plain = ada.get("/openapi.json").await;
    assert!(!plain.headers.contains_key("content-encoding"));
    for (accepted, coding) in [("gzip, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip")] {
        let asked = ada.with("accept-encoding", accepted);
        let answer = asked.get("/openapi.json").await;
        assert_eq!((answer.header("content-encoding"), answer.header("vary")), (coding, "accept-encoding"));
        assert!(answer.body.len() < plain.body.len() / 4, "{}", answer.body.len());
        assert!(!asked.get("/limits").await.headers.contains_key("content-encoding"), "short as it is");
    }
}

#[tokio::test]
async fn f36_the_largest_head_is_what_gateways_take() {
    let shown: protocol::api::PlatformLimits = Ground::sqlite().await.anonymous().get("/limits").await.read();
    assert_eq!(shown.headers, protocol::headers::HEAD_SIZE_MAX);
}
