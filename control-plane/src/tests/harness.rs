//! Short words for what the tests do: a ground, users on it, requests.

use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use protocol::api::{CreateVersion, Version};
use protocol::node::Prepared;
use protocol::{
    AccountId, Blob, BlobId, ByteSize, Code, Digest, FunctionId, Kind, Millis, NodeId, PlacementClass, VersionId,
};
use sea_orm::ConnectionTrait as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::db::Db;
use crate::objects::Writing;
use crate::{App, Config, LocalNode};

/// Makes each case a test on SQLite, and all of them together one on PostgreSQL.
macro_rules! suite {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    Box::pin(super::$case(crate::tests::harness::Ground::sqlite().await)).await;
                }
            )*
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn postgres() {
            let server = crate::tests::postgres::Postgres::start().await;
            $(
                eprintln!("postgres: {}", stringify!($case));
                let url = server.database(stringify!($case)).await;
                let ground = Box::pin(crate::tests::harness::Ground::on(url, |_| {})).await;
                // All of them together would be too large for the stack.
                Box::pin($case(ground)).await;
            )*
        }
    };
}
pub(crate) use suite;

/// A control plane without a fabric, on a database of its own or that of others; the newest leads settlement.
pub(crate) struct Ground {
    pub(crate) app: App,
    pub(crate) router: Router,
    pub(crate) node: NodeId,
    pub(crate) folder: tempfile::TempDir,
    /// Its term as the leader of settlement.
    pub(crate) term: Mutex<JoinSet<()>>,
}

/// A configuration in this folder, with cheap passwords.
pub(crate) fn config(folder: &std::path::Path, database: String, node: NodeId) -> Config {
    Config {
        database,
        ticket_key: folder.join("ticket.key"),
        operator_token: folder.join("operator.token"),
        lenders_key: Some(folder.join("lenders.nk")),
        local_nodes: vec![LocalNode {
            id: node,
            name: "local".to_owned(),
            class: PlacementClass::Operator,
            join: None,
        }],
        password_memory_kib: 8,
        password_passes: 1,
        // What a test posts is committed when it is answered; those of cuts let halves wait.
        settle_hold: Millis(0),
        settle_every: Millis(0),
        ..Config::default()
    }
}

pub(crate) fn sqlite_url(folder: &std::path::Path) -> String {
    format!("sqlite://{}", folder.join("test.db").display())
}

/// In memory where that is to be had: what flushes would cost there is no matter of these tests.
fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}

impl Ground {
    pub(crate) async fn sqlite() -> Self {
        Self::start(None, |_| {}).await
    }

    pub(crate) async fn on(database: String, change: impl FnOnce(&mut Config)) -> Self {
        Self::start(Some(database), change).await
    }

    pub(crate) async fn start(database: Option<String>, change: impl FnOnce(&mut Config)) -> Self {
        let (folder, node) = (folder(), NodeId::new());
        if let Some(database) = &database {
            // Each ground has a store of its own: the one before has gone.
            let db = Db::open(database, 1).await.unwrap();
            db.write().execute_unprepared("DELETE FROM store_engines").await.unwrap();
            db.close().await;
        }
        let database = database.unwrap_or_else(|| sqlite_url(folder.path()));
        let mut config = config(folder.path(), database, node);
        change(&mut config);
        // Grounds on one database are one platform.
        std::fs::write(&config.ticket_key, Digest::of(config.database.as_bytes()).0).unwrap();
        crate::objects::keys::of_tests(&config);
        let store = store::Store::disk(folder.path().join("store")).unwrap();
        let app = App::open(config, store, None).await.unwrap();
        let ground = Self { router: crate::router(app.clone()), app, node, folder, term: Mutex::default() };
        ground.lead().await;
        ground
    }

    /// Leads settlement from now on, where another one did.
    pub(crate) async fn lead(&self) {
        self.lead_until("").await;
    }

    /// The same, until it dies at this point.
    pub(crate) async fn lead_until(&self, point: &'static str) {
        let term = crate::settlement::begin_anew(&self.app, point).await;
        *self.term.lock() = term;
    }

    /// Nobody.
    pub(crate) fn anonymous(&self) -> Client {
        Client { router: self.router.clone(), headers: HeaderMap::new() }
    }

    /// Signs a user up with an account.
    pub(crate) async fn user(&self, email: &str, account: &str) -> Client {
        let asked = json!({"email": email, "password": "correct horse", "account": account});
        let answer = self.anonymous().post("/signup", asked).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        self.anonymous().with("cookie", &answer.cookie())
    }

    /// Signs the operator up, with an account of their own.
    pub(crate) async fn operator(&self) -> Client {
        let token = std::fs::read_to_string(self.folder.path().join("operator.token")).unwrap();
        let asked = json!({
            "email": "op@example.org", "password": "correct horse", "account": "op", "operator_token": token.trim()
        });
        let answer = self.anonymous().post("/signup", asked).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        self.anonymous().with("cookie", &answer.cookie())
    }

    /// An artifact that the account has uploaded.
    pub(crate) async fn artifact(&self, client: &Client, bytes: &'static [u8]) -> Digest {
        let (_writing, blob) = self.put(bytes).await;
        let asked = json!({"account": client.account().await, "blob": blob});
        let answer = self.anonymous().send(Method::POST, "/internal/artifacts", Some(asked)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
        blob.digest
    }

    /// A blob that nothing refers to yet.
    pub(crate) async fn put(&self, bytes: impl Into<Bytes>) -> (Writing, Blob) {
        let writing = self.app.epochs.writing().await.unwrap();
        let blob = self.app.store.put_bytes(writing.epoch(), bytes.into()).await.unwrap();
        (writing, blob)
    }

    /// The files of a blob's segments, in their order.
    pub(crate) fn segments(&self, blob: BlobId) -> Vec<PathBuf> {
        let folder = self.folder.path().join("store/blobs");
        let shards = std::fs::read_dir(folder).unwrap();
        let files = shards.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap());
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.retain(|file| file.file_name().unwrap().to_string_lossy().starts_with(&blob.to_string()));
        files.sort();
        files
    }

    /// The schema as it was before there were blobs, but for a table that is dropped as well.
    pub(crate) async fn before_blobs(&self, dropped: &str) {
        let mut undo: Vec<String> = Vec::new();
        if dropped != "blocks" {
            for (index, columns) in [("blocks_held", "account_id, last_run, first_run"), ("blocks_bodies", "last_run")]
            {
                undo.push(format!("DROP INDEX {index}"));
                undo.push(format!("CREATE INDEX {index} ON blocks ({columns}) WHERE root IS NOT NULL"));
            }
        }
        let owners = ["artifacts", "job_inputs", "job_outputs", "blocks", "log_blocks"];
        for owner in owners.into_iter().filter(|owner| *owner != dropped) {
            undo.push(format!("DROP INDEX {owner}_blob"));
            undo.push(format!("DROP INDEX {owner}_root"));
            undo.push(format!("ALTER TABLE {owner} DROP COLUMN blob"));
        }
        undo.extend(
            ["blobs", "store_keys", "store_epochs", "store_horizon", "store_engines", "models"]
                .map(|table| format!("DROP TABLE {table}")),
        );
        undo.extend(["store_drains", "store_notes"].map(|table| format!("DROP TABLE {table}")));
        undo.push("DELETE FROM counters WHERE name = 'store_epochs'".to_owned());
        let migrations = "DELETE FROM seaql_migrations WHERE version IN \
                          ('m0040_blobs', 'm0041_moving', 'm0042_store_keys', 'm0043_store_disks', \
                          'm0044_store_marks', 'm0047_store_copies')";
        undo.push(migrations.to_owned());
        for sql in undo {
            self.app.db.write().execute_unprepared(&sql).await.unwrap();
        }
        // Nor was there a store of blobs.
        std::fs::remove_dir_all(self.folder.path().join("store")).unwrap();
    }

    /// Deploys a version without a node: it is compiling.
    pub(crate) async fn compiling(&self, client: &Client, function: &str) -> Version {
        let artifact = self.artifact(client, b"an artifact").await;
        let answer = client.post(&format!("/functions/{function}/versions"), version_of(artifact)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        answer.read()
    }

    /// As if a node had prepared it.
    pub(crate) async fn ready(&self, version: VersionId) {
        let prepared = Prepared {
            kind: Kind::Http,
            format: "component".to_owned(),
            compile_ms: 1,
            code_size: ByteSize(1),
            form: protocol::ArtifactForm::Wasm,
            notes: vec!["It is one of the tests'.".to_owned()],
        };
        crate::functions::versions::finish(&self.app, version, Ok(prepared)).await.unwrap();
    }

    /// Deploys a version that becomes ready.
    pub(crate) async fn deployed(&self, client: &Client, function: &str) -> Version {
        let version = self.compiling(client, function).await;
        self.ready(version.id).await;
        client.get(&format!("/functions/{function}/versions/{}", version.number)).await.read()
    }

    /// A function with one ready version.
    pub(crate) async fn function(&self, client: &Client, name: &str) -> (FunctionId, Version) {
        let made = client.post("/functions", json!({"name": name})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let function: protocol::api::Function = made.read();
        (function.id, self.deployed(client, name).await)
    }
}

pub(crate) fn version_of(artifact: Digest) -> Value {
    let asked: CreateVersion = serde_json::from_value(json!({"artifact": artifact})).unwrap();
    serde_json::to_value(asked).unwrap()
}

/// Somebody who asks.
#[derive(Clone)]
pub(crate) struct Client {
    router: Router,
    headers: HeaderMap,
}

/// What they are answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn new(router: Router) -> Self {
        Self { router, headers: HeaderMap::new() }
    }

    /// The same asker, elsewhere.
    pub(crate) fn on(&self, router: Router) -> Self {
        Self { router, headers: self.headers.clone() }
    }

    /// The session's token.
    pub(crate) fn token(&self) -> &str {
        crate::identity::credentials::presented(&self.headers).unwrap()
    }

    /// An answer's body, while it comes.
    pub(crate) async fn stream(&self, path: &str) -> Body {
        let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
        request.headers_mut().extend(self.headers.clone());
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body()
    }

    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.insert(name, value.parse().unwrap());
        client
    }

    pub(crate) fn with_headers(&self, headers: HeaderMap) -> Self {
        let mut client = self.clone();
        client.headers.extend(headers);
        client
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        let mut client = self.clone();
        client.headers.clear();
        client.with("authorization", &format!("Bearer {key}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, &format!("/api/v1{path}"), None).await
    }
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, &format!("/api/v1{path}"), Some(body)).await
    }
    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, &format!("/api/v1{path}"), Some(body)).await
    }
    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, &format!("/api/v1{path}"), Some(body)).await
    }
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, &format!("/api/v1{path}"), None).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.raw(method, path, body.map_or_else(Vec::new, |body| body.to_string().into_bytes())).await
    }

    pub(crate) async fn raw(&self, method: Method, path: &str, body: Vec<u8>) -> Answer {
        self.streamed(method, path, Body::from(body)).await
    }

    /// A body that may take its time.
    pub(crate) async fn streamed(&self, method: Method, path: &str, body: Body) -> Answer {
        let mut request = Request::builder().method(method).uri(path).body(body).unwrap();
        request.headers_mut().extend(self.headers.clone());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The only account's id.
    pub(crate) async fn account(&self) -> AccountId {
        self.get("/me").await.read::<protocol::api::Me>().accounts[0].account.id
    }

    /// A key of the account.
    pub(crate) async fn key(&self, scopes: &[&str]) -> Self {
        let answer = self.post("/keys", json!({"name": "k", "scopes": scopes})).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        self.with_key(&answer.read::<protocol::api::Key>().secret.unwrap())
    }
}

impl Answer {
    pub(crate) fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
    pub(crate) fn code(&self) -> Code {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert!(protocol::proxy_status::is_ours(self.header("proxy-status")), "{self:?}");
        let problem: protocol::Problem = self.read();
        assert_eq!(problem.status, self.status.as_u16());
        problem.code
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }
    pub(crate) fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}
