//! NATS: a server of our own with a bare echo, as the floor of what any call through it costs; and what the
//! platform's server has seen.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::StreamExt as _;

use crate::load::{Lane, Sample, Window};
use crate::process::{Process, free_address};

const SUBJECT: &str = "echo";

/// A server and an echo service on it.
pub(crate) struct Echo {
    url: String,
    service: tokio::task::JoinHandle<()>,
    _server: Process,
}

impl Echo {
    pub(crate) async fn start(binary: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(binary);
        command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]);
        let server = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let url = format!("nats://{address}");
        let client = connect_bare(&url).await?;
        let mut requests = client.subscribe(SUBJECT).await?;
        client.flush().await?;
        let service = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                if let Some(reply) = request.reply {
                    drop(client.publish(reply, request.payload).await);
                }
            }
        });
        Ok(Self { url, service, _server: server })
    }

    /// Request and reply, so many at once on one connection, as the platform's parts use it.
    pub(crate) async fn load(&self, callers: usize, measured: Duration) -> anyhow::Result<Sample> {
        let url = self.url.clone();
        let thread = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async move {
                let client = async_nats::connect(&url).await?;
                let window = Window::from_now(measured);
                let lanes = (0..callers).map(|_| caller(client.clone(), window));
                Ok(window.sum(futures::future::join_all(lanes).await))
            })
        });
        thread.await.context("the load generator broke")?
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.service.abort();
    }
}

async fn caller(client: async_nats::Client, window: Window) -> Lane {
    let payload = Bytes::from_static(&[b'x'; 256]);
    let mut lane = Lane::default();
    while !window.is_over() {
        let sent = Instant::now();
        let answer = client.request(SUBJECT, payload.clone()).await;
        let answer = answer.context("no reply").and_then(|reply| {
            ensure!(reply.payload == payload, "another payload came back");
            Ok(())
        });
        lane.record(answer, sent, &window);
    }
    lane
}

/// The platform's server, seen through its system account.
pub(crate) struct Counter {
    client: async_nats::Client,
}

impl Counter {
    /// With the operator's keys, from the platform's data folder.
    pub(crate) async fn connect(url: &str, keys: &Path) -> anyhow::Result<Self> {
        let user = fabric::Authority::open(keys)?.system_user("bench")?;
        Ok(Self { client: connect_as(url, &user).await? })
    }

    /// Messages that clients have sent to it since its start.
    pub(crate) async fn messages_in(&self) -> anyhow::Result<u64> {
        let reply = self.client.request("$SYS.REQ.SERVER.PING.VARZ", Bytes::new()).await?;
        let varz: serde_json::Value = serde_json::from_slice(&reply.payload)?;
        varz["data"]["in_msgs"].as_u64().context("nats-server does not count its messages")
    }
}

/// A user as it stands in a `.creds` file.
pub(crate) fn credentials_file(user: &fabric::Credentials) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.jwt,
        user.seed().unwrap_or_default()
    )
}

/// Connects as this user.
pub(crate) async fn connect_as(url: &str, user: &fabric::Credentials) -> anyhow::Result<async_nats::Client> {
    let credentials = credentials_file(user);
    async_nats::ConnectOptions::with_credentials(&credentials)?;
    connect(url, || async_nats::ConnectOptions::with_credentials(&credentials).unwrap_or_default()).await
}

/// Connects to a server that asks nobody who he is.
pub(crate) async fn connect_bare(url: &str) -> anyhow::Result<async_nats::Client> {
    connect(url, async_nats::ConnectOptions::new).await
}

/// Connects as soon as the server answers.
async fn connect(url: &str, options: impl Fn() -> async_nats::ConnectOptions) -> anyhow::Result<async_nats::Client> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match options().connect(url).await {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => return Err(error).context("nats-server does not answer"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The server that xtask has fetched.
#[cfg(test)]
pub(crate) fn binary() -> std::path::PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache"))).unwrap();
    std::env::var_os("CROWDCLOUD_NATS_SERVER").map_or(cache.join("crowdcloud/bin/nats-server"), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_echo_answers_every_request() {
        let echo = Echo::start(&binary()).await.unwrap();
        let sample = echo.load(4, Duration::from_millis(300)).await.unwrap();
        assert_eq!((sample.failures, sample.first_failure), (0, None));
        assert!(sample.successes > 100 && sample.throughput_per_second > 100.0);
        assert!(sample.p50_us > 0.0 && sample.p50_us <= sample.p99_us);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_server_of_a_platform_counts_its_messages() {
        let folder = tempfile::tempdir().unwrap();
        let authority = fabric::Authority::open(&folder.path().join("keys")).unwrap();
        let config = fabric::NatsServerConfig {
            binary: binary(),
            folder: folder.path().join("nats"),
            listen: "127.0.0.1:0".parse().unwrap(),
        };
        let server = fabric::NatsServer::start(config, &authority).await.unwrap();
        let counter = Counter::connect(&server.url(), &folder.path().join("keys")).await.unwrap();
        let before = counter.messages_in().await.unwrap();
        // Its own requests are counted, but not before they are answered.
        let counted = async {
            while counter.messages_in().await.unwrap() <= before {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), counted).await.unwrap();
        server.stop().await;
    }
}
