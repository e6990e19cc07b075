//! The story of one run: a guest starts, answers, ends, and is accounted for.
//!
//! ```text
//!            first turn, in the caller's task
//!                |                     |
//!              ended                waits or computes
//!                |                     |
//!      answer in one piece     a task of its own -> (computes: the guests' own threads)
//!                                      |
//!                          head -> body, streamed -> end
//! ```
//! Whatever happens, the record gets one verdict, and settles when the last part of the run has gone.

mod answer;
mod body;
pub(crate) mod cgi;
mod driver;
mod head;
pub(crate) mod log;
mod record;
mod verdict;

use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;

pub(crate) use self::answer::{answer, problem};
pub(crate) use self::body::Incoming;
pub(crate) use self::driver::Started;
pub(crate) use self::head::Head;
pub(crate) use self::record::{Record, Settle};
pub(crate) use self::verdict::Verdict;
use crate::wasm::start::{Surroundings, guest_request};
use crate::wasm::{Lane, Program};

/// Runs a program on a request. The answer is the function's, or a problem that says why there is none.
pub(crate) async fn run(
    lane: &Lane,
    program: &Program,
    around: &Surroundings,
    request: http::Request<fabric::Body>,
    record: Arc<Record>,
) -> http::Response<fabric::Body> {
    let request = guest_request(request, &record);
    let started = lane.start(program, around, request, &record);
    drive(started, lane.guests(), record).await
}

/// Runs what has been made ready, of whichever lane.
pub(crate) async fn drive(
    started: Started,
    guests: Option<&tokio::runtime::Handle>,
    record: Arc<Record>,
) -> http::Response<fabric::Body> {
    let mut driver = driver::Driver::new(started, Arc::clone(&record));
    let first = std::future::poll_fn(|cx| Poll::Ready(driver.turn(cx))).await;
    if first.is_ready() {
        let head = driver.head.take_ended();
        drop(driver);
        return answer(head, record);
    }
    let guests = guests.cloned();
    if let Some(head) = driver.head.take_early() {
        driver.spawn(None, guests);
        return answer(Some(head), record);
    }
    let (sender, receiver) = oneshot::channel();
    driver.spawn(Some(sender), guests);
    answer(wait(receiver, &record).await, record)
}

/// Waits for the head; none where the run ended or was stopped before.
async fn wait(head: oneshot::Receiver<http::Response<WasiBody>>, record: &Record) -> Option<http::Response<WasiBody>> {
    // A caller that no longer waits has gone.
    let mut gone = Gone(Some(record));
    let head = tokio::select! {
        head = head => head.ok(),
        () = tokio::time::sleep_until(record.deadline.into()) => {
            record.interrupt();
            None
        }
        () = record.stop.cancelled() => {
            record.interrupt();
            None
        }
    };
    gone.0 = None;
    head
}

/// Interrupts a run whose answer is not awaited to its end.
struct Gone<'a>(Option<&'a Record>);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.0 {
            record.interrupt();
        }
    }
}

#[cfg(test)]
mod tests;
