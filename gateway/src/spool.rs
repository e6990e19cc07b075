//! Observations until the control plane has them: a queue, then files, then numbered batches.
//!
//! ```text
//! run --push--> queue --each flush--> open batch --512, or old--> sealed batches --post--> control plane --ack--> removed
//! ```
//!
//! The run path only puts into the queue. A file survives the end of this process; what was in the queue at a crash,
//! about a tenth of a second, is lost, and the control plane then has the node's half alone. Each start opens an epoch and
//! numbers its batches; a batch is sent under its number until it is acknowledged, by whichever start. Several are on their
//! way at once, the oldest first, since the control plane acknowledges one only when it has all halves of its runs.

mod batches;
mod flight;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::batch::{BatchAck, BatchHead};
use protocol::receipt::Observation;
use protocol::{Code, Problem};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::core_client::{CoreClient, CoreError};
use crate::error::Error;
use crate::meters::Meters;
use crate::quiet::Quiet;
use batches::{BATCH_MAX, Batches};
use flight::Flight;

/// An answer to a post may take so long: it comes after a commit.
const POST_WITHIN: Duration = Duration::from_secs(10);
/// What is left at the end is sent, and its acknowledgement waited for, for so long.
const LAST_WITHIN: Duration = Duration::from_secs(2);
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The way in.
pub(crate) struct Spool {
    queue: mpsc::Sender<Observation>,
    meters: Arc<Meters>,
}

/// The tasks behind it.
pub(crate) struct SpoolTasks {
    queue: mpsc::Receiver<Observation>,
    batches: Arc<Batches>,
    meters: Arc<Meters>,
    flush: Duration,
    seal_after: Duration,
    written: Arc<Notify>,
}

/// Where batches go.
trait Core {
    /// Sends one; no acknowledgement where the control plane is of the release before and has taken it.
    fn post(&self, head: &BatchHead, body: Bytes) -> impl Future<Output = Result<Option<BatchAck>, CoreError>> + Send;
}

impl Core for CoreClient {
    async fn post(&self, head: &BatchHead, body: Bytes) -> Result<Option<BatchAck>, CoreError> {
        self.post_json(&format!("/internal/observations?{}", head.query()), body, POST_WITHIN).await
    }
}

impl Spool {
    /// Opens the folder; what an earlier process left there will be sent.
    pub(crate) fn open(config: &Config, meters: Arc<Meters>) -> Result<(Self, SpoolTasks), Error> {
        let batches = Batches::open(&config.spool_folder, config.spool_max)
            .map_err(|source| Error::Spool { path: config.spool_folder.clone(), source })?;
        let (sender, queue) = mpsc::channel(config.spool_queue_max);
        let tasks = SpoolTasks {
            queue,
            batches: Arc::new(batches),
            meters: Arc::clone(&meters),
            flush: config.spool_flush.duration(),
            seal_after: config.spool_post.duration(),
            written: Arc::default(),
        };
        Ok((Self { queue: sender, meters }, tasks))
    }

    /// Takes one. Never waits.
    pub(crate) fn push(&self, observation: Observation) {
        match self.queue.try_send(observation) {
            Ok(()) => self.meters.spooled.increment(1),
            Err(_) => {
                self.meters.spool_lost.increment(1);
                static FULL: Quiet = Quiet::new();
                if let Some(left_out) = FULL.now() {
                    tracing::error!(left_out, "the spool's queue is full; an observation is lost");
                }
            }
        }
    }
}

impl SpoolTasks {
    /// Writes and sends until `stop`; then writes what is queued, and tries to send it once.
    pub(crate) async fn run(self, core: CoreClient, stop: CancellationToken) {
        self.run_with(core, stop).await;
    }

    async fn run_with(self, core: impl Core + Sync, stop: CancellationToken) {
        let Self { queue, batches, meters, flush, seal_after, written } = self;
        let writer = write(queue, Arc::clone(&batches), Arc::clone(&meters), flush, Arc::clone(&written), stop.clone());
        let mut flight = Flight::new(&core, &batches, &meters);
        let sender = async {
            let mut pause = RETRY_MIN;
            loop {
                let left = batches.seal_after(seal_after).unwrap_or(Duration::MAX);
                let sent = async {
                    flight.fill().await?;
                    tokio::select! {
                        done = flight.next() => done.map(Some),
                        () = written.notified() => Ok(None),
                        () = tokio::time::sleep(left) => Ok(None),
                    }
                };
                match sent.await {
                    Ok(Some(())) => pause = RETRY_MIN,
                    Ok(None) => {}
                    Err(error) => {
                        tracing::debug!(%error, "observations wait for the control plane");
                        flight.forget();
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(RETRY_MAX);
                    }
                }
            }
        };
        // The writer ends at `stop`; the sender never does.
        tokio::select! {
            () = writer => {}
            () = sender => {}
        }
        batches.seal_after(Duration::ZERO);
        let last = tokio::time::timeout(LAST_WITHIN, Flight::new(&core, &batches, &meters).all()).await;
        if !matches!(last, Ok(Ok(()))) {
            tracing::info!("observations stay in the spool for the next start");
        }
    }
}

async fn write(
    mut queue: mpsc::Receiver<Observation>,
    batches: Arc<Batches>,
    meters: Arc<Meters>,
    flush: Duration,
    written: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut waiting = Vec::new();
    loop {
        let (stopping, more) = tokio::select! {
            biased;
            count = queue.recv_many(&mut waiting, BATCH_MAX) => (count == 0, count == BATCH_MAX),
            () = stop.cancelled() => {
                while let Ok(observation) = queue.try_recv() {
                    waiting.push(observation);
                }
                (true, false)
            }
        };
        if !waiting.is_empty() {
            let observations = std::mem::take(&mut waiting);
            let target = Arc::clone(&batches);
            let count = observations.len();
            let appended = tokio::task::spawn_blocking(move || append(&target, &observations)).await;
            match appended {
                Ok(Ok(bytes)) => meters.spool_bytes.set(as_gauge(bytes)),
                Ok(Err(error)) => {
                    meters.spool_lost.increment(count as u64);
                    tracing::error!(%error, count, "observations cannot be spooled and are lost");
                }
                Err(error) => tracing::error!(%error, "the spool's writer failed"),
            }
            written.notify_one();
        }
        if stopping {
            return;
        }
        // What is behind does not wait.
        if more {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(flush) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn append(batches: &Batches, observations: &[Observation]) -> io::Result<u64> {
    let mut bytes = 0;
    for some in observations.chunks(BATCH_MAX) {
        bytes = batches.append(&to_lines(some), some.len())?;
    }
    Ok(bytes)
}

/// Whether a refusal stays, however often the batch is sent. (A control plane that knows batches takes the number of one
/// that it cannot read.)
fn is_final(problem: &Problem) -> bool {
    (400..500).contains(&problem.status) && !problem.retry && problem.code != Code::BodyIncomplete
}

fn to_lines(observations: &[Observation]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(observations.len() * 768);
    for observation in observations {
        if serde_json::to_writer(&mut lines, observation).is_ok() {
            lines.push(b'\n');
        }
    }
    lines
}

/// A JSON array of lines that are JSON already.
fn to_array(lines: &[Bytes]) -> Bytes {
    let mut array = Vec::with_capacity(lines.iter().map(|line| line.len() + 1).sum::<usize>() + 2);
    array.push(b'[');
    for (place, line) in lines.iter().enumerate() {
        if place > 0 {
            array.push(b',');
        }
        array.extend_from_slice(line);
    }
    array.push(b']');
    array.into()
}

#[allow(clippy::cast_precision_loss, reason = "a gauge of bytes needs no exact last digit")]
fn as_gauge(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests;
