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
//! One task makes the cuts of this process, as long as something waits. Other control planes make their own: where one has
//! the gateway's half and another one the node's, each waits in vain, and they meet as rows.

mod commit;
mod waiting;

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::Code;
use protocol::batch::BatchHead;
use tokio::sync::oneshot;

use super::checkpoints::Checked;
use super::sources::Content;
use crate::App;
use crate::error::{Error, Result, refuse};
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

/// What has come and is not looked at yet, and whether there is a task that will.
#[derive(Default)]
pub(crate) struct Cuts(Mutex<Inbox>);

#[derive(Default)]
struct Inbox {
    parts: Vec<Part>,
    has_task: bool,
}

/// Takes what a source has sent; the answer comes once it is committed.
pub(super) async fn take(app: &App, sent: Sent) -> Result<Ack> {
    let (reply, answer) = oneshot::channel();
    let is_first = {
        let mut inbox = app.cuts.0.lock();
        inbox.parts.push(Part::new(sent, Instant::now(), reply));
        !std::mem::replace(&mut inbox.has_task, true)
    };
    if is_first {
        tokio::spawn(cuts(app.clone()));
    }
    answer.await.map_err(|_| again())?
}

/// Whoever has sent it sends it again.
fn again() -> Error {
    refuse(Code::ControlPlaneUnavailable, "It could not be committed; send it again.")
}

/// Should the task end before its time, the next part begins another one.
struct Ended {
    app: App,
    in_time: bool,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if !self.in_time {
            let mut inbox = self.app.cuts.0.lock();
            inbox.has_task = false;
            // Nobody looks at them any more: their senders hear that, and come again.
            inbox.parts.clear();
        }
    }
}

/// Makes cuts until nothing waits.
async fn cuts(app: App) {
    let mut ended = Ended { app: app.clone(), in_time: false };
    let (hold, every) = (app.config.settle_hold.duration(), app.config.settle_every.duration());
    let mut waiting = Waiting::new(hold, app.config.settle_waiting_max);
    let mut alone_until = Instant::now();
    loop {
        let parts = {
            let mut inbox = app.cuts.0.lock();
            if inbox.parts.is_empty() && waiting.is_empty() {
                // Under the lock: whoever comes from now on begins another task.
                inbox.has_task = false;
                ended.in_time = true;
                return;
            }
            std::mem::take(&mut inbox.parts)
        };
        if Instant::now() < alone_until {
            for part in parts {
                let mut alone = Waiting::new(Duration::ZERO, usize::MAX);
                alone.add(part);
                make(&app, &mut alone).await;
            }
        } else {
            parts.into_iter().for_each(|part| waiting.add(part));
            if !make(&app, &mut waiting).await {
                alone_until = Instant::now() + ALONE_FOR;
            }
        }
        tokio::time::sleep(every.max(PAUSE_MIN)).await;
    }
}

/// Makes a cut; whether that could be done.
async fn make(app: &App, waiting: &mut Waiting) -> bool {
    match commit::cut(app, waiting, Instant::now()).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, waiting = waiting.halves(), "halves could not be settled; they come again");
            waiting.refuse_all();
            false
        }
    }
}
