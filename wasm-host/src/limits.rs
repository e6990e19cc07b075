//! What an instance may hold: memory in all its linear memories, tables, instances. Every growth asks here.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::record::Record;

/// Elements of one table. Large programs (an interpreter) have some ten thousand functions.
pub const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Core instances, tables and memories of one run.
const INSTANCES_MAX: usize = 64;

/// Counts the memory of one run and refuses what is above its limit.
pub(crate) struct Limiter {
    memory_max_bytes: usize,
    held_bytes: usize,
    before_growth_bytes: usize,
    record: Arc<Record>,
}

impl Limiter {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        let memory_max_bytes = record.limits.memory.as_usize();
        Self { memory_max_bytes, held_bytes: 0, before_growth_bytes: 0, record }
    }

    /// Whose limits these are.
    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let held = self.held_bytes.saturating_sub(current).saturating_add(desired);
        if held > self.memory_max_bytes {
            self.record.refuse_memory();
            return Ok(false);
        }
        self.before_growth_bytes = std::mem::replace(&mut self.held_bytes, held);
        self.record.hold_memory(held);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.held_bytes = self.before_growth_bytes;
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        INSTANCES_MAX
    }
}
