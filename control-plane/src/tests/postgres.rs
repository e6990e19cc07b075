//! A PostgreSQL server of the test's own, in a temporary folder, as an unprivileged user.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};

/// The server; it dies with this.
pub(crate) struct Postgres {
    child: Child,
    port: u16,
    admin: DatabaseConnection,
    _folder: tempfile::TempDir,
}

/// Debian keeps the programs in a folder of the version.
fn programs() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = found.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    newest.unwrap_or_else(|| panic!("PostgreSQL is missing: apt-get install postgresql (`cargo xtask test` does it)"))
}

fn id_of_postgres(what: &str) -> u32 {
    let id = Command::new("id").args([what, "postgres"]).output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().parse().expect("there is no user `postgres`")
}

/// PostgreSQL refuses to run as root.
fn unprivileged(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    if rustix_is_root() {
        command.uid(id_of_postgres("-u")).gid(id_of_postgres("-g"));
    }
    command
}

fn rustix_is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

impl Postgres {
    pub(crate) async fn start() -> Self {
        let (programs, folder) = (programs(), tempfile::tempdir().unwrap());
        if rustix_is_root() {
            std::os::unix::fs::chown(folder.path(), Some(id_of_postgres("-u")), None).unwrap();
        }
        let data = folder.path().join("data");
        let mut initdb = unprivileged(&programs.join("initdb"), folder.path());
        let made = initdb.args(["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "-D"]).arg(&data).status();
        assert!(made.unwrap().success(), "initdb failed");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = unprivileged(&programs.join("postgres"), folder.path());
        server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k"]).arg(folder.path());
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200"]);
        let child = server.spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        let admin = loop {
            match Box::pin(Database::connect(url(port, "postgres"))).await {
                Ok(admin) => break admin,
                Err(error) => assert!(Instant::now() < until, "PostgreSQL does not start: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        Self { child, port, admin, _folder: folder }
    }

    /// The URL of a new, empty database.
    pub(crate) async fn database(&self, name: &str) -> String {
        self.admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        url(self.port, name)
    }
}

fn url(port: u16, name: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{name}")
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
