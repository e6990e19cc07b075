//! Queues through the router, on SQLite and on PostgreSQL.

use http::StatusCode;
use protocol::api::Page;
use protocol::job::Job;
use protocol::queue::{Discarded, LeasesEnded, Message, MessagesLeased, MessagesPut, Queue, Redriven};
use protocol::trigger::Trigger;
use protocol::{Code, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _};
use serde_json::{Value, json};

use crate::db::entities::audit;
use crate::tests::harness::{Client, Ground, suite};

suite!(
    a_message_has_one_holder,
    nobody_acknowledges_then_it_is_dead,
    people_look_and_settle_what_is_dead,
    bad_input,
    others_see_nothing,
    messages_become_jobs
);

async fn ada(ground: &Ground) -> Client {
    let ada = ground.user("ada@example.org", "ada").await;
    let made = ada.put("/queues/orders", json!({"lease": "1s", "deliveries": 2})).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    ada
}

async fn put(client: &Client, bodies: Value) -> MessagesPut {
    let messages: Vec<Value> = bodies.as_array().unwrap().iter().map(|body| json!({"body": body})).collect();
    let answer = client.post("/queues/orders/messages", json!({"messages": messages})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.read()
}

async fn lease(client: &Client, asked: Value) -> Vec<Message> {
    client.post("/queues/orders/lease", asked).await.read::<MessagesLeased>().messages
}

async fn end(client: &Client, how: &str, messages: &[Message]) -> LeasesEnded {
    let held: Vec<Value> = messages.iter().map(|one| json!({"id": one.id, "lease": one.lease})).collect();
    client.post(&format!("/queues/orders/{how}"), json!({"messages": held})).await.read()
}

async fn counts(client: &Client) -> (u64, u64, u64) {
    let queue: Queue = client.get("/queues/orders").await.read();
    (queue.waiting, queue.hidden, queue.dead)
}

async fn a_message_has_one_holder(ground: Ground) {
    let ada = ada(&ground).await;
    let ids = put(&ada, json!([{"text": "first"}, {"json": {"n": 2}}, {"text": "third"}])).await.ids;
    assert_eq!(counts(&ada).await, (3, 0, 0));
    // Whoever asks, and through whichever control plane.
    let other = Ground::on(ground.app.config.database.clone(), |_| {}).await;
    let elsewhere = ada.on(other.router.clone());
    let (here, there) = tokio::join!(
        lease(&ada, json!({"count": 2, "lease": "20s"})),
        lease(&elsewhere, json!({"count": 2, "lease": "20s"}))
    );
    let mut got: Vec<_> = here.iter().chain(&there).map(|one| one.id).collect();
    got.sort();
    assert_eq!(got, ids, "each once");
    assert!(lease(&ada, json!({"count": 5})).await.is_empty());
    assert_eq!(counts(&ada).await, (0, 3, 0));
    let ended = end(&ada, "ack", &here).await;
    assert_eq!((ended.ended.len(), ended.lost.len()), (here.len(), 0));
    // What is given back is for everybody.
    assert_eq!(end(&elsewhere, "release", &there).await.ended.len(), there.len());
    let again = lease(&ada, json!({"count": 5})).await;
    assert_eq!(again.len(), there.len());
    assert!(again.iter().all(|one| one.deliveries == 2));
    // The lease of before is worth nothing.
    assert_eq!(end(&ada, "ack", &there).await.lost.len(), there.len());
    assert_eq!(end(&ada, "ack", &again).await.ended.len(), again.len());
    assert_eq!(counts(&ada).await, (0, 0, 0));

    // A lease waits for the first message.
    let (waited, _) = tokio::join!(lease(&ada, json!({"wait": "20s"})), put(&ada, json!([{"text": "late"}])));
    assert_eq!(waited.len(), 1);
}

async fn nobody_acknowledges_then_it_is_dead(ground: Ground) {
    let ada = ada(&ground).await;
    let delayed = json!({"messages": [{"body": {"text": "later"}, "delay": "1h"}]});
    assert_eq!(ada.post("/queues/orders/messages", delayed).await.status, StatusCode::CREATED);
    put(&ada, json!([{"text": "poison"}])).await;
    for deliveries in [1, 2] {
        let leased = lease(&ada, json!({"count": 5, "wait": "5s"})).await;
        assert_eq!(leased.iter().map(|one| one.deliveries).collect::<Vec<_>>(), [deliveries]);
    }
    assert!(lease(&ada, json!({"wait": "3s"})).await.is_empty(), "twice was enough");
    assert_eq!(counts(&ada).await, (0, 1, 1));
    let dead: Page<Message> = ada.get("/queues/orders/dead").await.read();
    assert_eq!(dead.items.len(), 1);
    assert_eq!(ada.post("/queues/orders/redrive", json!({})).await.read::<Redriven>().messages, 1);
    assert_eq!(lease(&ada, json!({})).await[0].deliveries, 1);
}

async fn people_look_and_settle_what_is_dead(ground: Ground) {
    let ada = ada(&ground).await;
    let ids = put(&ada, json!([{"text": "a"}, {"text": "b"}, {"text": "c"}])).await.ids;
    let first: Page<Message> = ada.get("/queues/orders/messages?limit=2").await.read();
    let rest = format!("/queues/orders/messages?limit=2&cursor={}", first.next.unwrap());
    let rest: Page<Message> = ada.get(&rest).await.read();
    assert_eq!(first.items.iter().chain(&rest.items).map(|one| one.id).collect::<Vec<_>>(), ids);
    let oldest = async || ada.get("/queues/orders").await.read::<Queue>().oldest;
    assert_eq!(oldest().await, Some(first.items[0].put));

    // What is leased is seen, but not the lease.
    ada.put("/queues/orders", json!({"deliveries": 1})).await;
    let leased = lease(&ada, json!({"count": 3, "lease": "1h"})).await;
    let seen: Page<Message> = ada.get("/queues/orders/messages").await.read();
    assert!(seen.items.iter().all(|one| one.until == leased[0].until && one.lease.is_none()), "{seen:?}");

    // All of them have used up their one delivery.
    assert_eq!(end(&ada, "release", &leased).await.ended.len(), 3);
    assert!(lease(&ada, json!({})).await.is_empty());
    assert_eq!((counts(&ada).await, oldest().await), ((0, 0, 3), None));
    let dead = |id| format!("/queues/orders/dead/{id}");
    assert_eq!(ada.delete(&dead(ids[0])).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.delete(&dead(ids[0])).await.code(), Code::NotFound);
    let again = format!("{}/redrive", dead(ids[1]));
    assert_eq!(ada.post(&again, json!({})).await.read::<Redriven>().messages, 1);
    assert_eq!(ada.post(&again, json!({})).await.code(), Code::NotFound, "it is not dead any more");
    assert_eq!(counts(&ada).await, (1, 0, 1));
    assert_eq!(ada.delete("/queues/orders/dead").await.read::<Discarded>().messages, 1);
    assert_eq!(counts(&ada).await, (1, 0, 0));
    let acts =
        audit::Entity::find().filter(audit::Column::Target.starts_with("orders")).order_by_asc(audit::Column::Revision);
    let acts = acts.all(ground.app.db.read()).await.unwrap();
    let acts: Vec<String> = acts.into_iter().map(|row| format!("{} {}", row.action, row.target)).collect();
    let of_dead = [
        format!("queue.discard orders/{}", ids[0]),
        format!("queue.redrive orders/{}", ids[1]),
        "queue.discard orders".to_owned(),
    ];
    assert!(acts.ends_with(&of_dead), "{acts:?}");
}

async fn bad_input(ground: Ground) {
    let ada = ada(&ground).await;
    for (path, asked) in [
        ("/queues/orders/messages", json!({"messages": []})),
        ("/queues/orders/messages", json!({"messages": [{"body": {"base64": "?"}}]})),
        ("/queues/orders/messages", json!({"messages": [{"body": {"text": ""}, "delay": "-1s"}]})),
        ("/queues/orders/lease", json!({"count": 0})),
        ("/queues/orders/lease", json!({"count": 1_000})),
        ("/queues/orders/lease", json!({"lease": "0s"})),
        ("/queues/orders/lease", json!({"wait": "1h"})),
        ("/queues/orders/ack", json!({"messages": []})),
    ] {
        assert_eq!(ada.post(path, asked.clone()).await.code(), Code::InvalidField, "{path} {asked}");
    }
    for asked in [json!({"lease": "25h"}), json!({"deliveries": 0}), json!({"days": 365}), json!({"colour": "red"})] {
        assert_eq!(ada.put("/queues/orders", asked.clone()).await.code(), Code::InvalidField, "{asked}");
    }
    let large = json!({"messages": [{"body": {"text": "x".repeat(1 << 20)}}]});
    assert_eq!(ada.post("/queues/orders/messages", large).await.code(), Code::BodyTooLarge);
    let unknown = json!({"messages": [{"body": {"text": ""}}]});
    assert_eq!(ada.post("/queues/none/messages", unknown).await.code(), Code::NotFound);
    let trigger = |more: Value| {
        let mut asked = json!({"job": {"function": "hello"}});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    ground.function(&ada, "hello").await;
    for more in [
        json!({}),
        json!({"queue": "orders", "cron": "@hourly"}),
        json!({"queue": "orders", "job": {"function": "hello", "input": {"text": ""}}}),
    ] {
        assert_eq!(ada.put("/triggers/each", trigger(more.clone())).await.code(), Code::InvalidField, "{more}");
    }
    assert_eq!(ada.put("/triggers/each", trigger(json!({"queue": "none"}))).await.code(), Code::NotFound);
}

async fn others_see_nothing(ground: Ground) {
    let ada = ada(&ground).await;
    let bob = ground.user("bob@example.org", "bob").await;
    put(&ada, json!([{"text": "secret"}])).await;
    for path in ["/queues/orders", "/queues/orders/messages", "/queues/orders/dead"] {
        assert_eq!(bob.get(path).await.code(), Code::NotFound, "{path}");
    }
    bob.put("/queues/orders", json!({})).await;
    assert!(lease(&bob, json!({})).await.is_empty(), "a queue of the same name is another one");
    let held = lease(&ada, json!({})).await;
    assert_eq!(end(&bob, "ack", &held).await.lost.len(), 1);
    assert_eq!(end(&ada, "ack", &held).await.ended.len(), 1);
    assert_eq!(ada.delete("/queues/orders").await.status, StatusCode::NO_CONTENT);
    assert_eq!(bob.get("/queues").await.read::<Page<Queue>>().items.len(), 1);
}

async fn messages_become_jobs(ground: Ground) {
    let ada = ada(&ground).await;
    ground.function(&ada, "hello").await;
    let asked = json!({"queue": "orders", "job": {"function": "hello", "retries": 2}});
    let trigger: Trigger = ada.put("/triggers/each", asked).await.read();
    assert_eq!((trigger.queue.as_ref().map(ToString::to_string).as_deref(), trigger.next), (Some("orders"), None));
    for part in 0..2 {
        put(&ada, json!((0..80).map(|n| json!({"json": {"n": part * 80 + n}})).collect::<Vec<_>>())).await;
    }
    let now = Timestamp::now;
    let other = Ground::on(ground.app.config.database.clone(), |_| {}).await;
    let (first, second) =
        tokio::join!(crate::triggers::once(&ground.app, now()), crate::triggers::once(&other.app, now()));
    first.unwrap();
    second.unwrap();
    crate::triggers::once(&ground.app, now()).await.unwrap();
    assert_eq!(counts(&ada).await, (0, 0, 0));
    let jobs = ada.get("/jobs?label=trigger%3Deach&limit=200").await.read::<Page<Job>>().items;
    let messages: std::collections::BTreeSet<_> = jobs.iter().map(|job| job.labels["message"].clone()).collect();
    assert_eq!((jobs.len(), messages.len()), (160, 160), "a job for each message, and no message twice");
    assert!(jobs.iter().all(|job| job.retries == 2));
    // A queue that is taken from stays.
    assert_eq!(ada.delete("/queues/orders").await.code(), Code::QueueInUse);
    // While there is no function, messages wait, and the trigger says why.
    ada.delete("/functions/hello").await;
    put(&ada, json!([{"text": "patient"}])).await;
    crate::triggers::once(&ground.app, now()).await.unwrap();
    assert_eq!(counts(&ada).await, (1, 0, 0));
    let shown: Trigger = ada.get("/triggers/each").await.read();
    assert!(shown.error.unwrap().contains("function_not_found"));
}
