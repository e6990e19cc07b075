//! The floor: one page of as many bytes as the portal's, from a bare server. No portal of that size can be there sooner.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rand::distr::{Alphanumeric, SampleString as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// It has content at once, and at its end what the portal's pages have when they are there. It asks for no icon.
const HEAD: &str = "<!doctype html><title>floor</title><link rel=icon href=data:,><p>first content</p><!--";
const END: &str = "--><main><h1>floor</h1></main>";

/// The server; it ends with this.
pub(super) struct Floor {
    pub(super) url: String,
    serving: JoinHandle<()>,
}

impl Floor {
    /// Serves a page of so many bytes, which nothing can compress.
    pub(super) async fn serve(bytes: usize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let filling = Alphanumeric.sample_string(&mut rand::rng(), bytes.saturating_sub(HEAD.len() + END.len()));
        let page = Bytes::from(format!("{HEAD}{filling}{END}"));
        Ok(Self { url, serving: tokio::spawn(accept(listener, page)) })
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, page: Bytes) {
    while let Ok((stream, _)) = listener.accept().await {
        let page = page.clone();
        let service = service_fn(move |_: Request<Incoming>| std::future::ready(Ok::<_, Infallible>(answer(&page))));
        // Ends with the connection; the browser tells of its errors.
        drop(tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service)));
    }
}

fn answer(page: &Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(page.clone()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}
