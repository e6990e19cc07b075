//! A second start goes on where the first stopped; data of a newer version is refused.

use protocol::{NodeId, Timestamp};
use sea_orm::ConnectionTrait as _;
use serde_json::json;

use super::harness::{Ground, config, sqlite_url, suite};
use super::tickets::any_ticket;
use crate::App;
use crate::error::StartError;

suite!(
    goes_on,
    newer_data_is_refused,
    several_start_at_once_on_nothing,
    another_platforms_store_is_refused,
    a_store_that_is_not_what_it_was_is_refused,
    another_root_secret_is_refused,
);

async fn again(ground: &Ground) -> Result<App, StartError> {
    let store = store::Store::disk(ground.folder.path().join("store")).unwrap();
    App::open(config(ground.folder.path(), ground.app.config.database.clone(), ground.node), store, None).await
}

async fn goes_on(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    let token = std::fs::read_to_string(ground.folder.path().join("operator.token")).unwrap();
    let secret = ground.app.tickets.secret("devices");
    let ticket = ground.app.tickets.begin_epoch(Timestamp::now()).issue(&any_ticket(ground.node));
    ground.app.db.close().await;
    let app = again(&ground).await.unwrap();
    assert_eq!(app.tickets.secret("devices"), secret);
    assert!(app.tickets.keys().check(&ticket).is_ok());
    assert_eq!(std::fs::read_to_string(ground.folder.path().join("operator.token")).unwrap(), token);
    let ada = ada.on(crate::router(app));
    assert_eq!(ada.get("/functions/hello/versions/live").await.status, 200);
    assert_eq!(ada.post("/functions", json!({"name": "next"})).await.status, 201);
}

async fn several_start_at_once_on_nothing(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    let url = match ground.app.config.database.clone() {
        sqlite if sqlite.starts_with("sqlite:") => sqlite_url(folder.path()),
        postgres => {
            let sql = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
            ground.app.db.write().execute_unprepared(sql).await.unwrap();
            postgres
        }
    };
    let start = || {
        let config = config(folder.path(), url.clone(), ground.node);
        let store = store::Store::disk(folder.path().join("store")).unwrap();
        async move { tokio::spawn(App::open(config, store, None)).await.unwrap() }
    };
    let (one, two, three, four) = tokio::join!(start(), start(), start(), start());
    let apps = [one, two, three, four].map(|app| app.map_err(|error| error.to_string()).unwrap());
    // And they are one platform.
    let token = std::fs::read_to_string(folder.path().join("operator.token")).unwrap();
    for app in &apps {
        assert_eq!(app.tickets.secret("devices"), apps[0].tickets.secret("devices"));
        assert!(apps[0].tickets.keys().check(&app.tickets.issue(&any_ticket(ground.node))).is_ok());
        app.operator.check(&token).unwrap();
    }
}

/// Its sweep would take all bytes for those of nobody.
async fn another_platforms_store_is_refused(ground: Ground) {
    let (_writing, blob) = ground.put(&b"somebody's"[..]).await;
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), sqlite_url(folder.path()), ground.node);
    let refused = App::open(config, ground.app.store.clone(), None).await.err().unwrap();
    assert!(matches!(refused, StartError::Store(store::ClaimError::Another { .. })), "{refused}");
    assert_eq!(ground.segments(blob.id).len(), 1);
    again(&ground).await.unwrap();
}

/// Its disk is not mounted.
async fn a_store_that_is_not_what_it_was_is_refused(ground: Ground) {
    let [folder, away] = ["store", "away"].map(|name| ground.folder.path().join(name));
    ground.app.db.close().await;
    std::fs::rename(&folder, &away).unwrap();
    let refused = again(&ground).await.err().unwrap();
    assert!(matches!(refused, StartError::Store(store::ClaimError::Lost { .. })), "{refused}");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    again(&ground).await.unwrap();
}

/// Where something is sealed under a key that is made of it, a missing one is not made anew; another one is never taken.
async fn another_root_secret_is_refused(ground: Ground) {
    let (key, kept) = (ground.folder.path().join("ticket.key"), ground.folder.path().join("kept.key"));
    std::fs::rename(&key, &kept).unwrap();
    std::fs::write(&key, [8; 32]).unwrap();
    let refused = again(&ground).await.err().unwrap();
    assert!(matches!(&refused, StartError::TicketKeyOfAnother(path) if *path == key), "{refused}");

    std::fs::remove_file(&key).unwrap();
    let renumber = |from: u32, to: u32| format!("UPDATE store_keys SET number = {to} WHERE number = {from}");
    ground.app.db.write().execute_unprepared(&renumber(1, 0)).await.unwrap();
    let refused = again(&ground).await.err().unwrap();
    assert!(matches!(&refused, StartError::TicketKeyMissing(path) if *path == key), "{refused}");
    assert!(!key.exists(), "none is made in its place");
    ground.app.db.write().execute_unprepared(&renumber(0, 1)).await.unwrap();
    let refused = again(&ground).await.err().unwrap();
    assert!(matches!(&refused, StartError::TicketKeyMissing(_)), "its folder may only not be mounted: {refused}");
    let mut config = ground.app.config.clone();
    config.ticket_key_new = true;
    App::open(config, ground.app.store.clone(), None).await.unwrap();
    assert!(key.exists(), "all master keys are in their own files");
    std::fs::rename(&kept, &key).unwrap();
    let refused = again(&ground).await.err().unwrap();
    assert!(matches!(&refused, StartError::TicketKeyOfAnother(_)), "there is another one now: {refused}");
}

async fn newer_data_is_refused(ground: Ground) {
    let sql = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_from_the_future', 0)";
    ground.app.db.write().execute_unprepared(sql).await.unwrap();
    ground.app.db.close().await;
    let refused = again(&ground).await.err().unwrap();
    assert!(matches!(refused, StartError::NewerSchema { .. }), "{refused}");
    assert!(refused.to_string().contains("newer version of crowdcloud (it has the migration m9999_from_the_future)"));
}

#[test]
fn keys_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = config(folder.path(), sqlite_url(folder.path()), NodeId::new());
    let store = store::Store::disk(folder.path().join("store")).unwrap();
    runtime.block_on(App::open(config, store, None)).map(drop).unwrap();
    for file in ["ticket.key", "operator.token", "store-keys/1.key"] {
        let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    std::fs::write(folder.path().join("ticket.key"), b"short").unwrap();
    let config = self::config(folder.path(), sqlite_url(folder.path()), NodeId::new());
    let store = store::Store::disk(folder.path().join("store")).unwrap();
    let refused = runtime.block_on(App::open(config, store, None)).err().unwrap();
    assert!(matches!(refused, StartError::TicketKey(_)));
}
