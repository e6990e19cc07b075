//! The story of one run as the fabric sees it: the request goes in, the answer or a problem comes out. What happens
//! between is the host's: `wasm-host`.

mod answer;
pub(crate) mod log;

use std::sync::Arc;

use fabric::profile::{self, Part};
use protocol::AccountId;
use wasm_host::Apart;
pub(crate) use wasm_host::{Head, Record, RunLogBook, Settle, Started, Verdict, cgi, guest_request};

pub(crate) use self::answer::{answer, problem};
use crate::wasm::{Lane, Program, Surroundings};

/// Runs a program of this account on a request. The answer is the function's, or a problem that says why there is none.
pub(crate) async fn run(
    lane: &Lane,
    program: &Program,
    around: &Surroundings,
    account: AccountId,
    request: http::Request<fabric::Body>,
    record: Arc<Record>,
) -> http::Response<fabric::Body> {
    let request = guest_request(request, &record);
    let started = profile::within(Part::Guest, || lane.host.start(program, around, request, &record));
    drive(started, lane.apart(account).as_ref(), record).await
}

/// Runs what has been made ready, of whichever lane.
pub(crate) async fn drive(
    started: Started,
    apart: Option<&Apart>,
    record: Arc<Record>,
) -> http::Response<fabric::Body> {
    let head = profile::around(Part::Guest, wasm_host::drive(started, apart, &record)).await;
    answer(head, record)
}

#[cfg(test)]
mod tests;
