//! The platform as users run it: the `crowdcloud` program, `up`, then the same commands that a user types.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use protocol::api::UsageSums;
use serde::Deserialize;

use crate::http::{self, Target};
use crate::memory::resident_kib;
use crate::nats::Counter;
use crate::process::{Process, free_address};
use crate::threads;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(15);
/// All receipts must be settled by then; looked at so often.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const SETTLED_EVERY: Duration = Duration::from_millis(100);
const LANE_WITHIN: Duration = Duration::from_secs(240);
const ACCOUNT: &str = "bench";
pub(crate) const FUNCTION: &str = "hello";
/// More calls than connections, so that the limit is there but is not what is measured.
const CONCURRENCY: &str = "256";

/// Where its parts are, as `cargo xtask bench` says.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) program: PathBuf,
    pub(crate) nats_server: PathBuf,
    /// The smallest HTTP component.
    pub(crate) component: PathBuf,
}

impl Parts {
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let place = |name: &str| {
            let value = std::env::var_os(name).map(PathBuf::from);
            value.with_context(|| format!("{name} is not set; `cargo xtask bench` sets it"))
        };
        let component = place("CROWDCLOUD_EXAMPLES")?.join("hello/dist/hello.wasm");
        ensure!(component.is_file(), "{} is missing; `cargo xtask build-guests` makes it", component.display());
        Ok(Self { program: place("CROWDCLOUD_BIN")?, nats_server: place("CROWDCLOUD_NATS_SERVER")?, component })
    }
}

/// A running platform.
pub(crate) struct Platform {
    parts: Parts,
    /// Data, the user's configuration, the log.
    folder: PathBuf,
    process: Process,
    address: SocketAddr,
    nats: SocketAddr,
    /// From the start of the process to its first `ready`.
    pub(crate) ready_after: Duration,
}

/// What `deploy --json` says.
#[derive(Deserialize)]
struct Released {
    url: String,
}

impl Platform {
    /// Starts it in this folder, where it continues with what is there.
    pub(crate) async fn start(parts: &Parts, folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(parts, folder, &[]).await
    }

    /// The same, with more flags.
    pub(crate) async fn start_with(parts: &Parts, folder: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        Self::start_at(parts, folder, flags, free_address()?).await
    }

    /// The same, at the address where its user is logged in.
    pub(crate) async fn start_at(
        parts: &Parts,
        folder: &Path,
        flags: &[&str],
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        Self::start_in(parts, folder, flags, address, &[]).await
    }

    /// The same, where parts of a call are counted apart.
    pub(crate) async fn start_profiled(parts: &Parts, folder: &Path) -> anyhow::Result<Self> {
        let variable = (fabric::profile::VARIABLE, fabric::profile::PARTS);
        Self::start_in(parts, folder, &[], free_address()?, &[variable]).await
    }

    /// The same, where halves of bills stay on disk.
    pub(crate) async fn start_unsettled(parts: &Parts, folder: &Path) -> anyhow::Result<Self> {
        let variable = ("CROWDCLOUD_SETTLEMENT_PAUSED", "true");
        Self::start_in(parts, folder, &[], free_address()?, &[variable]).await
    }

    /// The same, with these variables in its environment.
    pub(crate) async fn start_with_variables(
        parts: &Parts,
        folder: &Path,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        Self::start_in(parts, folder, &[], free_address()?, variables).await
    }

    async fn start_in(
        parts: &Parts,
        folder: &Path,
        flags: &[&str],
        address: SocketAddr,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let nats = free_address()?;
        let log = File::options().create(true).append(true).open(folder.join("log"))?;
        let mut command = Command::new(&parts.program);
        command.args(["up", "--listen", &address.to_string(), "--nats-listen", &nats.to_string(), "--data"]);
        command.arg(folder.join("data")).args(flags).env("CROWDCLOUD_NATS_SERVER", &parts.nats_server);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let process = Process::spawn(&mut command)?;
        let (parts, folder) = (parts.clone(), folder.to_owned());
        let mut platform = Self { parts, folder, process, address, nats, ready_after: Duration::ZERO };
        let ready = Target::new(address, "/readyz");
        while !http::get(&ready).await.is_ok_and(|answer| answer.status().is_success()) {
            if platform.process.ended().is_some() || began.elapsed() > READY_WITHIN {
                bail!("the platform does not start:\n{}", std::fs::read_to_string(platform.folder.join("log"))?);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        platform.ready_after = began.elapsed();
        Ok(platform)
    }

    /// Signs up, as a user does.
    pub(crate) fn sign_up(&self) -> anyhow::Result<()> {
        let email = ["signup", "--email", "bench@example.com", "--password-stdin", "--account-name", ACCOUNT];
        self.command(&email, "a long enough pass phrase").map(drop)
    }

    /// Signs up and deploys; what to call.
    pub(crate) fn deploy(&self) -> anyhow::Result<Target> {
        self.sign_up()?;
        self.deploy_more(&self.parts.component, FUNCTION, &["--concurrency", CONCURRENCY])
    }

    /// The same user deploys another.
    pub(crate) fn deploy_more(&self, artifact: &Path, name: &str, flags: &[&str]) -> anyhow::Result<Target> {
        self.deploy_timed(artifact, name, flags).map(|(target, _)| target)
    }

    /// The same, and how long `deploy` took.
    pub(crate) fn deploy_timed(
        &self,
        artifact: &Path,
        name: &str,
        flags: &[&str],
    ) -> anyhow::Result<(Target, Duration)> {
        let artifact = artifact.to_str().context("the artifact's path is not UTF-8")?;
        let began = Instant::now();
        let released = self.command(&[&["deploy", artifact, "--name", name, "--json"], flags].concat(), "")?;
        let took = began.elapsed();
        let released: Released = serde_json::from_str(&released).with_context(|| released.clone())?;
        let key = self.command(&["token"], "")?;
        let path = released.url.split_once("/f/").context("the function's URL has no path")?.1;
        let target = Target::new(self.address, format!("/f/{}/", path.trim_end_matches('/'))).with_key(key.trim());
        Ok((target, took))
    }

    /// Waits until the local node has the VM lane.
    pub(crate) async fn lane_is_ready(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let nodes = self.command(&["nodes", "list", "--json"], "")?;
            let nodes: serde_json::Value = serde_json::from_str(&nodes)?;
            let vm = &nodes["items"][0]["vm"];
            match vm["state"].as_str() {
                Some("ready") => return Ok(()),
                Some("missing") => bail!("the node has no VM lane: {}", vm["why"]),
                _ => ensure!(began.elapsed() < LANE_WITHIN, "the VM lane is still starting"),
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// The same function, after another start.
    pub(crate) fn moved(&self, target: &Target) -> Target {
        target.moved(self.address)
    }

    /// Waits until so many successes of the function are settled, not for ever; what is by then.
    pub(crate) async fn settled(&self, key: &str, successes: u64) -> anyhow::Result<UsageSums> {
        let began = Instant::now();
        loop {
            let usage = self.usage_of(FUNCTION, key).await?;
            if usage.succeeded >= successes || began.elapsed() > SETTLED_WITHIN {
                return Ok(usage);
            }
            tokio::time::sleep(SETTLED_EVERY).await;
        }
    }

    /// What has been settled of a function.
    pub(crate) async fn usage_of(&self, function: &str, key: &str) -> anyhow::Result<UsageSums> {
        let target = Target::new(self.address, format!("/api/v1/functions/{function}/usage")).with_key(key);
        http::get_json(&target).await
    }

    /// Where it listens.
    pub(crate) fn at(&self, path: &str) -> Target {
        Target::new(self.address, path)
    }

    /// The processes of services that run apart, by name.
    pub(crate) fn pids(&self) -> anyhow::Result<BTreeMap<String, u32>> {
        Ok(serde_json::from_slice(&std::fs::read(self.folder.join("data/run/pids.json"))?)?)
    }

    /// What its nats-server has seen.
    pub(crate) async fn nats_counter(&self) -> anyhow::Result<Counter> {
        Counter::connect(&self.nats_url(), &self.keys()).await
    }

    /// Its nats-server.
    pub(crate) fn nats_url(&self) -> String {
        format!("nats://{}", self.nats)
    }

    /// The folder with the operator's keys.
    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.join("data/keys")
    }

    /// Resident memory of all its processes, nats-server included.
    pub(crate) fn resident(&self) -> Vec<(String, u64)> {
        resident_kib(self.process.id())
    }

    /// CPU time of all its threads so far, by their names, nats-server included.
    pub(crate) fn cpu(&self) -> BTreeMap<String, Duration> {
        threads::cpu(self.process.id())
    }

    /// Ctrl-C; how long it took.
    pub(crate) async fn stop(self) -> anyhow::Result<Duration> {
        self.process.interrupt(STOPPED_WITHIN).await
    }

    pub(crate) fn command(&self, args: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.parts.program);
        command.args(args).args(["--no-input", "--url", &format!("http://{}", self.address)]);
        command.env("XDG_CONFIG_HOME", self.folder.join("config")).current_dir(&self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("crowdcloud cannot be run")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`crowdcloud {}` failed:\n{errors}", args.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }
}
