//! The engines: everything that shapes machine code is in `wasm_host::code_config`, which the compiling child and the
//! runner in a machine share; the pool of instances is the agent's alone.

use std::time::Duration;

use protocol::ByteSize;
use wasm_host::{TABLE_ELEMENTS_MAX, code_config};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// A guest that computes is looked at this often: it may be stopped, or moved to the guests' own threads.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// What a machine is.
const MACHINES_TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

/// How the pool of instances is sized.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolConfig {
    /// Runs at once.
    pub(crate) slots: u32,
    /// Bytes of each memory that stay resident between runs, so that the next run has no page faults.
    pub(crate) keep_resident: ByteSize,
    /// Memories that stay resident when nothing runs.
    pub(crate) warm: u32,
}

/// An engine that only compiles: without a pool, so that it needs little address space.
pub(crate) fn compiling_engine() -> wasmtime::Result<Engine> {
    Engine::new(&code_config())
}

/// The same for a machine, whose processor may be any of this architecture.
pub(crate) fn machines_engine() -> wasmtime::Result<Engine> {
    let mut config = code_config();
    // A target that is named is taken at its baseline: nothing of this host's own processor.
    config.target(MACHINES_TARGET)?;
    Engine::new(&config)
}

/// The engine that runs guests, and the thread that ticks its epoch for as long as it lives.
pub(crate) fn running_engine(pool: PoolConfig) -> wasmtime::Result<Engine> {
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
