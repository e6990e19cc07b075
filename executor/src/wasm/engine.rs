//! The engine: everything that shapes machine code is in `code_config`, which the compiling child shares; the
//! pool of instances is the agent's alone.

use std::time::Duration;

use protocol::ByteSize;
use wasmtime::component::Linker as ComponentLinker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, Linker, PoolingAllocationConfig};

use super::guest::{ComponentGuest, ModuleGuest};
use super::limits::TABLE_ELEMENTS_MAX;

/// A guest that computes is looked at this often: it may be stopped, or moved to the guests' own threads.
pub(crate) const TICK: Duration = Duration::from_millis(10);

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

/// The settings that decide what code is made. Agent and compiling child must agree on each.
pub(crate) fn code_config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.wasm_threads(false);
    config.wasm_component_model_async(false);
    config.concurrency_support(false);
    // Copying initial data costs less than the page faults of copy-on-write: measured on virtual machines.
    config.memory_init_cow(false);
    config
}

/// An engine that only compiles: without a pool, so that it needs little address space.
pub(crate) fn compiling_engine() -> wasmtime::Result<Engine> {
    Engine::new(&code_config())
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

/// What components may import: WASI p2, HTTP included. Sockets, files and hosts are there, and refused at run time.
pub(crate) fn component_linker(engine: &Engine) -> wasmtime::Result<ComponentLinker<ComponentGuest>> {
    let mut linker = ComponentLinker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Ok(linker)
}

/// What core modules may import: WASI p1.
pub(crate) fn module_linker(engine: &Engine) -> wasmtime::Result<Linker<ModuleGuest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |guest: &mut ModuleGuest| &mut guest.wasi)?;
    Ok(linker)
}
