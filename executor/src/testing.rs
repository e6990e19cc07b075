//! For this crate's tests: guests, a lane, and runs with a body, a limit or a deadline of their own.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::shares::{Shares, TenantShare};
use http_body_util::BodyExt as _;
use protocol::receipt::Usage;
use protocol::ticket::SignedTicket;
use protocol::{AccountId, ByteSize, Limits, Millis, RunId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wasm_host::{PoolConfig, Through};

use crate::egress::EgressRules;
use crate::run::log::{self, Sink, TicketedLine};
use crate::run::{self, Record, Verdict};
use crate::vm;
use crate::wasm::engine::compiling_engine;
use crate::wasm::inspect::inspect;
use crate::wasm::{Format, Lane, Program, Surroundings};

/// The HTTP guest, `tests/guests/http`: built once, by whichever test comes first.
pub(crate) fn http_guest() -> Vec<u8> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/http");
    let folder = std::env::var_os("CROWDCLOUD_GUESTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests"), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    let built = folder.join("executor-http.wasm");
    let lock = std::fs::File::create(folder.join("executor-http.lock")).unwrap();
    lock.lock().unwrap();
    let age = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    if age(&built) < age(&source.join("src/lib.rs")) || age(&built) < age(&source.join("Cargo.lock")) {
        let toolchain = componentize::Toolchain::find(&|step| eprintln!("{step}")).unwrap();
        let module = componentize::build(&toolchain, &source).unwrap();
        std::fs::write(&built, componentize::component(&std::fs::read(module).unwrap()).unwrap()).unwrap();
    }
    std::fs::read(&built).unwrap()
}

/// A command, `tests/guests/wat/<name>.wat`.
pub(crate) fn wat_guest(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/wat").join(name).with_extension("wat");
    wat::parse_file(path).unwrap()
}

/// How late this machine itself wakes a thread, while something else is measured: other processes' load is not ours.
pub(crate) struct MachineLateness {
    stop: CancellationToken,
    thread: std::thread::JoinHandle<Duration>,
}

impl MachineLateness {
    pub(crate) fn measure() -> Self {
        const NAP: Duration = Duration::from_millis(5);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut worst = Duration::ZERO;
            while !stopped.is_cancelled() {
                let start = Instant::now();
                std::thread::sleep(NAP);
                worst = worst.max(start.elapsed().saturating_sub(NAP));
            }
            worst
        });
        Self { stop, thread }
    }

    pub(crate) fn worst(self) -> Duration {
        self.stop.cancel();
        // A quiet machine adds nothing to the promise.
        self.thread.join().unwrap().saturating_sub(Duration::from_millis(20)) * 3
    }
}

/// A lane with one program, of an account of its own.
pub(crate) struct Bench {
    place: Place,
    account: AccountId,
    pub(crate) limits: Limits,
}

#[derive(Clone)]
enum Place {
    Wasm {
        lane: Arc<Lane>,
        program: Program,
        surroundings: Arc<Surroundings>,
    },
    /// A version, and what it must not outlive.
    Machine(Arc<vm::Version>, #[expect(dead_code, reason = "held, never read")] Arc<dyn Any + Send + Sync>),
}

/// All that is known of a run that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    pub(crate) usage: Usage,
    pub(crate) log: Vec<String>,
    pub(crate) after: Duration,
}

/// A run whose answer has come.
pub(crate) struct Answered {
    pub(crate) response: http::Response<fabric::Body>,
    started: Instant,
    end: oneshot::Receiver<(Verdict, Usage, Duration)>,
    lines: mpsc::Receiver<TicketedLine>,
    _place: Place,
}

impl Bench {
    pub(crate) fn new(wasm: &[u8]) -> Self {
        let pool = PoolConfig { slots: 64, keep_resident: ByteSize::mib(2), warm: 8 };
        let turns = Shares::with_lines(2, TenantShare::WHOLE, 64);
        Self::on(&Arc::new(Lane::new(pool, 2, turns).unwrap()), wasm)
    }

    /// Another program on the same lane.
    pub(crate) fn beside(&self, wasm: &[u8]) -> Self {
        let Place::Wasm { lane, .. } = &self.place else { panic!("a machine has one program") };
        Self::on(lane, wasm)
    }

    fn on(lane: &Arc<Lane>, wasm: &[u8]) -> Self {
        let format = inspect(wasm).unwrap();
        let engine = compiling_engine().unwrap();
        let code = match format {
            Format::Module => engine.precompile_module(wasm).unwrap(),
            _ => engine.precompile_component(wasm).unwrap(),
        };
        #[allow(unsafe_code, reason = "compiled two lines above")]
        let program = unsafe { lane.host.load(format, &code).unwrap() };
        let limits = Limits { timeout: Millis::seconds(10), ..Limits::default() };
        let place = Place::Wasm { lane: Arc::clone(lane), program, surroundings: Arc::default() };
        Self { place, account: AccountId::new(), limits }
    }

    /// A version of the VM lane.
    pub(crate) fn in_machine(version: vm::Version, limits: Limits, ground: impl Any + Send + Sync) -> Self {
        let place = Place::Machine(Arc::new(version), Arc::new(ground));
        Self { place, account: AccountId::new(), limits }
    }

    pub(crate) fn with_timeout(mut self, millis: u64) -> Self {
        self.limits.timeout = Millis(millis);
        self
    }

    pub(crate) fn with_surroundings(mut self, env: &[(&str, &str)], egress: EgressRules) -> Self {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let Place::Wasm { surroundings, .. } = &mut self.place else { panic!("a version has its own") };
        *surroundings = Arc::new(Surroundings { env, egress: Arc::new(Through::new(egress)) });
        self
    }

    pub(crate) async fn send(&self, request: http::Request<fabric::Body>) -> Answered {
        self.send_until(request, CancellationToken::new()).await
    }

    pub(crate) async fn send_until(&self, request: http::Request<fabric::Body>, stop: CancellationToken) -> Answered {
        let (sender, end) = oneshot::channel();
        let (sink, lines) = mpsc::channel(1000);
        let started = Instant::now();
        let shares = Shares::new(1 << 20, TenantShare::WHOLE);
        let sink = Sink { lines: sink, shares, account: self.account, line_bytes_min: 0 };
        let log = log::book(RunId::new(), Arc::new(SignedTicket(String::new())), sink, 1000);
        let settle = Box::new(move |verdict, usage| drop(sender.send((verdict, usage, started.elapsed()))));
        let deadline = started + self.limits.timeout.duration();
        let record = Arc::new(Record::new(self.limits, deadline, stop, log, settle));
        let response = match &self.place {
            Place::Wasm { lane, program, surroundings } => {
                run::run(lane, program, surroundings, self.account, request, record).await
            }
            Place::Machine(version, _) => {
                let started = vm::start(version, run::guest_request(request, &record), &record);
                run::drive(started, None, record).await
            }
        };
        Answered { response, started, end, lines, _place: self.place.clone() }
    }

    pub(crate) async fn get(&self, target: &str) -> Answered {
        self.send(http::Request::get(target).body(fabric::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, target: &str, body: impl Into<Bytes>) -> Answered {
        self.send(http::Request::post(target).body(fabric::full(body.into())).unwrap()).await
    }
}

impl Answered {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn head_after(&self) -> Duration {
        self.started.elapsed()
    }

    /// The whole body, or why it broke off; and how the run ended.
    pub(crate) async fn read(self) -> (Result<Bytes, fabric::BodyError>, Ended) {
        let body = self.response.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        (body, ended(self.end, self.lines).await)
    }

    /// The body as text, of a run that went well.
    pub(crate) async fn text(self) -> String {
        let (body, ended) = self.read().await;
        assert_eq!(ended.verdict, Verdict::succeeded());
        String::from_utf8(body.unwrap().to_vec()).unwrap()
    }

    /// Throws the answer away, as a caller who has gone.
    pub(crate) async fn abandon(self) -> Ended {
        drop(self.response);
        ended(self.end, self.lines).await
    }
}

async fn ended(end: oneshot::Receiver<(Verdict, Usage, Duration)>, mut lines: mpsc::Receiver<TicketedLine>) -> Ended {
    let (verdict, usage, after) = tokio::time::timeout(Duration::from_secs(5), end).await.unwrap().unwrap();
    let log = std::iter::from_fn(|| lines.try_recv().ok()).map(|line| line.line.text).collect();
    Ended { verdict, usage, log, after }
}
