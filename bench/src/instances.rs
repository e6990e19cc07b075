//! `bench executor`: a run inside the node, without all that leads to it: instantiate, call, drop. Beside it the same
//! component in a bare loop over `InstancePre`, on the same engine with the same pool. One thread each, in turns.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response};
use protocol::{ByteSize, Limits, Timestamp};
use tokio_util::sync::CancellationToken;
use wasm_host::{Format, Host, PoolConfig, Program, Record, RunLogBook, Surroundings, guest_request, running_engine};
use wasmtime::Store;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::checks::{Bound, Goal};
use crate::figures::{Figure, Report};
use crate::machine::Machine;
use crate::platform::Parts;
use crate::{Options, say};

/// As a node's pool is by default.
const POOL: PoolConfig = PoolConfig { slots: 128, keep_resident: ByteSize::mib(4), warm: 8 };
/// Runs before the first that counts.
const WARM_UP: u32 = 500;
const RATIO_MAX: f64 = 1.25;
/// As far as a node's runs may go.
const LOG_BYTES: usize = 1 << 20;

/// What a bare guest's store holds.
struct Bare {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NoWay,
}

/// The component calls nobody.
struct NoWay;

impl WasiHttpHooks for NoWay {
    fn send_request(
        &mut self,
        _request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _done: Done,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Done), Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}

type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiView for Bare {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Bare {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Both ways to run it.
struct Ground {
    host: Host,
    ours: Program,
    bare: ProxyPre<Bare>,
    around: Surroundings,
}

impl Ground {
    #[allow(unsafe_code, reason = "the code was made by this very engine")]
    fn new(component: &[u8]) -> anyhow::Result<Self> {
        let engine = running_engine(POOL)?;
        let host = Host::new(engine.clone())?;
        let code = engine.precompile_component(component)?;
        // SAFETY: `code` is what this engine has just made.
        let (ours, component) =
            unsafe { (host.load(Format::HttpComponent, &code)?, Component::deserialize(&engine, &code)?) };
        let mut linker = Linker::<Bare>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        let bare = ProxyPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { host, ours, bare, around: Surroundings::default() })
    }

    /// As a node does it, from the request to the response's last byte.
    async fn ours(&self) -> anyhow::Result<()> {
        let limits = Limits::default();
        let deadline = Instant::now() + limits.timeout.duration();
        let log = RunLogBook::new(LOG_BYTES, drop);
        let stop = CancellationToken::new();
        let record = std::sync::Arc::new(Record::new(limits, deadline, stop, log, Box::new(|_, _| {})));
        let request = guest_request(request(Empty::<Bytes>::new())?, &record);
        let started = self.host.start(&self.ours, &self.around, request, &record);
        let response = wasm_host::drive(started, None, &record).await.context("no response")?;
        good(response).await
    }

    /// Nothing but wasmtime.
    async fn bare(&self) -> anyhow::Result<()> {
        let state = Bare {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            hooks: NoWay,
        };
        let mut store = Store::new(self.bare.engine(), state);
        store.set_epoch_deadline(u64::MAX / 2);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let request = request(Empty::<Bytes>::new())?;
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let response = store.data_mut().http().new_response_outparam(sender)?;
        let proxy = self.bare.instantiate_async(&mut store).await?;
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, response).await?;
        good(receiver.await??).await
    }
}

fn request<B>(body: B) -> anyhow::Result<Request<B>> {
    Ok(Request::builder().uri("http://localhost/").header("host", "localhost").body(body)?)
}

async fn good(response: Response<WasiBody>) -> anyhow::Result<()> {
    ensure!(response.status().is_success(), "{}", response.status());
    let body = response.into_body().collect().await.map_err(|error| anyhow::anyhow!("{error:?}"))?.to_bytes();
    ensure!(!body.is_empty(), "an empty response");
    Ok(())
}

/// Microseconds of one run.
async fn loop_for(time: Duration, mut once: impl AsyncFnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut runs = 0_u32;
    while began.elapsed() < time {
        once().await?;
        runs += 1;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(runs.max(1)))
}

/// Measures it.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let at = Timestamp::now().to_string();
    let parts = Parts::from_environment()?;
    let ground = Ground::new(&std::fs::read(&parts.component)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let time = Duration::from_secs_f64(options.seconds);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        for _ in 0..WARM_UP {
            ground.ours().await?;
            ground.bare().await?;
        }
        for round in 0..options.rounds {
            say(&format!("round {} of {}", round + 1, options.rounds));
            ours.push(loop_for(time, async || ground.ours().await).await?);
            bare.push(loop_for(time, async || ground.bare().await).await?);
        }
        anyhow::Ok(())
    })?;
    let figure = |of: &str, rounds| Figure::new(of, "us_per_run", None, rounds);
    let (ours, bare) = (figure("a node's run", ours), figure("bare InstancePre", bare));
    let ratio = ours.over(&bare, "time_ratio");
    Ok(Report {
        benchmark: "executor",
        at,
        machine: Machine::here(),
        settings: serde_json::json!({
            "rounds": options.rounds,
            "seconds": options.seconds,
            "component": "functions-examples/hello",
            "pool": format!("{POOL:?}"),
        }),
        goals: vec![Goal::new("a node's run over a bare one", Bound::AtMost, RATIO_MAX, ratio.median)],
        figures: vec![ours, bare, ratio],
        // Whatever does not come as it should ends the benchmark.
        checks: Vec::new(),
    })
}
