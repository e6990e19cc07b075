//! The program, and its runs: one at a time, as the node sends them.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use protocol::node::LogStream;
use protocol::{Limits, headers};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasm_host::machine::{ENDED, Orders, RunEnded};
use wasm_host::{
    Broken, Egress, Host, LINE_BYTES_MAX, Line, NoWay, Outgoing, Program, Record, RunLogBook, Settle, Surroundings,
    Through, code_config, drive, guest_request, presentable,
};
use wasmtime::Engine;

use crate::proxy::Proxy;
use crate::ticker::Ticker;

type Body = UnsyncBoxBody<Bytes, Broken>;

pub(crate) struct Runner {
    host: Host,
    program: Program,
    around: Surroundings,
    limits: Limits,
    ticker: Ticker,
    /// How the last run ends.
    last: Mutex<Option<oneshot::Receiver<RunEnded>>>,
}

impl Runner {
    pub(crate) fn load(orders: &Orders) -> anyhow::Result<Self> {
        let engine = Engine::new(&code_config())?;
        let host = Host::new(engine.clone())?;
        let code = std::fs::read(&orders.code).with_context(|| orders.code.clone())?;
        // SAFETY: the image's code is what the node compiled for this machine, which holds nothing else.
        #[allow(unsafe_code, reason = "machine code of the node's own making")]
        let program = unsafe { host.load(orders.format, &code) };
        let program = program.map_err(|error| anyhow::Error::from(error).context("the function's code"))?;
        let egress: Arc<dyn Egress> = match orders.proxy {
            Some(port) => Arc::new(Through::new(Proxy(port))),
            None => Arc::new(Through::new(NoWay)),
        };
        let around = Surroundings { env: std::env::vars().collect(), egress };
        let ticker = Ticker::new(engine)?;
        Ok(Self { host, program, around, limits: orders.limits, ticker, last: Mutex::default() })
    }

    /// One request: a run, or the question how the last one ended.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        Ok(if request.headers().contains_key(ENDED) { self.ended().await } else { self.run(request).await })
    }

    async fn run(&self, mut request: Request<Incoming>) -> Response<Body> {
        let (settled, ended) = oneshot::channel();
        *self.last.lock() = Some(ended);
        let going = self.ticker.go();
        let remarks = Arc::new(Mutex::new(Vec::new()));
        let remarked = Arc::clone(&remarks);
        let settle: Settle = Box::new(move |verdict, usage| {
            drop(going);
            // Nobody may ask.
            settled.send(RunEnded::new(verdict, &usage, std::mem::take(&mut remarks.lock()))).ok();
        });
        let deadline = Instant::now() + self.limits.timeout.duration();
        let log = RunLogBook::new(usize::MAX, move |line| write(line, &remarked));
        let record = Arc::new(Record::new(self.limits, deadline, CancellationToken::new(), log, settle));
        // The node's connection to this machine is none of the function's business.
        for ours in [header::CONNECTION, header::TRANSFER_ENCODING] {
            request.headers_mut().remove(ours);
        }
        let is_head = request.method() == Method::HEAD;
        let request = guest_request(request, &record);
        let started = self.host.start(&self.program, &self.around, request, &record);
        let head = drive(started, None, &record).await;
        match presentable(head, &record) {
            Some(response) if is_head || is_bodiless(response.status()) => {
                let (head, body) = response.into_parts();
                // What the function writes goes nowhere; it may write it all the same.
                tokio::spawn(Outgoing::new(body, record).collect());
                Response::from_parts(head, whole(Vec::new()))
            }
            Some(response) => response.map(|body| Outgoing::new(body, record).boxed_unsync()),
            None => failed(),
        }
    }

    async fn ended(&self) -> Response<Body> {
        let last = self.last.lock().take();
        let ended = match last {
            Some(last) => last.await.ok(),
            None => None,
        };
        match ended.and_then(|ended| serde_json::to_vec(&ended).ok()) {
            Some(json) => Response::new(whole(json)),
            None => failed(),
        }
    }
}

fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// There is no answer of the function's.
fn failed() -> Response<Body> {
    let mut response = Response::new(whole(Vec::new()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.headers_mut().insert(headers::NODE_PROBLEM, header::HeaderValue::from_static("failed"));
    response
}

fn whole(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}

/// Hands a line on. What the platform says of the run, the node hears when it has ended.
fn write(line: Line, remarks: &Mutex<Vec<String>>) {
    // What was cut for its length goes on in the next line, which the node cuts at the same place.
    let end = if line.text.len() < LINE_BYTES_MAX { "\n" } else { "" };
    // With nobody to read it, it is lost.
    let _lost = match line.stream {
        LogStream::Stdout => write!(std::io::stdout(), "{}{end}", line.text),
        LogStream::Stderr => write!(std::io::stderr(), "{}{end}", line.text),
        LogStream::Platform => return remarks.lock().push(line.text),
    };
    std::io::stdout().flush().ok();
}
