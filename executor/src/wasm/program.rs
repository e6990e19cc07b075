//! A program: machine code, linked to what the host offers, ready to be instantiated as often as runs come.

use wasmtime::component::{Component, Linker as ComponentLinker};
use wasmtime::{Engine, InstancePre, Linker, Module};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::engine::{PoolConfig, component_linker, module_linker, running_engine};
use super::guest::{ComponentGuest, ModuleGuest};
use super::inspect::Format;
use crate::sys;

/// Guests that compute yield to the agent's own threads by this much.
const GUEST_NICE: i32 = 5;

/// A linked program. Cloning is cheap.
#[derive(Clone)]
pub(crate) enum Program {
    Http(ProxyPre<ComponentGuest>),
    Command(CommandPre<ComponentGuest>),
    Module(InstancePre<ModuleGuest>),
}

/// The engine, what it offers to guests, and the threads of guests that compute.
pub(crate) struct Lane {
    engine: Engine,
    components: ComponentLinker<ComponentGuest>,
    modules: Linker<ModuleGuest>,
    guests: Option<tokio::runtime::Runtime>,
}

impl Lane {
    /// Reserves the pool and starts the guests' threads, one for each core lent.
    pub(crate) fn new(pool: PoolConfig, cores: usize) -> wasmtime::Result<Self> {
        let engine = running_engine(pool)?;
        let guests = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores.max(1))
            .thread_name("guest")
            // A guest's turn lasts up to a tick: timers and sockets are looked at after each.
            .event_interval(1)
            .on_thread_start(|| sys::lower_this_thread(GUEST_NICE))
            .enable_all()
            .build()?;
        Ok(Self {
            components: component_linker(&engine)?,
            modules: module_linker(&engine)?,
            engine,
            guests: Some(guests),
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Where a guest that computes goes on.
    pub(crate) fn guests(&self) -> Option<&tokio::runtime::Handle> {
        self.guests.as_ref().map(tokio::runtime::Runtime::handle)
    }

    /// Links machine code that this very node has compiled.
    ///
    /// # Safety
    /// `code` must be what `Engine::precompile_*` made, unchanged.
    #[allow(unsafe_code, reason = "the engine trusts machine code; the cache authenticates it")]
    pub(crate) unsafe fn load(&self, format: Format, code: &[u8]) -> wasmtime::Result<Program> {
        if format == Format::Module {
            // SAFETY: promised by the caller.
            let module = unsafe { Module::deserialize(&self.engine, code)? };
            return Ok(Program::Module(self.modules.instantiate_pre(&module)?));
        }
        // SAFETY: promised by the caller.
        let component = unsafe { Component::deserialize(&self.engine, code)? };
        let linked = self.components.instantiate_pre(&component)?;
        Ok(match format {
            Format::CommandComponent => Program::Command(CommandPre::new(linked)?),
            _ => Program::Http(ProxyPre::new(linked)?),
        })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(guests) = self.guests.take() {
            guests.shutdown_background();
        }
    }
}
