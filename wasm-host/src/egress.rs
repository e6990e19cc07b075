//! The way out of a function: its outgoing HTTP, the same whichever lane it runs in. Hosts differ in how they connect.
//!
//! ```text
//! guest -> hooks -> `Connect`: the node's rules, or its proxy seen from a machine -> counted -> TLS -> HTTP/1.1
//!                        \-- no connection: an error for the guest, and why in the run's log
//! ```

mod counted;
mod send;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

pub use self::counted::{Counted, Meter};
use crate::foreign::For;
use crate::log::RunLogBook;
use crate::record::Record;

/// One write of a body takes at most this much.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// What a function is told of a host that its version does not name.
pub const NOT_NAMED: &str = "this version may not call that host: its `egress` does not name it";

/// A host's way out.
pub trait Egress: Send + Sync {
    /// The hooks of the instance of this run.
    fn hooks(&self, run: &Arc<Record>) -> Box<dyn WasiHttpHooks>;
}

/// Connects to hosts, where that is allowed.
pub trait Connect: Send + Sync + 'static {
    /// Whether what connections carry is counted here; else at their other end.
    const COUNTED: bool = true;

    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Connects to a port of a host, which is named as in an address: IPv6 in brackets.
    fn connect(&self, host: &str, port: u16) -> impl Future<Output = Result<Self::Stream, NoConnection>> + Send;
}

/// Why there is no connection.
#[derive(Debug)]
pub struct NoConnection {
    /// For the guest.
    pub error: Error,
    /// For people.
    pub why: String,
}

impl NoConnection {
    /// For one of these reasons.
    pub fn new(error: Error, why: impl std::fmt::Display) -> Self {
        Self { error, why: why.to_string() }
    }
}

/// No way out.
#[derive(Debug, Clone, Copy)]
pub struct NoWay;

impl Connect for NoWay {
    type Stream = tokio::io::Empty;

    async fn connect(&self, _host: &str, _port: u16) -> Result<Self::Stream, NoConnection> {
        Err(NoConnection::new(Error::HttpRequestDenied, NOT_NAMED))
    }
}

/// The way out through what connects.
pub struct Through<C>(Arc<C>);

impl<C> Through<C> {
    /// The way out through this.
    pub fn new(connect: C) -> Self {
        Self(Arc::new(connect))
    }
}

impl<C: Connect> Egress for Through<C> {
    fn hooks(&self, run: &Arc<Record>) -> Box<dyn WasiHttpHooks> {
        let of = OfRun { log: run.log.clone(), meter: Meter::of(run) };
        Box::new(Hooks { connect: Arc::clone(&self.0), of })
    }
}

/// The hooks of one instance.
struct Hooks<C> {
    connect: Arc<C>,
    of: OfRun,
}

/// What requests have of their run.
#[derive(Clone)]
struct OfRun {
    log: RunLogBook,
    meter: Meter,
}

type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl<C: Connect> WasiHttpHooks for Hooks<C> {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let (connect, of) = (Arc::clone(&self.connect), self.of.clone());
        let work = async move { send::send(&*connect, &of, request, options.unwrap_or_default()).await };
        Box::new(For { log: self.of.log.clone(), work: Box::pin(work) })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        3
    }
}

#[cfg(test)]
mod tests;
