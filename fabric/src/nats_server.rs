//! The nats-server child process of embedded mode: its configuration, its start, its supervision, its end.
//!
//! A thread of its own spawns and watches the server for as long as it lives: the kernel's "die with your parent"
//! signal belongs to the thread that spawned.

mod orphan;
mod process;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::credentials::{Authority, write_private};
use crate::error::FabricError;
use process::{Child, answers};

/// From the spawn to the first answer.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// A server that says nothing for so long is killed and started again.
const HANGS_AFTER: Duration = Duration::from_secs(2);
const CHECK_EVERY: Duration = Duration::from_millis(250);
const WATCH_EVERY: Duration = Duration::from_millis(20);
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// Between two starts of a server that dies at once.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// The nats-server child process of embedded mode.
#[derive(Debug, Clone)]
pub struct NatsServerConfig {
    pub binary: PathBuf,
    /// JetStream's folder, the config file, and the pid file.
    pub folder: PathBuf,
    /// Port 0: a free one.
    pub listen: SocketAddr,
}

/// A supervised nats-server: restarted when it dies or hangs; dies with this process, also after `kill -9`.
pub struct NatsServer {
    at: Addresses,
    control: Arc<Control>,
    ended: Option<oneshot::Receiver<()>>,
}

/// Where it listens. The same after a restart.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    clients: SocketAddr,
    /// On loopback alone, without TLS: gateways bring nodes there.
    websockets: SocketAddr,
}

#[derive(Default)]
struct Control {
    stop: AtomicBool,
    /// 0: none.
    pid: AtomicU32,
    restarts: AtomicU32,
}

impl NatsServer {
    /// Ends an orphan of an earlier start of the same folder, starts, waits until it is ready.
    pub async fn start(mut config: NatsServerConfig, authority: &Authority) -> Result<Self, FabricError> {
        // Absolute, so that a later start from elsewhere knows an orphan by its command line.
        config.folder = std::path::absolute(&config.folder)
            .map_err(|e| FabricError::Server(format!("{}: {e}", config.folder.display())))?;
        let trust = authority.server_config().to_owned();
        let control = Arc::new(Control::default());
        let (ready_sender, ready) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        let watched = control.clone();
        std::thread::Builder::new()
            .name("nats-server".to_owned())
            .spawn(move || {
                supervise(&config, &trust, &watched, ready_sender);
                let _ = ended_sender.send(());
            })
            .map_err(|e| FabricError::Server(format!("cannot start a thread for nats-server: {e}")))?;
        let at = ready
            .await
            .map_err(|_| FabricError::Server("the thread that watches nats-server has ended".to_owned()))??;
        Ok(Self { at, control, ended: Some(ended) })
    }

    /// Where clients connect. The same after a restart.
    pub fn url(&self) -> String {
        format!("nats://{}", self.at.clients)
    }

    /// Where it takes WebSockets: gateways bring nodes there.
    pub fn websocket(&self) -> SocketAddr {
        self.at.websockets
    }

    /// The child's pid now.
    pub fn pid(&self) -> Option<u32> {
        Some(self.control.pid.load(Ordering::Acquire)).filter(|pid| *pid != 0)
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u32 {
        self.control.restarts.load(Ordering::Acquire)
    }

    /// Stops it cleanly, within 3 s.
    pub async fn stop(mut self) {
        self.control.stop.store(true, Ordering::Release);
        if let Some(ended) = self.ended.take() {
            drop(ended.await);
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::Release);
    }
}

/// The thread: starts, reports, watches, starts again.
fn supervise(
    config: &NatsServerConfig,
    trust: &str,
    control: &Control,
    ready: oneshot::Sender<Result<Addresses, FabricError>>,
) {
    let (mut child, at) = match first_start(config, trust) {
        Ok(started) => started,
        Err(error) => {
            drop(ready.send(Err(error)));
            return;
        }
    };
    control.pid.store(child.pid(), Ordering::Release);
    if ready.send(Ok(at)).is_err() {
        child.stop(STOP_WITHIN);
        return;
    }
    loop {
        let why = watch(&mut child, at.clients, control);
        control.pid.store(0, Ordering::Release);
        let Some(why) = why else {
            child.stop(STOP_WITHIN);
            drop(fs::remove_file(pid_file(&config.folder)));
            return;
        };
        tracing::warn!(why, "nats-server is started again");
        child.kill();
        control.restarts.fetch_add(1, Ordering::AcqRel);
        child = loop {
            if control.stop.load(Ordering::Acquire) {
                return;
            }
            match start_at(config, trust, at) {
                Ok(child) => break child,
                Err(error) => tracing::error!(%error, "nats-server cannot be started again"),
            }
            std::thread::sleep(RESTART_PAUSE);
        };
        control.pid.store(child.pid(), Ordering::Release);
    }
}

/// Watches until the server has to be started again (why), or we are asked to stop (None).
fn watch(child: &mut Child, address: SocketAddr, control: &Control) -> Option<String> {
    let mut answered = Instant::now();
    let mut checked = Instant::now();
    loop {
        if control.stop.load(Ordering::Acquire) {
            return None;
        }
        if let Some(status) = child.exited() {
            return Some(format!("it has ended: {status}"));
        }
        if checked.elapsed() >= CHECK_EVERY {
            // If this process itself was stopped for a while, that says nothing about the server.
            if checked.elapsed() >= HANGS_AFTER {
                answered = Instant::now();
            }
            if answers(address, CHECK_EVERY) {
                answered = Instant::now();
            }
            checked = Instant::now();
            if answered.elapsed() >= HANGS_AFTER {
                return Some("it does not answer".to_owned());
            }
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

fn first_start(config: &NatsServerConfig, trust: &str) -> Result<(Child, Addresses), FabricError> {
    if !config.binary.is_file() {
        return Err(FabricError::Server(format!(
            "nats-server is missing: there is no file {}. The fabric runs over NATS, and no NATS server can be built \
             in. Run `cargo xtask up`, which fetches it, or name one with CROWDCLOUD_NATS_SERVER",
            config.binary.display()
        )));
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.folder)
        .map_err(|e| FabricError::Server(format!("cannot make the folder {}: {e}", config.folder.display())))?;
    orphan::end(&pid_file(&config.folder), &config_file(&config.folder))?;
    let at = free_addresses(config.listen)?;
    let child = start_at(config, trust, at)?;
    Ok((child, at))
}

/// The addresses that the server will have; with port 0 a free one. Says clearly when the port is taken.
fn free_addresses(listen: SocketAddr) -> Result<Addresses, FabricError> {
    let probe = |listen: SocketAddr| {
        TcpListener::bind(listen).map_err(|e| {
            FabricError::Server(format!(
                "nats-server cannot listen on {listen}: {e}. Another program has the port; stop it, or choose another \
                 port"
            ))
        })
    };
    // Both are held until both are known.
    let (clients, websockets) = (probe(listen)?, probe(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?);
    let of = |probe: &TcpListener| {
        probe.local_addr().map_err(|e| FabricError::Server(format!("no address for nats-server: {e}")))
    };
    Ok(Addresses { clients: of(&clients)?, websockets: of(&websockets)? })
}

fn start_at(config: &NatsServerConfig, trust: &str, at: Addresses) -> Result<Child, FabricError> {
    let path = config_file(&config.folder);
    write_private(&path, server_config(&config.folder, trust, at).as_bytes())
        .map_err(|e| FabricError::Server(format!("cannot write {}: {e}", path.display())))?;
    let mut child = Child::spawn(&config.binary, &path, &log_file(&config.folder))?;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.exited() {
            let log = fs::read_to_string(log_file(&config.folder)).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().filter(|line| line.contains("[FTL]")).take(1).collect();
            return Err(FabricError::Server(format!("nats-server ended at once ({status}): {}", last.join(""))));
        }
        if answers(at.clients, CHECK_EVERY) {
            return Ok(child);
        }
        if begun.elapsed() > READY_WITHIN {
            child.kill();
            return Err(FabricError::Server(format!(
                "nats-server was not ready within {READY_WITHIN:?}; see {}",
                log_file(&config.folder).display()
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn config_file(folder: &Path) -> PathBuf {
    folder.join("nats-server.conf")
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("nats-server.pid")
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("nats-server.log")
}

fn server_config(folder: &Path, trust: &str, at: Addresses) -> String {
    let quoted = |path: PathBuf| serde_json::Value::from(path.to_string_lossy().into_owned()).to_string();
    format!(
        "# Written at each start: changes are lost.\n\
         listen: \"{clients}\"\n\
         server_name: crowdcloud\n\
         max_payload: 1MB\n\
         max_pending: 64MB\n\
         ping_interval: \"5s\"\n\
         write_deadline: \"5s\"\n\
         lame_duck_duration: \"30s\"\n\
         lame_duck_grace_period: \"1s\"\n\
         pid_file: {pid}\n\
         log_size_limit: 4MB\n\
         websocket {{\n  listen: \"{websockets}\"\n  no_tls: true\n  compression: false\n}}\n\
         jetstream {{\n  store_dir: {store}\n  sync_interval: always\n}}\n\
         {trust}",
        clients = at.clients,
        websockets = at.websockets,
        pid = quoted(pid_file(folder)),
        store = quoted(folder.join("jetstream")),
    )
}
