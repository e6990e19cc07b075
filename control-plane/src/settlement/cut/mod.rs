//! Cuts. Batches and checkpoints wait in memory until both halves of their runs are there, for `--settle-hold` at most; then
//! one transaction settles what is whole, and writes each run once.
//!
//! ```text
//! batch, checkpoint --> waiting --both halves, or held long enough--> cut: one transaction --> acknowledged
//! ```
//! Nothing is lost with this memory: whoever has sent something keeps it until it is acknowledged, and that is when all of
//! its halves are committed. So the spools of gateways and the journals of nodes are where halves wait, and no row does,
//! unless the other half is late. Where a cut fails, everything that waits is refused and comes again: a run that was
//! settled meanwhile is found settled.
//!
//! What a cut writes is made before its transaction ([`plan`]), and it has as many runs as fit into some time ([`pace`]): on
//! SQLite everybody else who writes waits for it.
//!
//! One task makes the cuts of a term ([`super::term`]). Where the term ends, so does the task, and what waits is forgotten.
//! Where the control plane stops, no further cut is begun, and all that waits is refused at once.

mod commit;
mod pace;
mod plan;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::Code;
use protocol::batch::BatchHead;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::checkpoints::Checked;
use super::sources::Content;
use crate::App;
use crate::error::{Error, Result, refuse};
use crate::leader::Lease;
use crate::usage::Recent;
use commit::Done;
use pace::Pace;
use waiting::{Part, Waiting};

/// Between two looks of a cut that has nothing to do yet.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// After a cut has failed, each part is committed by itself for so long: what made it fail holds up nobody else.
const ALONE_FOR: Duration = Duration::from_secs(10);

/// What a source has sent.
pub(super) enum Sent {
    /// A gateway's observations.
    Batch { head: BatchHead, content: Content },
    /// A node's receipts, of which signature and tickets are right.
    Checkpoint(Checked),
}

/// What is said to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    /// All of its numbers up to this one are committed.
    pub(super) committed: u64,
    /// So many halves of what it has sent count for nothing.
    pub(super) void: u64,
}

/// The way to the task that makes cuts, where this control plane leads.
#[derive(Default)]
pub(crate) struct Cuts(Mutex<Option<mpsc::UnboundedSender<Part>>>);

impl Cuts {
    /// Where nobody makes cuts, the part is dropped, and its sender hears that.
    fn put(&self, part: Part) {
        if let Some(inbox) = self.0.lock().as_ref() {
            drop(inbox.send(part));
        }
    }
}

/// Takes what a source has sent; the answer comes once it is committed.
pub(super) async fn take(app: &App, sent: Sent) -> Result<Ack> {
    let (reply, answer) = oneshot::channel();
    app.cuts.put(Part::new(sent, Instant::now(), reply));
    answer.await.map_err(|_| again())?
}

/// Whoever has sent it sends it again.
fn again() -> Error {
    refuse(Code::ControlPlaneUnavailable, "It could not be committed; send it again.")
}

/// Makes cuts for as long as this epoch leads, until it is stopped. What came in the term before is forgotten.
pub(super) fn begin(app: &App, lease: Arc<Lease>, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
    // No more parts than exchanges of what is mounted: each has its caller, who waits for the answer.
    let (sender, inbox) = mpsc::unbounded_channel();
    *app.cuts.0.lock() = Some(sender);
    cuts(app.clone(), lease, inbox, stop)
}

async fn cuts(app: App, lease: Arc<Lease>, mut inbox: mpsc::UnboundedReceiver<Part>, stop: CancellationToken) {
    let (hold, every) = (app.config.settle_hold.duration(), app.config.settle_every.duration());
    let mut waiting = Waiting::new(hold, app.config.settle_waiting_max);
    let mut pace = Pace::new(app.config.lease.duration(), app.db.has_one_writer());
    let (mut recent, mut alone_until) = (Recent::default(), Instant::now());
    let mut parts = Vec::new();
    // What still waits at the end is dropped: whoever has sent it hears so, and sends it to the next leader.
    while !stop.is_cancelled() {
        if waiting.is_empty() {
            match stop.run_until_cancelled(inbox.recv()).await {
                Some(Some(part)) => parts.push(part),
                // It is stopped, or another term has begun.
                Some(None) | None => return,
            }
        }
        while let Ok(part) = inbox.try_recv() {
            parts.push(part);
        }
        let mut pause = every;
        if Instant::now() < alone_until {
            for part in parts.drain(..) {
                let mut alone = Waiting::new(Duration::ZERO, usize::MAX);
                alone.add(part);
                while !alone.is_empty() && !stop.is_cancelled() {
                    match make(&app, &lease, &mut alone, &mut recent, pace.runs_max()).await {
                        Made::Committed(Done { runs, .. }) if runs > 0 => {}
                        Made::Committed(_) | Made::Failed => break,
                        Made::NotLeading => return,
                    }
                }
            }
        } else {
            parts.drain(..).for_each(|part| waiting.add(part));
            match make(&app, &lease, &mut waiting, &mut recent, pace.runs_max()).await {
                Made::Committed(Done { runs, took, planned }) => {
                    pause = match pace.took(runs, took) {
                        true => pace::rest(every, took, planned),
                        false => pace::pause(every, took),
                    };
                }
                Made::Failed => {
                    pace.failed();
                    alone_until = Instant::now() + ALONE_FOR;
                }
                Made::NotLeading => return,
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(pause.max(PAUSE_MIN))).await;
    }
}

/// What became of a cut.
#[derive(Debug)]
enum Made {
    Committed(Done),
    Failed,
    NotLeading,
}

async fn make(app: &App, lease: &Lease, waiting: &mut Waiting, recent: &mut Recent, runs_max: usize) -> Made {
    match commit::cut(app, lease, waiting, recent, runs_max).await {
        Ok(Some(done)) => Made::Committed(done),
        Ok(None) => Made::NotLeading,
        Err(error) => {
            tracing::warn!(%error, waiting = waiting.halves(), "halves could not be settled; they come again");
            waiting.refuse_all();
            Made::Failed
        }
    }
}
