//! Deleted functions: kept while something tells of them, then purged.

use http::StatusCode;
use protocol::api::{Invocation, Page};
use sea_orm::{ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::json;

use super::harness::{Ground, suite};
use super::settlement::{Runs, later, observe};
use super::usage::{alone, names, report};
use crate::db::entities::{aliases, functions, versions};
use crate::functions::purge::purge;

suite!(what_deleted_functions_leave_is_purged);

const DAY: i64 = 86_400;

async fn what_deleted_functions_leave_is_purged(ground: Ground) {
    let (runs, eve) = (Runs::start(&ground).await, ground.user("eve@example.org", "eve").await);
    let (ada, db) = (&runs.client, &ground.app.db);
    for name in ["idle", "alive"] {
        ground.function(ada, name).await;
    }
    ground.function(&eve, "hers").await;
    observe(&ground, &[alone(&runs, &ground)]).await;
    assert_eq!(ada.post("/jobs", json!({"function": "idle"})).await.status, StatusCode::ACCEPTED);
    for (client, name) in [(ada, "hello"), (ada, "idle"), (&eve, "hers")] {
        assert!(client.delete(&format!("/functions/{name}")).await.status.is_success());
    }
    let purged = async |days: i64| purge(db, &ground.app.config, later(days * DAY)).await.unwrap();
    assert_eq!(purged(30).await, 0, "they may be asked for");
    // What one account has still to tell of holds up no other.
    assert_eq!(purged(40).await, 1);
    assert_eq!(purged(40).await, 0);
    let page: Page<Invocation> = ada.get("/invocations").await.read();
    assert_eq!(page.items[0].function.as_str(), "hello");

    db.write().execute_unprepared("DELETE FROM runs").await.unwrap();
    assert_eq!(purged(40).await, 0, "a job of the time before is there");
    db.write().execute_unprepared("DELETE FROM jobs").await.unwrap();
    assert_eq!(purged(40).await, 2);
    assert_eq!(purged(40).await, 0);

    // What was used keeps its name; nothing else is left.
    assert_eq!(names(&report(ada, "by=function&from=2020-01-01").await), ["hello (deleted)"]);
    let left = functions::Entity::find().filter(functions::Column::Deleted.is_not_null()).all(db.read()).await.unwrap();
    assert_eq!(left.iter().map(|row| (row.name.as_str(), row.purged.is_some())).collect::<Vec<_>>(), [("hello", true)]);
    assert_eq!(versions::Entity::find().count(db.read()).await.unwrap(), 1);
    assert_eq!(aliases::Entity::find().count(db.read()).await.unwrap(), 1);
    assert!(ada.get("/functions/alive/versions/v1").await.status.is_success());
    ground.function(ada, "hello").await;
}
