//! The engine that runs guests on a node: its pool of instances, and the thread that ticks its epoch.

use std::time::Duration;

use protocol::ByteSize;
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::host::code_config;
use crate::limits::TABLE_ELEMENTS_MAX;

/// A guest that computes is looked at this often: it may be stopped, or moved to the guests' own threads.
pub const TICK: Duration = Duration::from_millis(10);

/// How the pool of instances is sized.
#[derive(Debug, Clone, Copy)]
pub struct PoolConfig {
    /// Runs at once.
    pub slots: u32,
    /// Bytes of each memory that stay resident between runs, so that the next run has no page faults.
    pub keep_resident: ByteSize,
    /// Memories that stay resident when nothing runs.
    pub warm: u32,
}

/// The engine that runs guests, and the thread that ticks its epoch for as long as it lives.
///
/// # Errors
/// The pool's address space, or the thread, cannot be had.
pub fn running_engine(pool: PoolConfig) -> wasmtime::Result<Engine> {
    let mut config = code_config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(pool)));
    let engine = Engine::new(&config)?;
    let weak = engine.weak();
    std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(engine)
}

fn pooling(pool: PoolConfig) -> PoolingAllocationConfig {
    // A component is often three or four core instances; most have one memory.
    let instances = pool.slots.saturating_mul(4);
    let memories = pool.slots.saturating_mul(2);
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_component_instances(pool.slots)
        .total_core_instances(instances)
        .total_memories(memories)
        .total_tables(instances)
        .total_stacks(pool.slots)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_unused_warm_slots(pool.warm)
        .linear_memory_keep_resident(pool.keep_resident.as_usize())
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    pooling
}
