//! The start of a run: a store with its limits, the request as the guest sees it, and the future that is the
//! guest. Nothing runs before the future is polled.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::Code;
use protocol::node::LogStream;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiView as _};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpCtx, WasiHttpView as _};

use crate::body::{Incoming, remove_ours};
use crate::cgi;
use crate::driver::Started;
use crate::egress::{Egress, NoWay, Through};
use crate::guest::{ComponentGuest, ModuleGuest};
use crate::head::Head;
use crate::host::{Host, Linked, Program};
use crate::limits::Limiter;
use crate::record::Record;
use crate::stdio::{EndOnDrop, Pipe, Stdin};
use crate::verdict::Verdict;

/// What one call of the host may copy out of a component: streams take 64 KiB at once, and a head is smaller than this.
const COMPONENT_CALL_BYTES: usize = 512 << 10;
/// The same for a module, at least and at most: libraries write what they have in one call, a whole response for
/// example. The streams cut it into turns.
const MODULE_CALL_BYTES: (usize, usize) = (4 << 20, 64 << 20);
/// What an instance may hold of the host's: streams, requests, heads, timers.
const RESOURCES_MAX: usize = 4096;

/// What a version gives to each of its runs.
pub struct Surroundings {
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// The way out.
    pub egress: Arc<dyn Egress>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { env: Vec::new(), egress: Arc::new(Through::new(NoWay)) }
    }
}

impl Host {
    /// Makes a run ready.
    pub fn start(
        &self,
        program: &Program,
        around: &Surroundings,
        request: http::Request<WasiBody>,
        record: &Arc<Record>,
    ) -> Started {
        let started = match &program.code {
            Linked::Http(pre) => self.start_http(pre.clone(), around, request, record),
            Linked::Command(pre) => {
                let (mut wasi, pipe) = command_context(around, request, record);
                let store = self.component_store(component(wasi.build(), around, record), record);
                let guest = run_command(store, pre.clone(), Arc::clone(record), pipe.end_on_drop());
                Started::new(guest, Head::Command(Some(pipe)))
            }
            Linked::Module(pre) => {
                let (mut wasi, pipe) = command_context(around, request, record);
                let mut guest = ModuleGuest { wasi: wasi.build_p1(), limiter: Limiter::new(Arc::clone(record)) };
                guest.wasi.ctx().table.set_max_capacity(RESOURCES_MAX);
                let call_bytes = record.limits.body.as_usize().clamp(MODULE_CALL_BYTES.0, MODULE_CALL_BYTES.1);
                let store = self.store(guest, record, call_bytes, |guest| &mut guest.limiter);
                let guest = run_module(store, pre.clone(), Arc::clone(record), pipe.end_on_drop());
                Started::new(guest, Head::Command(Some(pipe)))
            }
        };
        started.of(&program.pace)
    }

    fn start_http(
        &self,
        pre: ProxyPre<ComponentGuest>,
        around: &Surroundings,
        request: http::Request<WasiBody>,
        record: &Arc<Record>,
    ) -> Started {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(record.log.writer(LogStream::Stdout)).stderr(record.log.writer(LogStream::Stderr));
        wasi.envs(&around.env);
        let guest = component(wasi.build(), around, record);
        let guest = ComponentGuest { method: request.method().clone(), ..guest };
        let store = self.component_store(guest, record);
        let slot = Arc::new(Mutex::new(None));
        let guest = run_http(store, pre, request, Arc::clone(record), Arc::clone(&slot));
        Started::new(guest, Head::Http(slot))
    }

    fn component_store(&self, guest: ComponentGuest, record: &Arc<Record>) -> Store<ComponentGuest> {
        self.store(guest, record, COMPONENT_CALL_BYTES, |guest| &mut guest.limiter)
    }

    fn store<T: Send + 'static>(
        &self,
        guest: T,
        record: &Arc<Record>,
        call_bytes: usize,
        limiter: impl (FnMut(&mut T) -> &mut Limiter) + Send + Sync + 'static,
    ) -> Store<T> {
        let mut limiter = limiter;
        let mut store = Store::new(self.engine(), guest);
        store.limiter(move |guest| -> &mut dyn ResourceLimiter { limiter(guest) });
        store.set_hostcall_fuel(call_bytes);
        store.set_epoch_deadline(1);
        let record = Arc::clone(record);
        store.epoch_deadline_callback(move |_| {
            record.tick();
            if std::time::Instant::now() >= record.deadline || record.stop.is_cancelled() {
                record.interrupt();
                return Ok(UpdateDeadline::Interrupt);
            }
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }
}

fn component(wasi: WasiCtx, around: &Surroundings, record: &Arc<Record>) -> ComponentGuest {
    let mut table = ResourceTable::new();
    table.set_max_capacity(RESOURCES_MAX);
    ComponentGuest {
        wasi,
        http: WasiHttpCtx::new(),
        table,
        egress: around.egress.hooks(record),
        limiter: Limiter::new(Arc::clone(record)),
        method: http::Method::GET,
    }
}

fn command_context(
    around: &Surroundings,
    request: http::Request<WasiBody>,
    record: &Arc<Record>,
) -> (WasiCtxBuilder, Pipe) {
    let (head, body) = request.into_parts();
    let pipe = Pipe::default();
    let mut wasi = WasiCtxBuilder::new();
    wasi.arg("function").envs(&cgi::environment(&head, around.env.iter().cloned()));
    wasi.stdout(pipe.clone()).stderr(record.log.writer(LogStream::Stderr));
    if let Some(stdin) = Stdin::new(body) {
        wasi.stdin(stdin);
    }
    // A command's response is its stdout, even where that is empty.
    record.answer();
    (wasi, pipe)
}

type HeadSlot = Arc<Mutex<Option<http::Response<WasiBody>>>>;

async fn run_http(
    mut store: Store<ComponentGuest>,
    pre: ProxyPre<ComponentGuest>,
    request: http::Request<WasiBody>,
    record: Arc<Record>,
    slot: HeadSlot,
) {
    let result = async {
        let proxy = pre.instantiate_async(&mut store).await?;
        let mut host = store.data_mut().http();
        let request = host.new_incoming_request(Scheme::Http, request)?;
        let response = host.new_response_outparam_from_callback({
            let record = Arc::clone(&record);
            move |answer| match answer {
                Ok(response) => {
                    *slot.lock() = Some(response);
                    record.answer();
                }
                Err(code) => record.fail(Code::NoResponse, format!("the handler answered with an error: {code:?}")),
            }
        })?;
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, response).await
    }
    .await;
    // The verdict comes before the store goes: a body whose writer has gone must know why.
    record.conclude(Verdict::of(result, &record));
}

async fn run_command(
    mut store: Store<ComponentGuest>,
    pre: CommandPre<ComponentGuest>,
    record: Arc<Record>,
    output: EndOnDrop,
) {
    let result = async {
        let command = pre.instantiate_async(&mut store).await?;
        command.wasi_cli_run().call_run(&mut store).await
    }
    .await;
    let verdict = match result {
        Ok(Err(())) => Verdict::failed(Code::FunctionExit, "exit status 1"),
        Ok(Ok(())) => Verdict::of(Ok(()), &record),
        Err(error) => Verdict::of(Err(error), &record),
    };
    record.conclude(verdict);
    drop(output);
}

async fn run_module(
    mut store: Store<ModuleGuest>,
    pre: wasmtime::InstancePre<ModuleGuest>,
    record: Arc<Record>,
    output: EndOnDrop,
) {
    let result = async {
        let instance = pre.instantiate_async(&mut store).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await
    }
    .await;
    record.conclude(Verdict::of(result, &record));
    drop(output);
}

/// A request as a guest sees it: none of our headers, a host in any case, its body counted and bounded.
pub fn guest_request<B>(request: http::Request<B>, record: &Arc<Record>) -> http::Request<WasiBody>
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + Unpin + 'static,
{
    use http_body_util::BodyExt as _;
    let (mut head, body) = request.into_parts();
    remove_ours(&mut head.headers);
    if head.uri.authority().is_none() && !head.headers.contains_key(http::header::HOST) {
        head.headers.insert(http::header::HOST, http::HeaderValue::from_static("localhost"));
    }
    head.extensions.clear();
    http::Request::from_parts(head, Incoming::new(body, Arc::clone(record)).boxed_unsync())
}
