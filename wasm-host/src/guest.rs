//! What the host keeps for one instance: its WASI state, its limits, its way out.

use wasmtime::component::ResourceTable;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::limits::Limiter;

/// The store's data of a component.
pub struct ComponentGuest {
    pub(crate) wasi: WasiCtx,
    pub(crate) http: WasiHttpCtx,
    pub(crate) table: ResourceTable,
    pub(crate) egress: Box<dyn WasiHttpHooks>,
    pub(crate) limiter: Limiter,
    /// What it is asked for, where it handles HTTP.
    pub(crate) method: http::Method,
}

impl WasiView for ComponentGuest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for ComponentGuest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut *self.egress, table: &mut self.table, ctx: &mut self.http }
    }
}

/// The store's data of a core module.
pub struct ModuleGuest {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) limiter: Limiter,
}
