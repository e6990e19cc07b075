//! The runner of WebAssembly inside a microVM: HTTP on a port of the machine, and a fresh instance for each request.
//!
//! What hosts the guests is the wasm lane's own code; here are only a server and a clock. There is no compiler: the
//! node that restored the machine has made the code. Its guests' way out, where they have one, is the node's.

mod proxy;
mod runner;
mod ticker;

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use wasm_host::machine::Orders;

use crate::runner::Runner;

fn main() -> ExitCode {
    match begin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the runner cannot begin: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn begin() -> anyhow::Result<()> {
    let orders = std::env::args().nth(1).context("this program is for the inside of a machine")?;
    let orders: Orders = serde_json::from_str(&orders).context("its orders are not readable")?;
    let runner = Arc::new(Runner::load(&orders)?);
    // One thread: a guest that computes lets the others in at each tick.
    let runtime = tokio::runtime::Builder::new_current_thread().event_interval(1).enable_all().build()?;
    // Whoever connects finds a program that is ready.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, orders.port))?;
    listener.set_nonblocking(true)?;
    runtime.block_on(listen(listener, runner))
}

async fn listen(listener: TcpListener, runner: Arc<Runner>) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        tokio::spawn(serve(connection, Arc::clone(&runner)));
    }
}

async fn serve(connection: tokio::net::TcpStream, runner: Arc<Runner>) {
    let service = service_fn(move |request| {
        let runner = Arc::clone(&runner);
        async move { runner.answer(request).await }
    });
    // The node closes connections as it likes, and answers that break off end theirs.
    let served = http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(connection), service);
    drop(served.await);
}
