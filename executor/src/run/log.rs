//! Where the lines of a run's log go: to the control plane, with the permission that says whose they are.

use std::sync::Arc;

use fabric::shares::{Held, Shares};
use protocol::node::LogLine;
use protocol::ticket::SignedTicket;
use protocol::{AccountId, RunId, Timestamp};
use tokio::sync::mpsc;
use wasm_host::RunLogBook;

/// A line on its way to the control plane, with the permission that says whose it is.
#[derive(Debug)]
pub(crate) struct TicketedLine {
    pub(crate) ticket: Arc<SignedTicket>,
    pub(crate) line: LogLine,
    pub(crate) account: AccountId,
    /// What it takes of the room for lines on their way, until it is gone.
    pub(crate) _room: Held<AccountId>,
}

/// A line takes some room beside its text.
const LINE_BYTES: u64 = 64;

/// Where an account's lines go, and what they may take of the room there.
pub(crate) struct Sink {
    pub(crate) lines: mpsc::Sender<TicketedLine>,
    pub(crate) shares: Shares<AccountId>,
    pub(crate) account: AccountId,
    /// What a line takes of the room at least: so the queue never has more lines than it has places for.
    pub(crate) line_bytes_min: u64,
}

/// A log that keeps at most so many bytes and goes to `sink`.
pub(crate) fn book(run: RunId, ticket: Arc<SignedTicket>, sink: Sink, bytes_max: usize) -> RunLogBook {
    RunLogBook::new(bytes_max, move |line| {
        let line = LogLine { run, sequence: line.sequence, at: Timestamp::now(), stream: line.stream, text: line.text };
        // A full queue loses lines rather than holds up runs; the gap in the sequence shows it.
        let bytes = LINE_BYTES + u64::try_from(line.text.len()).unwrap_or(u64::MAX / 2);
        let Ok(room) = sink.shares.try_take(sink.account, bytes.max(sink.line_bytes_min)) else { return };
        let (ticket, account) = (Arc::clone(&ticket), sink.account);
        drop(sink.lines.try_send(TicketedLine { ticket, line, account, _room: room }));
    })
}
