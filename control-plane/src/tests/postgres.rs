//! A PostgreSQL server of the test's own, in a temporary folder, with a database for each case. What a server begins as,
//! with the schema in it, is made once for a build: that takes longer than most cases.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};

use crate::db::Db;

/// The server; it dies with this.
pub(crate) struct Postgres {
    server: provision::Postgres,
    admin: DatabaseConnection,
    _folder: tempfile::TempDir,
}

/// What all databases of tests begin as.
const SCHEMA: &str = "schema_of_all";
/// Nothing of it outlives its test.
const SETTINGS: [&str; 5] =
    ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "max_connections=200"];
/// What servers begin as lies beside the programs of a build, by this name and the time of the build.
const CLUSTER: &str = "postgres-of-tests-";

impl Postgres {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&cluster().await, &folder.path().join("data"));
        let server = serve(folder.path());
        let admin = connect(&server).await;
        Self { server, admin, _folder: folder }
    }

    /// The URL of a new database without any rows, a copy of the one that has the schema.
    pub(crate) async fn database(&self, name: &str) -> String {
        self.admin.execute_unprepared(&format!("CREATE DATABASE {name} TEMPLATE {SCHEMA}")).await.unwrap();
        self.server.url(name)
    }
}

fn serve(folder: &Path) -> provision::Postgres {
    provision::Postgres::start(folder, &SETTINGS).unwrap_or_else(|error| panic!("{error}"))
}

async fn connect(server: &provision::Postgres) -> DatabaseConnection {
    Box::pin(Database::connect(server.url("postgres"))).await.unwrap()
}

/// What servers of this build begin as, made by whichever test comes first.
async fn cluster() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let beside = program.parent().unwrap();
    let built = std::fs::metadata(&program).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
    let cluster = beside.join(format!("{CLUSTER}{}", built.as_millis()));
    let turn = File::create(beside.join("postgres-of-tests.lock")).unwrap();
    turn.lock().unwrap();
    if !cluster.exists() {
        for old in std::fs::read_dir(beside).unwrap().flatten() {
            if old.file_name().to_string_lossy().starts_with(CLUSTER) {
                std::fs::remove_dir_all(old.path()).unwrap();
            }
        }
        let folder = tempfile::tempdir().unwrap();
        Box::pin(make_schema(serve(folder.path()))).await;
        let partial = beside.join(format!("{CLUSTER}partial"));
        copy(&folder.path().join("data"), &partial);
        std::fs::rename(partial, &cluster).unwrap();
    }
    cluster
}

async fn make_schema(server: provision::Postgres) {
    let admin = connect(&server).await;
    admin.execute_unprepared(&format!("CREATE DATABASE {SCHEMA}")).await.unwrap();
    let db = Db::open(&server.url(SCHEMA), 2).await.unwrap();
    // Only what nobody is connected to can be copied.
    db.close().await;
    admin.close().await.unwrap();
    server.stop().unwrap();
}

/// With owners, because a server's files are its own user's.
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success(), "{}: {done}", from.display());
}
