//! Who changed what, as admins read it.

use http::StatusCode;
use protocol::api::{AuditEntry, Invitation, Me, Page};
use protocol::{Code, Timestamp};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::json;

use super::harness::{Client, Ground, suite};
use crate::db::entities::audit;

suite!(
    an_account_s_changes_are_listed,
    changes_are_found,
    a_search_goes_on_where_it_ended,
    only_admins_read_it,
    what_is_too_old_goes,
);

async fn listed(client: &Client, query: &str) -> Page<AuditEntry> {
    let answer = client.get(&format!("/audit?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {answer:?}");
    answer.read()
}

async fn actions(client: &Client, query: &str) -> Vec<String> {
    listed(client, query).await.items.into_iter().map(|entry| entry.action).collect()
}

async fn an_account_s_changes_are_listed(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.user("eve@example.org", "eve").await;
    ada.post("/functions", json!({"name": "hello"})).await;
    let key = ada.key(&["admin"]).await;
    key.post("/functions", json!({"name": "other"})).await;
    ground.anonymous().post("/sessions", json!({"email": "ada@example.org", "password": "correct horse"})).await;

    let page = listed(&ada, "").await;
    let told: Vec<_> = page.items.iter().map(|one| (one.action.as_str(), one.actor_name.as_deref())).collect();
    let (by_ada, by_key) = (Some("ada@example.org"), Some("k"));
    let expected = [
        ("function.create", by_key),
        ("key.create", by_ada),
        ("function.create", by_ada),
        // Log-ins are of no account.
        ("user.signup", by_ada),
    ];
    assert_eq!(told, expected);
    assert_eq!(page.next, None);
    let me = ada.get("/me").await.read::<Me>().user.unwrap();
    assert_eq!(page.items[3].actor, me.id.to_string());
    assert_eq!(page.items[3].subject, me.id.to_string());
    assert!(page.items.is_sorted_by_key(|one| std::cmp::Reverse(one.revision)));

    let mut walked = Vec::new();
    let mut cursor = String::new();
    loop {
        let part = listed(&ada, &format!("limit=1{cursor}")).await;
        walked.extend(part.items);
        let Some(next) = part.next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(walked, page.items);
}

async fn changes_are_found(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ada.post("/functions", json!({"name": "hello"})).await;
    ada.patch("/functions/hello", json!({"public": true})).await;
    let key = ada.key(&["admin"]).await;
    key.put("/queues/orders", json!({})).await;
    let all = listed(&ada, "").await.items;
    assert_eq!(all.len(), 5);

    assert_eq!(actions(&ada, "action=function").await, ["function.change", "function.create"]);
    assert_eq!(actions(&ada, "action=function.create").await, ["function.create"]);
    assert_eq!(actions(&ada, "action=func").await, [""; 0], "a kind is a whole word");
    assert_eq!(actions(&ada, "actor=k").await, ["queue.set"]);
    assert_eq!(actions(&ada, &format!("actor={}", all[0].actor)).await, ["queue.set"]);
    assert_eq!(actions(&ada, "actor=ADA@example.org&action=key").await, ["key.create"]);
    assert_eq!(actions(&ada, "actor=platform").await, [""; 0]);
    assert_eq!(actions(&ada, "subject=orders").await, ["queue.set"]);
    let of_function = format!("subject={}", all[2].subject);
    assert_eq!(actions(&ada, &of_function).await, ["function.change", "function.create"]);

    let now = Timestamp::now().plus(std::time::Duration::from_secs(1));
    assert_eq!(actions(&ada, &format!("from={now}")).await, [""; 0]);
    assert_eq!(actions(&ada, &format!("to={now}")).await.len(), 5);
    assert_eq!(actions(&ada, &format!("to={}", Timestamp(0))).await, [""; 0]);
}

async fn a_search_goes_on_where_it_ended(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let account = ada.account().await;
    // More than one page looks at, all of the same moment.
    let row = |revision: i64| audit::ActiveModel {
        revision: Set(-revision),
        account_id: Set(Some(account.into())),
        actor: Set("platform".to_owned()),
        action: Set(if revision == 5_500 { "test.rare" } else { "test.common" }.to_owned()),
        target: Set(String::new()),
        at: Set(Timestamp(1_000).into()),
    };
    let revisions: Vec<i64> = (1..=5_500).collect();
    for some in revisions.chunks(1_000) {
        let rows = some.iter().map(|revision| row(*revision));
        audit::Entity::insert_many(rows).exec_without_returning(ground.app.db.write()).await.unwrap();
    }
    let first = listed(&ada, "action=test.rare").await;
    assert_eq!(first.items, []);
    let second = listed(&ada, &format!("action=test.rare&cursor={}", first.next.unwrap())).await;
    assert_eq!((second.items.len(), second.next), (1, None));
}

async fn only_admins_read_it(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let invitation: Invitation = ada.post("/invitations", json!({"role": "member"})).await.read();
    let token = invitation.path.unwrap().strip_prefix("/invite/").unwrap().to_owned();
    let asked = json!({"email": "bob@example.org", "password": "correct horse", "invitation": token});
    let bob = ground.anonymous().post("/signup", asked).await.cookie();
    let bob = ground.anonymous().with("cookie", &bob);
    for client in [&bob, &ada.key(&["deploy"]).await] {
        assert_eq!(client.get("/audit").await.code(), Code::Forbidden);
    }
    assert_eq!(ada.key(&["admin"]).await.get("/audit").await.status, StatusCode::OK);
    assert_eq!(ground.anonymous().get("/audit").await.code(), Code::Unauthenticated);
    let eve = ground.user("eve@example.org", "eve").await;
    assert_eq!(actions(&eve, "").await, ["user.signup"], "each has an audit of their own");
}

async fn what_is_too_old_goes(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ada.post("/functions", json!({"name": "hello"})).await;
    let (db, config) = (&ground.app.db, &ground.app.config);
    let day = std::time::Duration::from_secs(86_400);
    let old = Timestamp::now();
    crate::audit::prune(db, config, old.plus(day * (config.audit_days - 1))).await.unwrap();
    assert_eq!(actions(&ada, "").await, ["function.create", "user.signup"]);
    audit::Entity::update_many()
        .set(audit::ActiveModel { at: Set(Timestamp(0).into()), ..Default::default() })
        .filter(audit::Column::Action.eq("user.signup"))
        .exec(db.write())
        .await
        .unwrap();
    crate::audit::prune(db, config, old).await.unwrap();
    assert_eq!(actions(&ada, "").await, ["function.create"]);
    crate::audit::prune(db, config, old.plus(day * (config.audit_days + 1))).await.unwrap();
    assert_eq!(audit::Entity::find().count(db.read()).await.unwrap(), 0);
}
