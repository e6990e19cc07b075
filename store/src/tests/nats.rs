//! Real nats-servers for these tests, alone or three in a cluster.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server with JetStream, killed when dropped.
pub(super) struct NatsServer {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl NatsServer {
    pub(super) fn start() -> Self {
        Self::spawn(free_port(), |config| config.push_str("jetstream { store_dir: 'DIR' }\n"))
    }

    pub(super) fn without_jetstream() -> Self {
        Self::spawn(free_port(), |_| ())
    }

    /// Three of them, each with every stream of three replicas.
    pub(super) fn cluster() -> [Self; 3] {
        let ports = [0; 3].map(|_| free_port());
        let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let routes = routes.join(", ");
        ports.map(|port| {
            Self::spawn(free_port(), |config| {
                config.push_str(&format!(
                    "server_name: s{port}\njetstream {{ store_dir: 'DIR' }}\n\
                     cluster {{ name: c, listen: '127.0.0.1:{port}', routes: [{routes}] }}\n"
                ));
            })
        })
    }

    fn spawn(port: u16, extend: impl FnOnce(&mut String)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = format!("listen: '127.0.0.1:{port}'\n");
        extend(&mut config);
        let file = folder.path().join("server.conf");
        std::fs::write(&file, config.replace("DIR", folder.path().to_str().unwrap())).unwrap();
        let binary = binary();
        let child = Command::new(&binary)
            .arg("-c")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` fetches nats-server", binary.display()));
        Self { child, port, _folder: folder }
    }

    pub(super) async fn client(&self) -> async_nats::Client {
        connect(&[self]).await
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A client of these servers, as soon as one of them answers.
pub(super) async fn connect(servers: &[&NatsServer]) -> async_nats::Client {
    let urls: Vec<String> = servers.iter().map(|server| format!("nats://127.0.0.1:{}", server.port)).collect();
    for _ in 0..200 {
        if let Ok(client) = async_nats::connect(&urls).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nats-server does not answer at {urls:?}");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(super) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CROWDCLOUD_NATS_SERVER") {
        return path.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".cache"))
    });
    cache.unwrap_or_default().join("crowdcloud/bin/nats-server")
}
