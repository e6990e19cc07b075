//! The server contract: HTTP on `$PORT` inside a machine that stays warm between requests of its version.
//!
//! ```text
//! starting --listens--> serving one run --answered well--> idle --a run comes--> serving
//!     |                      |                               \--too long, or the memory is needed--> gone
//!     \--ended, too late-----+--ended, stopped, late, broken--> gone
//! ```
//! One run at a time is in a machine: what it used there is the run's. More at once are more machines.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use microvm::{Ended, GuestStream, Run};
use parking_lot::Mutex;
use protocol::node::LogStream;
use protocol::{Code, headers};
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;
use wasm_host::Meter;
use wasmtime_wasi_http::{Error, WasiBody};

use super::command::left;
use super::connection::{Connection, Failed, exchange};
use super::egress;
use super::start::apart;
use super::verdict;
use super::version::Version;
use super::wasm;
use crate::admission::Held;
use crate::run::{Head, Record, RunLogBook, Started, Verdict};

/// No machine lives longer, however busy it is.
const LIFE_MAX: Duration = Duration::from_secs(3600);
/// What a machine may take to say how it ended once a connection broke.
const CAUSE_WITHIN: Duration = Duration::from_secs(1);
/// A server that had at least so long may be said to listen nowhere.
const LISTENS_WITHIN_MIN: Duration = Duration::from_secs(1);
/// That is said so long before the run's deadline.
const TOLD_BEFORE_DEADLINE: Duration = Duration::from_millis(50);

/// A machine in which no run is.
pub(super) struct Idle {
    server: Server,
    pub(super) since: Instant,
    _memory: Held,
}

/// A machine with a server that listens.
struct Server {
    run: Run,
    born: Instant,
    connection: Option<Connection>,
    /// What listens is the runner of WebAssembly, which knows how each run ended.
    hosted: bool,
    /// What all runs so far have used.
    cpu_us: u64,
    /// Whose log its output goes to now.
    log: Arc<Mutex<Option<RunLogBook>>>,
    /// Whose its connections to other hosts are now.
    meter: Meter,
}

pub(super) fn start(version: &Arc<Version>, request: http::Request<WasiBody>, record: &Arc<Record>) -> Started {
    let slot = Arc::new(Mutex::new(None));
    let (answer, answered) = oneshot::channel();
    let story = apart(story(Arc::clone(version), request, answer, Arc::clone(record)));
    let (place, noted) = (Arc::clone(&slot), Arc::clone(record));
    let guest = async move {
        tokio::pin!(story);
        tokio::select! {
            biased;
            Ok(response) = answered => {
                *place.lock() = Some(response);
                noted.answer();
            }
            () = &mut story => return,
        }
        story.await;
    };
    Started::new(guest, Head::Http(slot))
}

type Answer = oneshot::Sender<http::Response<WasiBody>>;

async fn story(version: Arc<Version>, request: http::Request<WasiBody>, answer: Answer, record: Arc<Record>) {
    let found = tokio::select! {
        found = Server::find(&version, &record) => found,
        () = record.stop.cancelled() => return,
    };
    let mut server = match found {
        Ok(server) => server,
        Err(verdict) => return record.conclude(*verdict),
    };
    *server.log.lock() = Some(record.log.clone());
    let served = server.serve(request, answer, &version, &record).await;
    *server.log.lock() = None;
    match served {
        Served::Well(verdict, usage) => {
            verdict::account(usage.as_ref(), server.cpu_us, &record);
            record.conclude(verdict);
            server.cpu_us = usage.map_or(server.cpu_us, |usage| usage.cpu_us);
            version.keep(server);
        }
        Served::Over(ended) => {
            verdict::account(ended.usage.as_ref(), server.cpu_us, &record);
            record.conclude(verdict::of(&ended, &version.about.ports, &record));
        }
        Served::Broken(why) => {
            record.conclude(Verdict::failed(Code::InvalidResponse, why));
            let ended = server.stop().await;
            verdict::account(ended.usage.as_ref(), server.cpu_us, &record);
        }
        Served::Stopped => {
            let host_cpu = server.run.host_cpu();
            let ended = server.stop().await;
            if server.cpu_us == 0 {
                verdict::guess(&ended, host_cpu, &record);
            }
            verdict::account(ended.usage.as_ref(), server.cpu_us, &record);
        }
    }
}

impl Version {
    /// Keeps a machine for the next run, where there is memory for it.
    fn keep(&self, server: Server) {
        if server.born.elapsed() >= LIFE_MAX / 2 {
            return;
        }
        if let Some(memory) = self.hold() {
            self.idle.lock().push(Idle { server, since: Instant::now(), _memory: memory });
        }
    }
}

/// How a request went.
enum Served {
    /// The machine takes the next.
    Well(Verdict, Option<microvm::Usage>),
    /// The machine ended.
    Over(Ended),
    /// It lives, and what it answered is no answer.
    Broken(String),
    /// The caller went away, or the deadline came.
    Stopped,
}

impl Server {
    /// One that idles, else a new one, which listens when this is over.
    async fn find(version: &Arc<Version>, record: &Arc<Record>) -> Result<Self, Box<Verdict>> {
        loop {
            let idle = version.idle.lock().pop();
            let Some(Idle { mut server, .. }) = idle else { break };
            if futures::FutureExt::now_or_never(server.run.ended()).is_none() {
                server.meter.turn_to(record);
                return Ok(server);
            }
        }
        let failed = |error: microvm::Error| Box::new(Verdict::node_failed(error.to_string()));
        let machine = version.machine().await.map_err(failed)?;
        let mut run = machine.start(version.workload.clone(), LIFE_MAX).await.map_err(failed)?;
        let meter = Meter::of(record);
        egress::open(&mut run, &version.about.egress, &meter);
        let log = Arc::new(Mutex::new(Some(record.log.clone())));
        pump(run.stdout.take(), LogStream::Stdout, &log);
        pump(Some(run.stderr.take_out()), LogStream::Stderr, &log);
        let hosted = version.about.hosted;
        let mut server = Self { run, born: Instant::now(), connection: None, hosted, cpu_us: 0, log, meter };
        let ports = &version.about.ports;
        match tokio::time::timeout(patience(hosted, record), server.run.connect()).await {
            Ok(Some(stream)) => {
                server.connection = Connection::open(stream).await;
                return Ok(server);
            }
            // It has ended.
            Ok(None) => {}
            Err(_) => {
                record.conclude(verdict::never_listened(ports));
                server.run.stop().await;
            }
        }
        let ended = server.run.ended().await;
        verdict::account(ended.usage.as_ref(), 0, record);
        Err(Box::new(verdict::of(&ended, ports, record)))
    }

    /// One request, to the last byte of its answer.
    async fn serve(
        &mut self,
        request: http::Request<WasiBody>,
        answer: Answer,
        version: &Version,
        record: &Record,
    ) -> Served {
        let sending = exchange(self.connection.take(), self.run.connector(), origin_form(request), &version.habit);
        let sent = tokio::select! {
            sent = sending => sent,
            ended = self.run.ended() => return Served::Over(ended),
            () = record.stop.cancelled() => return Served::Stopped,
        };
        let (connection, response) = match sent {
            Ok(sent) => sent,
            Err(Failed::NotTaken) => return self.cause("it takes no connection".to_owned()).await,
            Err(Failed::NoResponse(error)) => return self.cause(format!("no response: {error}")).await,
            Err(Failed::Closed) => return self.closed().await,
        };
        if self.hosted && response.headers().contains_key(headers::NODE_PROBLEM) {
            self.connection = Some(connection);
            return self.end(record).await;
        }
        let (parts, body) = response.into_parts();
        let (done, whole) = oneshot::channel();
        let (_verdict_is_known, known) = oneshot::channel();
        let body = Tail { body, done: Some(done), known, broken: false };
        if answer.send(http::Response::from_parts(parts, body.boxed_unsync())).is_err() {
            return Served::Stopped;
        }
        let whole = tokio::select! {
            whole = whole => whole,
            () = record.stop.cancelled() => return Served::Stopped,
        };
        let served = match whole {
            Ok(true) => {
                self.connection = connection.keep();
                self.end(record).await
            }
            Ok(false) if self.hosted => self.end(record).await,
            Ok(false) => self.cause("the response broke off".to_owned()).await,
            // Nobody reads it any more.
            Err(_) => Served::Stopped,
        };
        match &served {
            Served::Over(ended) => record.conclude(verdict::of(ended, &version.about.ports, record)),
            Served::Broken(why) => record.conclude(Verdict::failed(Code::InvalidResponse, why.clone())),
            Served::Well(verdict, _) => record.conclude(verdict.clone()),
            Served::Stopped => {}
        }
        served
    }

    /// How a run ended whose machine lives, and what it used: the runner of WebAssembly knows it best.
    async fn end(&mut self, record: &Record) -> Served {
        if !self.hosted {
            return Served::Well(Verdict::succeeded(), self.run.measure().await);
        }
        if self.connection.is_none()
            && let Some(stream) = self.run.connect_now()
        {
            self.connection = Connection::open(stream).await;
        }
        let Some(Connection { sender, .. }) = &mut self.connection else {
            return self.cause("it takes no connection".to_owned()).await;
        };
        let ended = tokio::select! {
            ended = wasm::ended(sender) => ended,
            ended = self.run.ended() => return Served::Over(ended),
            () = record.stop.cancelled() => return Served::Stopped,
        };
        let Some(ended) = ended else {
            return self.cause("its runner does not say how the run ended".to_owned()).await;
        };
        for remark in &ended.remarks {
            record.log.remark(remark);
        }
        let memory_peak_bytes = ended.memory_peak.0;
        let usage = self.run.measure().await.map(|usage| microvm::Usage { memory_peak_bytes, ..usage });
        Served::Well(ended.verdict(), usage)
    }

    /// The server closed a connection instead of responding. It lives, and takes the next request on another one.
    async fn closed(&mut self) -> Served {
        let why = "the server closed its connection instead of responding";
        match self.cause(why.to_owned()).await {
            Served::Broken(why) => Served::Well(Verdict::failed(Code::InvalidResponse, why), self.run.measure().await),
            served => served,
        }
    }

    /// Why a connection broke: by the end of the machine, which follows soon, or for a reason of its own.
    async fn cause(&mut self, why: String) -> Served {
        match tokio::time::timeout(CAUSE_WITHIN, self.run.ended()).await {
            Ok(ended) => Served::Over(ended),
            Err(_) => Served::Broken(why),
        }
    }

    async fn stop(&mut self) -> Ended {
        self.run.stop().await;
        self.run.ended().await
    }
}

/// How long a run waits for its server to listen: the deadline would only say that the time is over. A server that had
/// hardly any time is late and no worse, and so is the runner of WebAssembly, which no user can mend.
fn patience(hosted: bool, record: &Record) -> Duration {
    let patience = left(record).saturating_sub(TOLD_BEFORE_DEADLINE);
    if hosted || patience < LISTENS_WITHIN_MIN { Duration::MAX } else { patience }
}

/// A server sees a path, not a whole address.
fn origin_form(mut request: http::Request<WasiBody>) -> http::Request<WasiBody> {
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| http::Uri::from_static("/"), http::Uri::from);
    *request.version_mut() = http::Version::HTTP_11;
    // It is of the connection, and said with it (RFC 9110, 10.1.4).
    if request.headers().contains_key(http::header::TE) {
        request.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("te"));
    }
    request
}

/// What a server writes goes to the log of the run that is in it.
fn pump(stream: Option<GuestStream>, name: LogStream, log: &Arc<Mutex<Option<RunLogBook>>>) {
    let Some(mut stream) = stream else { return };
    let log = Arc::clone(log);
    tokio::spawn(async move {
        let mut piece = vec![0; 8 << 10];
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            if let Some(log) = &*log.lock() {
                log.write(name, &piece[..read]);
            }
        }
    });
}

/// A response's body that says how it ended, and breaks off only when it is known why.
struct Tail {
    body: Incoming,
    done: Option<oneshot::Sender<bool>>,
    known: oneshot::Receiver<()>,
    broken: bool,
}

impl Tail {
    fn tell(&mut self, whole: bool) {
        if let Some(done) = self.done.take() {
            // Nobody waits for it any more where that fails.
            done.send(whole).ok();
        }
    }
}

impl http_body::Body for Tail {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.broken {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                None => {
                    self.tell(true);
                    return Poll::Ready(None);
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a response broke off");
                    self.broken = true;
                    self.tell(false);
                }
            }
        }
        // It is dropped, never sent.
        Pin::new(&mut self.known).poll(cx).map(|_| Some(Err(Error::ConnectionTerminated)))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
