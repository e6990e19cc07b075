//! Functions with another name: what stays theirs, and where the name that they had leads.

use http::{Method, StatusCode};
use protocol::api::{Function, Page, Version};
use protocol::job::Job;
use protocol::route::Route;
use protocol::trigger::Trigger;
use protocol::{Code, Problem, Timestamp};
use sea_orm::{EntityTrait as _, QueryOrder as _};
use serde_json::json;

use super::harness::{Client, Ground, suite};
use crate::db::entities::outbox;
use crate::functions::ends;

suite!(a_renamed_function_stays_itself, a_former_name_leads_to_the_last_that_had_it, ends_are_found_once_they_are_old,);

async fn a_renamed_function_stays_itself(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let (id, version) = ground.function(&ada, "hello").await;
    ground.function(&ada, "taken").await;
    let canary = json!({"shares": [{"version": 1, "weight": 100}]});
    assert_eq!(ada.put("/functions/hello/aliases/canary", canary).await.status, StatusCode::OK);
    let scoped = json!({"name": "k", "scopes": ["deploy"], "function": "hello"});
    let own = ada.post("/keys", scoped).await.read::<protocol::api::Key>().secret.unwrap();
    let own = ground.anonymous().with_key(&own);
    let job: Job = ada.post("/jobs", json!({"function": "hello@v1"})).await.read();
    for (trigger, function) in [("nightly", "hello@canary"), ("plain", "hello"), ("other", "taken")] {
        let asked = json!({"cron": "@daily", "job": {"function": function}});
        assert_eq!(ada.put(&format!("/triggers/{trigger}"), asked).await.status, StatusCode::OK, "{trigger}");
    }

    // What is refused changes nothing.
    let taken = ada.patch("/functions/hello", json!({"name": "taken", "public": true})).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    let problem: Problem = taken.read();
    assert_eq!((problem.code, problem.field.unwrap().as_str()), (Code::NameTaken, "name"));
    assert!(!ada.get("/functions/hello").await.read::<Function>().public);
    let by_own_key = own.patch("/functions/hello", json!({"name": "greet"})).await;
    assert_eq!(by_own_key.code(), Code::Forbidden, "names are the whole account's");
    let stale = ada.with("if-match", "\"0\"").patch("/functions/hello", json!({"name": "greet"})).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);

    let renamed: Function = ada.patch("/functions/hello", json!({"name": "greet"})).await.read();
    assert_eq!((renamed.id, renamed.name.as_str(), renamed.path.as_str()), (id, "greet", "/f/ada/greet/"));
    assert_eq!((renamed.aliases.len(), renamed.live.unwrap().number), (2, 1));
    assert_eq!(ada.get("/functions/greet/versions/1").await.read::<Version>().id, version.id);
    assert_eq!(ada.get(&format!("/jobs/{}", job.id)).await.read::<Job>().function.as_str(), "greet");
    let of_function: Page<Job> = ada.get("/jobs?function=greet").await.read();
    assert_eq!(of_function.items.len(), 1);
    assert_eq!(own.get("/functions/greet").await.status, StatusCode::OK, "its keys stay its own");
    for (trigger, function) in [("nightly", "greet@canary"), ("plain", "greet"), ("other", "taken")] {
        let shown: Trigger = ada.get(&format!("/triggers/{trigger}")).await.read();
        assert_eq!(shown.job.function, function);
    }
    let route = ground.anonymous().send(Method::GET, "/internal/routes/ada/greet", None).await.read::<Route>();
    assert!(route.function == id && route.resolve(None, 0).is_some(), "{route:?}");
    let rows = outbox::Entity::find().order_by_desc(outbox::Column::Revision).all(ground.app.db.read()).await.unwrap();
    let left = rows.iter().find(|row| row.key == "ada.hello").unwrap();
    let left: Route = serde_json::from_str(&left.payload).unwrap();
    assert!(left.deleted && left.function == id && left.renamed.unwrap().as_str() == "greet", "{:?}", left.versions);
    // To the name that it has, nothing happens.
    let same: Function = ada.patch("/functions/greet", json!({"name": "greet"})).await.read();
    assert_eq!(same.id, id);
}

async fn a_former_name_leads_to_the_last_that_had_it(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let (first, _) = ground.function(&ada, "hello").await;
    ground.function(&ada, "taken").await;
    let rename = async |from: &str, to: &str| {
        let renamed = ada.patch(&format!("/functions/{from}"), json!({"name": to})).await;
        assert_eq!(renamed.status, StatusCode::OK, "{renamed:?}");
    };
    let told = async |client: &Client| {
        let answer = client.get("/functions/hello").await;
        assert_eq!(answer.code(), Code::FunctionNotFound);
        answer.read::<Problem>().detail
    };
    rename("hello", "greet").await;
    assert!(told(&ada).await.ends_with("it was renamed to `greet`."), "{}", told(&ada).await);
    let late = json!({"cron": "@daily", "job": {"function": "hello"}});
    let late: Problem = ada.put("/triggers/late", late).await.read();
    assert_eq!(late.field.unwrap().as_str(), "job.function");
    assert!(late.detail.ends_with("it was renamed to `greet`."), "{}", late.detail);
    // Who may not see the function learns nothing of it.
    let scoped = json!({"name": "k", "scopes": ["read"], "function": "taken"});
    let other = ada.post("/keys", scoped).await.read::<protocol::api::Key>().secret.unwrap();
    for client in [ground.anonymous().with_key(&other), ground.user("eve@example.org", "eve").await] {
        assert_eq!(told(&client).await, "The account has no function `hello`.");
    }

    // The name is free, and is nobody's former name once somebody has it.
    let (second, _) = ground.function(&ada, "hello").await;
    assert_eq!(ada.get("/functions/hello").await.read::<Function>().id, second);
    rename("hello", "again").await;
    assert!(told(&ada).await.ends_with("`again`."));
    rename("again", "hello").await;
    assert_eq!(ada.get("/functions/greet").await.read::<Function>().id, first);
    ada.delete("/functions/hello").await;
    assert_eq!(told(&ada).await, "The account has no function `hello`.");
}

async fn ends_are_found_once_they_are_old(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    for name in ["hello", "gone", "kept"] {
        ground.function(&ada, name).await;
    }
    let renamed = ada.patch("/functions/hello", json!({"name": "greet"})).await;
    assert_eq!(renamed.status, StatusCode::OK);
    assert_eq!(ada.delete("/functions/gone").await.status, StatusCode::NO_CONTENT);
    let told_until = async |later_ms: i64| {
        let until = Timestamp(Timestamp::now().0 + later_ms);
        let mut keys = ends::lately(&ground.app.db, until).await.unwrap();
        keys.sort();
        keys
    };
    assert_eq!(told_until(1_000).await, ["ada.gone", "ada.hello"]);
    assert_eq!(told_until(-600_000).await, [""; 0], "they are new");
    assert_eq!(told_until(30 * 86_400_000).await, [""; 0], "they were forgotten long ago");
}
