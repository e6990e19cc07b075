//! Observations until the control plane has them: a queue, then files, then batches.
//!
//! ```text
//! run --push--> queue --each flush--> open segment --sealed--> segments --post--> control plane --ack--> removed
//! ```
//!
//! The run path only puts into the queue. A file survives the end of this process; what was in the queue at a crash,
//! about a tenth of a second, is lost, and the control plane then has the node's half alone.

mod segments;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::receipt::Observation;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::core_client::{CoreClient, CoreError};
use crate::error::Error;
use crate::meters::Meters;
use crate::quiet::Quiet;
use segments::Segments;

/// Observations of one post.
const BATCH_MAX: usize = 512;
/// An answer to a post may take so long: it comes after a commit.
const POST_WITHIN: Duration = Duration::from_secs(10);
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
    segments: Arc<Segments>,
    meters: Arc<Meters>,
    flush: Duration,
    written: Arc<Notify>,
}

impl Spool {
    /// Opens the folder; what an earlier process left there will be sent.
    pub(crate) fn open(config: &Config, meters: Arc<Meters>) -> Result<(Self, SpoolTasks), Error> {
        let segments = Segments::open(&config.spool_folder, config.spool_max)
            .map_err(|source| Error::Spool { path: config.spool_folder.clone(), source })?;
        let (sender, queue) = mpsc::channel(config.spool_queue_max);
        let tasks = SpoolTasks {
            queue,
            segments: Arc::new(segments),
            meters: Arc::clone(&meters),
            flush: config.spool_flush.duration(),
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
        let Self { queue, segments, meters, flush, written } = self;
        let writer =
            write(queue, Arc::clone(&segments), Arc::clone(&meters), flush, Arc::clone(&written), stop.clone());
        let sender = async {
            let mut pause = RETRY_MIN;
            loop {
                match send_all(&core, &segments).await {
                    Ok(()) => pause = RETRY_MIN,
                    Err(error) => {
                        tracing::debug!(%error, "observations wait for the control plane");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(RETRY_MAX);
                        continue;
                    }
                }
                written.notified().await;
            }
        };
        // The writer ends at `stop`; the sender never does.
        tokio::select! {
            () = writer => {}
            () = sender => {}
        }
        let last = tokio::time::timeout(Duration::from_secs(1), send_all(&core, &segments)).await;
        if !matches!(last, Ok(Ok(()))) {
            tracing::info!("observations stay in the spool for the next start");
        }
    }
}

async fn write(
    mut queue: mpsc::Receiver<Observation>,
    segments: Arc<Segments>,
    meters: Arc<Meters>,
    flush: Duration,
    written: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        let stopping = tokio::select! {
            biased;
            count = queue.recv_many(&mut batch, BATCH_MAX) => count == 0,
            () = stop.cancelled() => {
                while let Ok(observation) = queue.try_recv() {
                    batch.push(observation);
                }
                true
            }
        };
        if !batch.is_empty() {
            let observations = std::mem::take(&mut batch);
            let target = Arc::clone(&segments);
            let count = observations.len();
            let appended = tokio::task::spawn_blocking(move || target.append(&to_lines(&observations))).await;
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
        tokio::select! {
            () = tokio::time::sleep(flush) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Sends all that is on disk, the oldest first.
async fn send_all(core: &CoreClient, segments: &Arc<Segments>) -> anyhow::Result<()> {
    loop {
        let from = Arc::clone(segments);
        let Some(segment) = tokio::task::spawn_blocking(move || from.oldest()).await?? else { return Ok(()) };
        for batch in segment.lines.chunks(BATCH_MAX) {
            match core.tell("/internal/observations", to_array(batch), POST_WITHIN).await {
                Ok(()) => {}
                Err(CoreError::Refused(problem)) if (400..500).contains(&problem.status) => {
                    tracing::error!(%problem, count = batch.len(), "observations are refused and set aside");
                    segments.set_aside(&segment)?;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        fabric::fault::point("spool.sent");
        segments.remove(&segment)?;
    }
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
