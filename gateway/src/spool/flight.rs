//! Batches on their way: several at once, the oldest first, each until it is acknowledged.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};
use protocol::batch::BatchHead;
use protocol::{Code, Digest, Problem};

use super::batches::{Batch, Batches, Name};
use super::{Core, as_gauge, is_final, to_array};
use crate::core_client::CoreError;
use crate::meters::Meters;

/// So many at once: at 512 observations each more than one control plane settles in the second that an acknowledgement
/// may take.
const IN_FLIGHT_MAX: usize = 32;

/// What became of a batch.
#[derive(Debug)]
enum Fate {
    Committed,
    /// Its number is taken by other observations.
    Taken(Box<Problem>),
    /// For good.
    Refused(Box<Problem>),
}

/// The batches on their way, in the order of their numbers.
pub(super) struct Flight<'a, C> {
    core: &'a C,
    batches: &'a Arc<Batches>,
    meters: &'a Meters,
    sent: FuturesOrdered<BoxFuture<'a, (Batch, anyhow::Result<Fate>)>>,
    names: HashSet<Name>,
}

impl<'a, C: Core + Sync> Flight<'a, C> {
    pub(super) fn new(core: &'a C, batches: &'a Arc<Batches>, meters: &'a Meters) -> Self {
        Self { core, batches, meters, sent: FuturesOrdered::new(), names: HashSet::new() }
    }

    /// Sends what is sealed, as far as there may be more on their way.
    pub(super) async fn fill(&mut self) -> anyhow::Result<()> {
        while self.sent.len() < IN_FLIGHT_MAX {
            let (from, others) = (Arc::clone(self.batches), self.names.clone());
            let oldest = tokio::task::spawn_blocking(move || from.oldest_but(&others)).await??;
            let Some(batch) = oldest else { return Ok(()) };
            self.names.insert(batch.name);
            let acknowledged = self.batches.acknowledged(batch.name.epoch);
            let core = self.core;
            self.sent.push_back(Box::pin(async move {
                let fate = post(core, &batch, acknowledged).await;
                (batch, fate)
            }));
        }
        Ok(())
    }

    /// Waits for the oldest one's answer; for ever, where none is on its way.
    ///
    /// # Errors
    /// When it has to be sent again, and those behind it.
    pub(super) async fn next(&mut self) -> anyhow::Result<()> {
        let Some((batch, fate)) = self.sent.next().await else { return std::future::pending().await };
        let fate = fate?;
        self.names.remove(&batch.name);
        fabric::fault::point("spool.sent");
        let count = batch.lines.len();
        let bytes = match fate {
            Fate::Committed => self.batches.remove(&batch)?,
            Fate::Taken(problem) => {
                tracing::error!(%problem, count, "observations get another number");
                self.batches.renumber(&batch)?
            }
            Fate::Refused(problem) => {
                tracing::error!(%problem, count, "observations are refused and set aside");
                self.meters.spool_lost.increment(count as u64);
                self.batches.set_aside(&batch)?
            }
        };
        self.meters.spool_bytes.set(as_gauge(bytes));
        Ok(())
    }

    /// Those that have no answer yet are sent again.
    pub(super) fn forget(&mut self) {
        (self.sent, self.names) = (FuturesOrdered::new(), HashSet::new());
    }

    /// Sends all that is sealed.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(super) async fn all(&mut self) -> anyhow::Result<()> {
        loop {
            self.fill().await?;
            if self.sent.is_empty() {
                return Ok(());
            }
            self.next().await?;
        }
    }
}

/// Sends one.
///
/// # Errors
/// When it has to be sent again.
async fn post(core: &impl Core, batch: &Batch, acknowledged: u64) -> anyhow::Result<Fate> {
    let body = to_array(&batch.lines);
    let (epoch, number) = (batch.name.epoch, batch.name.number);
    let head = BatchHead { epoch, number, digest: Digest::of(&body), acknowledged };
    match core.post(&head, body).await {
        Ok(None) => Ok(Fate::Committed),
        Ok(Some(ack)) if ack.committed >= number => {
            if ack.void > 0 {
                tracing::error!(%epoch, number, void = ack.void, "the control plane could not read some observations");
            }
            Ok(Fate::Committed)
        }
        Ok(Some(ack)) => anyhow::bail!("batch {number} of {epoch} is not taken: {} is expected", ack.committed + 1),
        Err(CoreError::Refused(problem)) if problem.code == Code::BatchConflict => Ok(Fate::Taken(problem)),
        Err(CoreError::Refused(problem)) if is_final(&problem) => Ok(Fate::Refused(problem)),
        Err(error) => Err(error.into()),
    }
}
