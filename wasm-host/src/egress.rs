//! The way out of a function, which each host has its own of.

use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// A host's way out.
pub trait Egress: Send + Sync {
    /// The hooks of one instance.
    fn hooks(&self) -> Box<dyn WasiHttpHooks>;
}

/// What [`WasiHttpHooks::send_request`] gives.
pub type Outgoing = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// No way out.
#[derive(Debug, Clone, Copy)]
pub struct NoWay;

impl Egress for NoWay {
    fn hooks(&self) -> Box<dyn WasiHttpHooks> {
        Box::new(Self)
    }
}

impl WasiHttpHooks for NoWay {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Outgoing, Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
