//! A machine that is lent, as a lender has it: `crowdcloud lend` with a folder of its own, behind a relay of ours; and what
//! its owner says to it.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use protocol::NodeId;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::account::Account;
use super::relay::Relay;
use crate::process::Process;

const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(super) struct Lender {
    pub(super) node: NodeId,
    pub(super) relay: Relay,
    program: PathBuf,
    folder: PathBuf,
    flags: &'static [&'static str],
    /// Until it has joined.
    token: Option<String>,
    process: Option<Process>,
}

impl Lender {
    /// A machine of this name, with a token.
    pub(super) fn new(account: &Account<'_>, name: &str, flags: &'static [&'static str]) -> anyhow::Result<Self> {
        let relay = Relay::start(account.platform.at("/").address)?;
        let (token, node) = account.token(name, &relay)?;
        let (program, folder) = (account.parts.program.clone(), account.folder.join(name));
        Ok(Self { node, relay, program, folder, flags, token: Some(token.to_string()), process: None })
    }

    /// Joins, or goes on.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.program);
        command.args(["lend", "--yes", "--data"]).arg(&self.folder).args(self.flags);
        if let Some(token) = self.token.take() {
            command.args(["--token", &token]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(Process::spawn(&mut command)?);
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    /// Ctrl-C.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        let process = self.process.take().context("it does not run")?;
        process.interrupt(STOPPED_WITHIN).await.map(drop).with_context(|| self.said())
    }

    /// Waits until it ends by itself; whether it says that it failed.
    pub(super) async fn ends(&mut self, within: Duration) -> anyhow::Result<bool> {
        let (mut process, began) = (self.process.take().context("it does not run")?, Instant::now());
        loop {
            if let Some(status) = process.ended() {
                return Ok(!status.success());
            }
            ensure!(began.elapsed() < within, "it goes on: {}", self.said());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Its supervisor.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.process.as_ref().context("it does not run")?.id())
    }

    /// Its owner's line to it.
    pub(super) async fn owner(&self) -> anyhow::Result<Owner> {
        Owner::open(self.folder.join("lend.sock")).await.with_context(|| self.said())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

/// The machine's control socket. A connection on which nothing is asked is closed soon: each request has its own.
pub(super) struct Owner(PathBuf);

impl Owner {
    async fn open(socket: PathBuf) -> anyhow::Result<Self> {
        let mut owner = Self(socket);
        owner.ask("status").await?;
        Ok(owner)
    }

    /// Has something done (`status`, `pause`, `resume`); how the node is when that is in force.
    async fn ask(&mut self, what: &str) -> anyhow::Result<Value> {
        let mut connection = BufReader::new(UnixStream::connect(&self.0).await?);
        connection.get_mut().write_all(format!("{}\n", json!({ "do": what })).as_bytes()).await?;
        let mut line = String::new();
        ensure!(connection.read_line(&mut line).await? > 0, "the node does not reply");
        let mut reply: Value = serde_json::from_str(&line)?;
        match reply["status"].take() {
            Value::Null => bail!("{line}"),
            status => Ok(status),
        }
    }

    /// How many runs it has.
    pub(super) async fn running(&mut self) -> anyhow::Result<u64> {
        self.ask("status").await?["running"].as_u64().context("a status without its runs")
    }

    pub(super) async fn pause(&mut self) -> anyhow::Result<()> {
        self.ask("pause").await.map(drop)
    }

    pub(super) async fn resume(&mut self) -> anyhow::Result<()> {
        self.ask("resume").await.map(drop)
    }
}
