//! Where the lines of a run's log go: to the control plane, with the permission that says whose they are.

use std::sync::Arc;

use protocol::node::LogLine;
use protocol::ticket::SignedTicket;
use protocol::{RunId, Timestamp};
use tokio::sync::mpsc;
use wasm_host::RunLogBook;

/// A line on its way to the control plane, with the permission that says whose it is.
#[derive(Debug, Clone)]
pub(crate) struct TicketedLine {
    pub(crate) ticket: Arc<SignedTicket>,
    pub(crate) line: LogLine,
}

/// A log that keeps at most so many bytes and goes to `sink`.
pub(crate) fn book(
    run: RunId,
    ticket: Arc<SignedTicket>,
    sink: mpsc::Sender<TicketedLine>,
    bytes_max: usize,
) -> RunLogBook {
    RunLogBook::new(bytes_max, move |line| {
        let line = LogLine { run, sequence: line.sequence, at: Timestamp::now(), stream: line.stream, text: line.text };
        // A full queue loses lines rather than holds up runs; the gap in the sequence shows it.
        drop(sink.try_send(TicketedLine { ticket: Arc::clone(&ticket), line }));
    })
}
