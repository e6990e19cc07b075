//! The agent: says hello, offers the node's services, reports, and drains when it is told to stop.

mod hello;
mod logs;
mod receipts;
mod report;
mod service;

use std::sync::Arc;
use std::time::Duration;

use fabric::{Fabric, Mount, NodeEndpoint, ServeOptions};
use protocol::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wasm_host::PoolConfig;

use self::service::{Node, Service, What};
use crate::admission::Admission;
use crate::artifacts::Library;
use crate::compile::{ChildBounds, Compiler, SUBCOMMAND};
use crate::config::Config;
use crate::error::Error;
use crate::finite;
use crate::journal::{self, Chain};
use crate::keys::NodeKeys;
use crate::tickets::TicketBook;
use crate::vm::Door;
use crate::wasm::Lane;

/// Keys and clock are asked for again this often, and at most this soon after a ticket that they do not fit.
const HELLO_EVERY: Duration = Duration::from_secs(60);
const HELLO_AGAIN_MIN: Duration = Duration::from_secs(1);
/// After the last run: for the last receipts and logs to arrive. What does not is on disk.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// Runs the node until `shutdown`, then drains it.
///
/// # Errors
/// When the folder, the sandbox or the fabric cannot be had.
pub async fn serve(
    config: Config,
    fabric: Fabric,
    ready: oneshot::Sender<()>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let config = Arc::new(config);
    let keys = NodeKeys::open(&config.data.join("keys")).map_err(Error::Folder)?;
    let lane = Arc::new(lane(&config).map_err(|error| Error::Sandbox(format!("{error:#}")))?);
    let compiler = compiler(&config).map_err(Error::Folder)?;
    let library = Library::open(&config, keys.code, fabric.clone(), Arc::clone(&lane), compiler.clone())
        .map_err(Error::Folder)?;
    let admission = Admission::new(config.slots, config.memory, config.tenant_share);
    let report_now = Arc::new(Notify::new());
    let vm = Door::open(&config, &fabric, &compiler, &admission, Arc::clone(&report_now));
    let hello = hello::hello(&config, &keys, fabric.boot(), vm.lane().is_some());
    let reply = tokio::select! {
        reply = hello::greet(&fabric, &hello) => reply,
        () = shutdown.cancelled() => return Ok(()),
    };
    tracing::info!(node = %config.node, protocol = reply.protocol, "the platform knows this node");

    let tickets = Arc::new(TicketBook::new(config.node));
    tickets.learn(reply.node_keys, reply.now, Timestamp::now());
    let journal = config.data.join("journal");
    let opened = journal::open(&journal, reply.checkpoint, config.receipt_queue, config.journal_max);
    let opened = opened.map_err(Error::Folder)?;
    let chain = Chain { node: config.node, key: keys.signing, previous: reply.checkpoint_digest };
    let to = receipts::OverFabric { fabric: fabric.clone(), hello: hello.clone() };
    let kept = (opened.on_disk, opened.numbering);
    let delivering = tokio::spawn(journal::deliver(opened.folder, opened.sealed, chain, to, kept));
    let (log_sink, lines) = mpsc::channel(config.log_queue.max(1));
    let shipping = tokio::spawn(logs::ship(fabric.clone(), lines));
    let unknown_key = Arc::new(Notify::new());
    let node = Arc::new(Node {
        lane,
        vm: Arc::clone(&vm),
        library: Arc::clone(&library),
        admission: Arc::clone(&admission),
        tickets: Arc::clone(&tickets),
        journal: opened.journal,
        log_sink,
        log_bytes_max: config.log_max.as_usize(),
        log_shares: finite::log_bytes(&config).shares(),
        unknown_key: Arc::clone(&unknown_key),
    });
    let runs = mount_runs(&fabric, &node, config.slots).await?;
    let control = Service(Arc::downgrade(&node), What::Control);
    let control = fabric.serve(Mount::OnNode(NodeEndpoint::Control), control, ServeOptions::default()).await?;

    let stop = CancellationToken::new();
    let reporting = tokio::spawn(report::publish(
        Arc::clone(&config),
        fabric.clone(),
        Arc::clone(&admission),
        library,
        vm,
        Arc::clone(&report_now),
        stop.clone(),
    ));
    let greeting = tokio::spawn(greet_again(fabric.clone(), hello, tickets, unknown_key));
    // Nobody may wait for it any more.
    ready.send(()).ok();

    shutdown.cancelled().await;
    tracing::info!(running = admission.running(), "draining");
    admission.drain();
    report_now.notify_one();
    tokio::join!(runs.drain(config.grace.duration()), control.drain(config.grace.duration()));
    greeting.abort();
    drop(node);
    finish([delivering, shipping]).await;
    stop.cancel();
    drop(reporting.await);
    Ok(())
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

async fn greet_again(fabric: Fabric, hello: protocol::node::Hello, tickets: Arc<TicketBook>, unknown_key: Arc<Notify>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(HELLO_EVERY) => {}
            () = unknown_key.notified() => {}
        }
        match hello::attempt(&fabric, &hello).await {
            Ok(reply) => tickets.learn(reply.node_keys, reply.now, Timestamp::now()),
            Err(reason) => tracing::info!(reason, "no answer to the hello; the known keys stay"),
        }
        tokio::time::sleep(HELLO_AGAIN_MIN).await;
    }
}

fn lane(config: &Config) -> wasmtime::Result<Lane> {
    let pool = PoolConfig { slots: config.slots, keep_resident: config.keep_resident, warm: config.warm };
    Lane::new(pool, usize::try_from(config.cores).unwrap_or(1))
}

fn compiler(config: &Config) -> std::io::Result<Compiler> {
    let command = match &config.compile_command {
        Some(command) => command.clone(),
        None => vec![std::env::current_exe()?.into_os_string(), SUBCOMMAND.into()],
    };
    let slots = finite::compiles(config).shares_with_lines(config.compiles_waiting_max.into());
    Ok(Compiler { command, bounds: ChildBounds::of(config), slots })
}

#[cfg(test)]
mod tests;
