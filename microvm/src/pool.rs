//! Clones that wait, so that a run does not: restored, standing still, within a budget of memory.

use std::collections::VecDeque;
use std::sync::Arc;

use guest_agent::wire::Contract;
use parking_lot::Mutex;

use crate::disk::Disk;
use crate::error::Error;
use crate::template::{Paused, Template};

/// How many wait, and what all may take.
#[derive(Debug, Clone, Copy)]
pub struct PoolConfig {
    pub ready: usize,
    /// Of guests' memory, whether touched or not.
    pub memory_bytes: u64,
}

/// Clones of one template and one image.
pub struct Pool {
    template: Arc<Template>,
    disk: Option<Disk>,
    contract: Contract,
    overlay_bytes: u64,
    warm: Vec<String>,
    config: PoolConfig,
    ready: Mutex<VecDeque<Paused>>,
    filling: tokio::sync::Mutex<()>,
}

impl Pool {
    /// Runs of this contract, each of which may write that much to its disk and finds the files in `warm` in memory.
    pub fn new(
        template: Arc<Template>,
        disk: Option<Disk>,
        contract: Contract,
        overlay_bytes: u64,
        warm: Vec<String>,
        config: PoolConfig,
    ) -> Self {
        Self {
            template,
            disk,
            contract,
            overlay_bytes,
            warm,
            config,
            ready: Mutex::new(VecDeque::new()),
            filling: tokio::sync::Mutex::new(()),
        }
    }

    /// How many may wait: as many as asked for and as the budget holds.
    pub fn capacity(&self) -> usize {
        let each = self.template.shape().memory_bytes().max(1);
        let fit = usize::try_from(self.config.memory_bytes / each).unwrap_or(usize::MAX);
        self.config.ready.min(fit)
    }

    /// How many wait.
    pub fn ready(&self) -> usize {
        self.ready.lock().len()
    }

    /// Makes clones until enough wait. Run it in the background, off the path of a run.
    pub async fn fill(&self) -> Result<(), Error> {
        let _one_at_a_time = self.filling.lock().await;
        while self.ready() < self.capacity() {
            let mut clone = self.template.restore(self.disk.as_ref()).await?;
            clone.rehearse(self.contract, self.overlay_bytes, &self.warm).await?;
            self.ready.lock().push_back(clone);
        }
        Ok(())
    }

    /// One that waits, else one made now.
    pub async fn take(&self) -> Result<Paused, Error> {
        while let Some(mut clone) = self.next() {
            if clone.is_alive() {
                return Ok(clone);
            }
            tracing::warn!(pid = clone.pid(), "a machine ended while it waited");
        }
        self.template.restore(self.disk.as_ref()).await
    }

    fn next(&self) -> Option<Paused> {
        self.ready.lock().pop_front()
    }
}
