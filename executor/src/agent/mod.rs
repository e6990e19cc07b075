//! The agent: says hello, offers the node's services, reports, and drains when it is told to stop.

mod disks;
mod hello;
mod logs;
mod receipts;
mod report;
mod service;

use std::sync::Arc;
use std::time::Duration;

use fabric::{Fabric, Mount, NodeEndpoint, ServeOptions};
use protocol::node::HelloReply;
use protocol::{Problem, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wasm_host::PoolConfig;

use self::hello::Unanswered;
use self::report::Reported;
use self::service::{Node, Service, What};
use crate::admission::Admission;
use crate::artifacts::Library;
use crate::compile::{ChildBounds, Compiler, SUBCOMMAND, confinement_missing};
use crate::config::Config;
use crate::error::Error;
use crate::finite;
use crate::given::Given;
use crate::journal::{self, Chain};
use crate::keeper::{Keeper, Lent, Parts, Saying, TOLD_MAX, Told};
use crate::tickets::TicketBook;
use crate::vm::LaneProbe;
use crate::wasm::Lane;

/// Keys and clock are asked for again this often, and at most this soon after a ticket that they do not fit.
const HELLO_EVERY: Duration = Duration::from_secs(60);
const HELLO_AGAIN_MIN: Duration = Duration::from_secs(1);
/// After the last run: for the last receipts and logs to arrive. What does not is on disk.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// For the answer to who has told the node to end.
const FAREWELL: Duration = Duration::from_millis(100);

/// Runs the node until `shutdown`, then drains it.
///
/// # Errors
/// When the folder, the sandbox or the fabric cannot be had, and when the platform refuses the node for good: then all runs
/// are cut, and it has ended within a second.
pub async fn serve(
    config: Config,
    given: Given,
    fabric: Fabric,
    ready: oneshot::Sender<()>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let config = Arc::new(config);
    let Given { told, code, receipts, control, ours } = given;
    let confinement = told.confinement.clone();
    // A role of its own, which no lane, hello, pause or drain is in the way of: until the node has ended.
    let disks = disks::open(&config)?;
    let told_disks = disks.told();
    let _disks = if told_disks.is_empty() { None } else { Some(disks.mount(&fabric).await?) };
    // Before nobody may look inside: then a process may not even look at its own pages, as the lane does.
    let lane = Arc::new(lane(&config).map_err(|error| Error::Sandbox(format!("{error:#}")))?);
    if told.confinement.is_some()
        && let Err(error) = confine::refuse_inspection()
    {
        tracing::warn!(%error, "processes of the same user may look into this one");
    }
    let compiler = compiler(&config).map_err(Error::Folder)?;
    if let Some(missing) = confinement_missing() {
        tracing::warn!(missing, "what compiles and converts is confined in part: this is not restricted by the kernel");
    }
    let admission = Admission::new(config.slots, config.memory, config.tenant_share);
    let library = Library::open(&config, code, fabric.clone(), Arc::clone(&lane), compiler.clone(), admission.egress())
        .map_err(Error::Folder)?;
    let lent = Lent::open(&config).map_err(Error::Folder)?;
    let report_now = Arc::new(Notify::new());
    let vm = LaneProbe::open(&config, &fabric, &compiler, &admission, Arc::clone(&report_now));
    let parts = Parts {
        lent: Arc::clone(&lent),
        admission: Arc::clone(&admission),
        lane: Arc::clone(&lane),
        vm: Arc::clone(&vm),
        library: Arc::clone(&library),
        report_now: Arc::clone(&report_now),
        fabric: fabric.clone(),
        control,
        ours,
    };
    // Before the first run may come.
    let mut keeper = Keeper::new(&config, parts);
    let hello = hello::hello(&config, told, fabric.boot(), vm.lane().is_some(), told_disks);
    let reply = tokio::select! {
        reply = hello::greet(&fabric, &hello) => reply.map_err(Error::Refused)?,
        () = shutdown.cancelled() => return Ok(()),
    };
    tracing::info!(node = %config.node, protocol = reply.protocol, "the platform knows this node");
    if let Some(wish) = reply.wish {
        keeper.heed(Saying::WithHello(lent.remote_revision(), wish)).await;
    }

    let tickets = Arc::new(TicketBook::new(config.node));
    tickets.learn(reply.node_keys, reply.now, Timestamp::now());
    let journal = config.data.join("journal");
    let opened = journal::open(&journal, reply.checkpoint, config.receipt_queue, config.journal_max);
    let opened = opened.map_err(Error::Folder)?;
    let chain = Chain { node: config.node, key: receipts, previous: reply.checkpoint_digest };
    let to = receipts::OverFabric { fabric: fabric.clone(), hello: hello.clone() };
    let kept = (opened.on_disk, opened.numbering);
    let delivering = tokio::spawn(journal::deliver(opened.folder, opened.sealed, chain, to, kept));
    let (log_sink, lines) = mpsc::channel(config.log_queue.max(1));
    let shipping = tokio::spawn(logs::ship(fabric.clone(), lines));
    let (unknown_key, report_whole) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (end, mut ended) = mpsc::channel(1);
    let (tell, told) = mpsc::channel(TOLD_MAX);
    let node = Arc::new(Node {
        lane,
        vm: Arc::clone(&vm),
        library: Arc::clone(&library),
        admission: Arc::clone(&admission),
        lent: Arc::clone(&lent),
        tickets: Arc::clone(&tickets),
        journal: opened.journal,
        log_sink,
        log_bytes_max: config.log_max.as_usize(),
        log_shares: finite::log_bytes(&config).shares(),
        log_line_bytes_min: finite::log_line_bytes_min(&config),
        unknown_key: Arc::clone(&unknown_key),
        report_whole: Arc::clone(&report_whole),
        ended: end.clone(),
        tell: tell.clone(),
    });
    let runs = mount_runs(&fabric, &node, config.slots).await?;
    let control = Service(Arc::downgrade(&node), What::Control);
    let control = fabric.serve(Mount::OnNode(NodeEndpoint::Control), control, ServeOptions::default()).await?;

    let stop = CancellationToken::new();
    let reporting = tokio::spawn(report::publish(
        Arc::clone(&config),
        fabric.clone(),
        Reported { admission: Arc::clone(&admission), lent: Arc::clone(&lent), library, vm, confinement },
        (Arc::clone(&report_now), report_whole),
        stop.clone(),
    ));
    let keeping = tokio::spawn(keeper.keep(told, stop.clone()));
    let learns = Learns { tickets, lent, tell };
    let greeting = tokio::spawn(greet_again(fabric.clone(), hello, learns, unknown_key, end));
    // Nobody may wait for it any more.
    ready.send(()).ok();

    let refused = tokio::select! {
        () = shutdown.cancelled() => None,
        why = ended.recv() => why,
    };
    tracing::info!(running = admission.running(), "draining");
    admission.drain();
    report_now.notify_one();
    let grace = config.grace.duration();
    let (runs_grace, grace) = if refused.is_some() { (Duration::ZERO, FAREWELL) } else { (grace, grace) };
    tokio::join!(runs.drain(runs_grace), control.drain(grace));
    greeting.abort();
    drop(node);
    finish([delivering, shipping]).await;
    stop.cancel();
    drop(tokio::join!(reporting, keeping));
    refused.map_or(Ok(()), |why| Err(Error::Refused(why)))
}

async fn mount_runs(fabric: &Fabric, node: &Arc<Node>, slots: u32) -> Result<fabric::Serving, Error> {
    let admitting = Arc::downgrade(node);
    let options = ServeOptions {
        admit: Some(Arc::new(move |head: &http::request::Parts, peer| match admitting.upgrade() {
            Some(node) => node.admit(head, peer),
            None => Err(fabric::Busy { reason: "the node has ended".to_owned() }),
        })),
        // Ends that are still on their way hold no slot: some room above.
        concurrency: usize::try_from(slots).ok().map(|slots| slots.saturating_mul(2)),
    };
    let service = Service(Arc::downgrade(node), What::Run);
    Ok(fabric.serve(Mount::OnNode(NodeEndpoint::Run), service, options).await?)
}

/// Waits a little for the last receipts and logs.
async fn finish(mut tasks: [JoinHandle<()>; 2]) {
    let ended = futures::future::join_all(tasks.iter_mut());
    if tokio::time::timeout(FLUSH_WITHIN, ended).await.is_err() {
        tracing::info!("some receipts or logs have not arrived; receipts stay on disk");
        tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What learns from the answers to hellos.
struct Learns {
    tickets: Arc<TicketBook>,
    lent: Arc<Lent>,
    tell: mpsc::Sender<Told>,
}

impl Learns {
    /// `known` was the revision of the owner's wish from afar when the hello was sent.
    async fn learn(&self, known: u64, reply: HelloReply) {
        self.tickets.learn(reply.node_keys, reply.now, Timestamp::now());
        if let Some(wish) = reply.wish.filter(|wish| wish.revision != known) {
            // Nobody waits for what it comes to.
            let told = Told { what: Saying::WithHello(known, wish), reply: oneshot::channel().0 };
            self.tell.send(told).await.ok();
        }
    }
}

async fn greet_again(
    fabric: Fabric,
    hello: protocol::node::Hello,
    learns: Learns,
    unknown_key: Arc<Notify>,
    end: mpsc::Sender<Box<Problem>>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(HELLO_EVERY) => {}
            () = unknown_key.notified() => {}
        }
        let known = learns.lent.remote_revision();
        match hello::attempt(&fabric, &hello).await {
            Ok(reply) => learns.learn(known, reply).await,
            Err(Unanswered::Refused(why)) => return drop(end.send(why).await),
            Err(Unanswered::Yet(reason)) => tracing::info!(reason, "no answer to the hello; the known keys stay"),
        }
        tokio::time::sleep(HELLO_AGAIN_MIN).await;
    }
}

fn lane(config: &Config) -> wasmtime::Result<Lane> {
    let pool = PoolConfig { slots: config.slots, keep_resident: config.keep_resident, warm: config.warm };
    // Each run waits for one turn at most.
    let turns = finite::threads(config).shares_with_lines(config.slots.into());
    Lane::new(pool, usize::try_from(config.cores).unwrap_or(1), turns)
}

fn compiler(config: &Config) -> std::io::Result<Compiler> {
    let command = match &config.compile_command {
        Some(command) => command.clone(),
        None => vec![std::env::current_exe()?.into_os_string(), SUBCOMMAND.into()],
    };
    let slots = finite::compiles(config).shares_with_lines(config.compiles_waiting_max.into());
    Ok(Compiler::new(command, ChildBounds::of(config), slots))
}

#[cfg(test)]
mod tests;
