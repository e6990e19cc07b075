//! A control plane alone, as `up --separate` starts one, and its nats-server: whoever plays gateways and nodes is the only
//! other one there.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fabric::{Authority, Fabric, FabricConfig, Identity, NatsServer, NatsServerConfig, UserKey};
use protocol::{InstanceId, NodeId};

use super::cuts::Cuts;
use crate::http::{self, Target};
use crate::nats;
use crate::process::{Process, free_address};
use crate::threads;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// The programs that it is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Programs<'a> {
    pub(super) crowdcloud: &'a Path,
    pub(super) nats_server: &'a Path,
}

/// A running control plane.
pub(super) struct ControlPlane {
    process: Process,
    line: Line,
    authority: Authority,
    server: NatsServer,
}

/// How it is started, each time.
struct Line {
    crowdcloud: PathBuf,
    nats: String,
    folder: PathBuf,
    database: String,
    nodes: Vec<NodeId>,
    metrics: SocketAddr,
}

impl ControlPlane {
    /// Starts one on this database, with everything else in this folder. These nodes are the operator's.
    pub(super) async fn start(
        programs: Programs<'_>,
        folder: &Path,
        database: String,
        nodes: Vec<NodeId>,
    ) -> anyhow::Result<Self> {
        let authority = Authority::open(&folder.join("keys"))?;
        let listen = "127.0.0.1:0".parse()?;
        let binary = programs.nats_server.to_owned();
        let server = NatsServer::start(NatsServerConfig { binary, folder: folder.join("nats"), listen }, &authority);
        let server = server.await?;
        for (file, user) in [
            ("core.creds", authority.core_user("control-plane")?),
            ("lenders.creds", authority.lenders_user("control-plane")?),
        ] {
            std::fs::write(folder.join(file), nats::credentials_file(&user))?;
        }
        let line = Line {
            crowdcloud: programs.crowdcloud.to_owned(),
            nats: server.url(),
            folder: folder.to_owned(),
            database,
            nodes,
            metrics: free_address()?,
        };
        let process = line.start(&[]).await?;
        Ok(Self { process, line, authority, server })
    }

    /// Stops it, and starts it again on the same data with these flags.
    pub(super) async fn again(mut self, flags: &[&str]) -> anyhow::Result<Self> {
        self.process.interrupt(STOPPED_WITHIN).await?;
        self.process = self.line.start(flags).await?;
        Ok(self)
    }

    /// Stops it and its nats-server.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.process.interrupt(STOPPED_WITHIN).await?;
        self.server.stop().await;
        Ok(())
    }

    /// A connection of a part of the core.
    pub(super) async fn core(&self, name: &str) -> anyhow::Result<Fabric> {
        self.connect(self.authority.core_user(name)?, Identity::Core(InstanceId::new()), name).await
    }

    /// A connection of one of the nodes.
    pub(super) async fn node(&self, node: NodeId) -> anyhow::Result<Fabric> {
        let credentials = UserKey::generate().of_node(self.authority.registrar(), node)?;
        self.connect(credentials, Identity::Node(node), "a node").await
    }

    async fn connect(
        &self,
        credentials: fabric::Credentials,
        identity: Identity,
        name: &str,
    ) -> anyhow::Result<Fabric> {
        let config = FabricConfig { url: self.line.nats.clone(), credentials, identity, name: name.to_owned() };
        Ok(Box::pin(Fabric::connect(config)).await?)
    }

    /// The nodes that it knows.
    pub(super) fn nodes(&self) -> &[NodeId] {
        &self.line.nodes
    }

    /// Where its objects are.
    pub(super) fn store(&self) -> PathBuf {
        self.line.store()
    }

    /// CPU time of its process so far.
    pub(super) fn cpu(&self) -> Duration {
        threads::whole(self.process.id())
    }

    /// CPU time of its threads so far, finer: of those that are there now.
    pub(super) fn cpu_of_threads(&self) -> Duration {
        threads::cpu(self.process.id()).into_values().sum()
    }

    /// The cuts that it has made since its start.
    pub(super) async fn cuts(&self) -> anyhow::Result<Cuts> {
        let text = http::get(&Target::new(self.line.metrics, "/metrics")).await?;
        Ok(Cuts::read(&String::from_utf8_lossy(text.body())))
    }
}

impl Line {
    fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// Starts the process, and waits until it takes requests.
    async fn start(&self, flags: &[&str]) -> anyhow::Result<Process> {
        let log = self.folder.join("control-plane.log");
        let out = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(&self.crowdcloud);
        command.args(["control-plane", "--connect", &self.nats, "--credentials"]).arg(self.folder.join("core.creds"));
        command.arg("--lenders-credentials").arg(self.folder.join("lenders.creds"));
        command.args(["--database", &self.database, "--metrics-listen", &self.metrics.to_string()]);
        command.arg("--store-dir").arg(self.store()).arg("--ticket-key").arg(self.folder.join("ticket.key"));
        command.arg("--operator-token").arg(self.folder.join("operator.token")).args(["--accounts-max", "1000"]);
        for (number, node) in self.nodes.iter().enumerate() {
            command.args(["--local-node", &format!("{node}=bench-{number}")]);
        }
        command.args(flags).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let began = Instant::now();
        let mut process = Process::spawn(&mut command)?;
        let ready = Target::new(self.metrics, "/readyz");
        while !http::get(&ready).await.is_ok_and(|answer| answer.status().is_success()) {
            if process.ended().is_some() || began.elapsed() > READY_WITHIN {
                let log = std::fs::read_to_string(&log).context("the control plane has no log")?;
                bail!("the control plane does not start:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(process)
    }
}
