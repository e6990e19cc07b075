//! The platform as supervised processes of this very binary: the shape of a cluster, on one machine.
//!
//! The parent owns the public socket and hands it to the gateways, so connections wait while one starts again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::child::{Child, Spec};
use super::data::write_private;
use super::embedded::{CONTROL_PLANE_STOPS_WITHIN, GATEWAY_STOPS_WITHIN, NATS_STOPS_WITHIN, NODE_STOPS_WITHIN};
use super::nats::{Nats, write_credentials, write_jwt};
use super::parts::{Settings, parse};
use super::ready::{READY_WITHIN, time_is_over};
use super::service::node_keys;
use crate::failure::{Exit, Failure};

/// How often `pids.json` is brought up to date.
const PIDS_EVERY: Duration = Duration::from_millis(50);

/// A running platform.
pub(crate) struct Separate {
    pub(crate) settings: Settings,
    nats: Arc<Nats>,
    children: Arc<Vec<Child>>,
    /// Where each process tells how it is, by its name.
    pub(crate) probes: Vec<(String, SocketAddr)>,
    pids: AbortHandle,
}

impl Separate {
    /// Starts everything; returns when it can be used.
    pub(crate) async fn start(mut settings: Settings) -> Result<Self, Failure> {
        let listener = Arc::new(settings.bind()?);
        let nats = Arc::new(Nats::start(&settings).await?);
        let mut children = Vec::new();
        let mut probes = Probes { next: settings.metrics_listen(), taken: Vec::new() };
        let nodes: Vec<_> = (1..=settings.args.executors)
            .map(|number| Ok((number, settings.data.node(number)?)))
            .collect::<Result<_, Failure>>()?;

        let mut joins: Vec<OsString> = Vec::new();
        for (number, node) in &nodes {
            let file = join_file(&settings, *number)?;
            joins.push("--local-node".into());
            joins.push(format!("{node}=local-{number}={}", file.display()).into());
        }
        for number in 1..=settings.args.control_planes {
            let name = if number == 1 { "control-plane".to_owned() } else { format!("control-plane-{number}") };
            let mut line = core_line(&settings, &nats, "control-plane", &name)?;
            // Of an earlier release.
            let chunks = settings.data.join("chunks");
            if chunks.is_dir() {
                line.extend(["--chunks".into(), chunks.into()]);
            }
            line.extend(settings.control_plane());
            line.extend(probes.flag(&name)?);
            line.extend(joins.iter().cloned());
            children.push(Child::start(Spec { name, arguments: line, listener: None })?);
        }

        for (number, node) in &nodes {
            let name = format!("executor-{number}");
            let config: executor::Config = parse("executor", settings.executor(*number)?)?;
            let keys = node_keys(&config.data)?;
            let jwt = write_jwt(&nats.node_jwt(*node, keys.nats())?);
            let mut line: Vec<OsString> = vec!["executor".into()];
            line.extend(connection(&settings, &nats, &name, &jwt)?);
            line.extend(settings.executor(*number)?);
            line.extend(probes.flag(&name)?);
            children.push(Child::start(Spec { name, arguments: line, listener: None })?);
        }
        for number in 1..=settings.args.gateways {
            let name = format!("gateway-{number}");
            let mut line = core_line(&settings, &nats, "gateway", &name)?;
            line.push("--listen-stdin".into());
            line.extend(settings.gateway(number));
            if let Some(websocket) = nats.websocket().filter(|_| !line.iter().any(|flag| flag == "--nats-websocket")) {
                line.extend(["--nats-websocket".into(), OsString::from(websocket)]);
            }
            line.extend(probes.flag(&name)?);
            children.push(Child::start(Spec { name, arguments: line, listener: Some(listener.clone()) })?);
        }

        let children = Arc::new(children);
        let pids = tokio::spawn(keep_pids(settings.data.join("run/pids.json"), nats.clone(), children.clone()));
        let platform = Self { settings, nats, children, probes: probes.taken, pids: pids.abort_handle() };
        let ready = futures::future::join_all(platform.children.iter().map(Child::ready));
        let is_migrating = || platform.children.iter().any(Child::is_migrating);
        let is_ready = tokio::select! {
            _ = ready => true,
            () = time_is_over(READY_WITHIN, is_migrating) => false,
        };
        if !is_ready {
            platform.stop().await;
            return Err(Failure::new(Exit::Timeout, "not_ready", "The platform did not become ready within a minute")
                .help("its processes' messages are above; try again with -v"));
        }
        Ok(platform)
    }

    /// Drains the gateways, then stops what they need: nodes while their last receipts are still taken, NATS last.
    pub(crate) async fn stop(self) {
        self.pids.abort();
        while Arc::strong_count(&self.children) > 1 {
            tokio::task::yield_now().await;
        }
        let Ok(children) = Arc::try_unwrap(self.children) else { return };
        let (gateways, others): (Vec<_>, Vec<_>) =
            children.into_iter().partition(|child| child.name.starts_with("gateway"));
        let (nodes, core): (Vec<_>, Vec<_>) = others.into_iter().partition(|child| child.name.starts_with("executor"));
        for (group, within) in
            [(gateways, GATEWAY_STOPS_WITHIN), (nodes, NODE_STOPS_WITHIN), (core, CONTROL_PLANE_STOPS_WITHIN)]
        {
            futures::future::join_all(group.into_iter().map(|child| child.stop(within))).await;
        }
        if let Ok(nats) = Arc::try_unwrap(self.nats) {
            drop(tokio::time::timeout(NATS_STOPS_WITHIN, nats.stop()).await);
        }
    }
}

/// The command line of a process of the core.
fn core_line(settings: &Settings, nats: &Nats, command: &str, name: &str) -> Result<Vec<OsString>, Failure> {
    let failed = |error: fabric::FabricError| {
        Failure::new(Exit::Platform, "nats", format!("{name} has no credentials")).why(error)
    };
    let credentials = nats.authority.core_user(name).map_err(failed)?;
    let lenders = nats.authority.lenders_user(name).map_err(failed)?;
    let mut line: Vec<OsString> = vec![command.into()];
    line.extend(connection(settings, nats, name, &write_credentials(&credentials))?);
    line.push("--lenders-credentials".into());
    line.push(credentials_file(settings, &format!("{name}-lenders"), &write_credentials(&lenders))?.into());
    line.extend(super::replicas::of_core(settings));
    Ok(line)
}

/// The addresses at which processes tell how they are.
struct Probes {
    /// Port 0: any that is free.
    next: SocketAddr,
    taken: Vec<(String, SocketAddr)>,
}

impl Probes {
    /// The flag that gives a process its address. It keeps it when it is started again.
    fn flag(&mut self, name: &str) -> Result<[OsString; 2], Failure> {
        let free = std::net::TcpListener::bind(self.next).and_then(|listener| listener.local_addr());
        let address = free.map_err(|why| {
            Failure::new(Exit::Conflict, "port", format!("{} cannot be listened on", self.next))
                .why(why)
                .help("leave --metrics-listen out: free ports are taken; or name the first of enough free ports")
        })?;
        if self.next.port() != 0 {
            self.next.set_port(self.next.port().checked_add(1).unwrap_or(0));
        }
        self.taken.push((name.to_owned(), address));
        Ok(["--metrics-listen".into(), address.to_string().into()])
    }
}

/// How a process reaches NATS; its credentials are in a file of its own.
fn connection(settings: &Settings, nats: &Nats, name: &str, credentials: &str) -> Result<[OsString; 6], Failure> {
    let file = credentials_file(settings, name, credentials)?;
    let nats_url = nats.url.clone();
    Ok([
        "--connect".into(),
        nats_url.into(),
        "--credentials".into(),
        file.into(),
        "--instance-name".into(),
        name.to_owned().into(),
    ])
}

/// With what a local node joins: nothing in it is secret.
fn join_file(settings: &Settings, number: u16) -> Result<PathBuf, Failure> {
    let config: executor::Config = parse("executor", settings.executor(number)?)?;
    let join = super::join::local(&config, &node_keys(&config.data)?)?;
    let file = settings.data.join("run").join(format!("local-{number}.join"));
    let text = serde_json::to_vec(&join).map_err(|why| {
        Failure::new(Exit::Platform, "data", format!("{} cannot be written", file.display())).why(why)
    })?;
    write_private(&file, &text)?;
    Ok(file)
}

fn credentials_file(settings: &Settings, name: &str, credentials: &str) -> Result<PathBuf, Failure> {
    let file = settings.data.join("run").join(format!("{name}.creds"));
    write_private(&file, credentials.as_bytes())?;
    Ok(file)
}

/// Writes `pids.json` whenever a process is another one.
async fn keep_pids(file: PathBuf, nats: Arc<Nats>, children: Arc<Vec<Child>>) {
    let mut written = BTreeMap::new();
    loop {
        let mut pids = BTreeMap::from([("up".to_owned(), std::process::id())]);
        pids.extend(nats.pid().map(|pid| ("nats-server".to_owned(), pid)));
        pids.extend(children.iter().filter_map(|child| Some((child.name.clone(), child.pid()?))));
        if pids != written {
            super::data::write_pids(&file, &pids);
            written = pids;
        }
        tokio::time::sleep(PIDS_EVERY).await;
    }
}
