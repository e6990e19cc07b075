//! The two flows of one end of an exchange, pure: what may come in (in sequence, within the granted window) and
//! what may go out (within the peer's window). No I/O, no clock, no lock: wakers are handed back to be woken outside.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;
use http::HeaderMap;

use crate::frame::cost_of;

/// The window that each end grants for a body: all that a slow reader can make us hold.
pub(crate) const WINDOW_COST: u32 = 1024 * 1024;
/// Consumed cost is granted again in steps of this.
const GRANT_STEP_COST: u32 = WINDOW_COST / 4;

/// Why a flow broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Lost,
    Deadline,
    Aborted(String),
    /// The source of our own body failed.
    Source(String),
}

/// What a peer did against the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A frame is missing, or came twice.
    Gap,
    /// More than was granted.
    Overrun,
    /// A body after its end.
    AfterFin,
    /// Headers after a body that are none.
    Malformed,
}

/// The body that comes in.
#[derive(Debug)]
pub(crate) struct Inflow {
    expected: u32,
    queue: VecDeque<Bytes>,
    /// What follows the last piece.
    trailers: Option<HeaderMap>,
    /// What the peer may still send.
    window: u32,
    /// Consumed, not yet granted again.
    consumed: u32,
    fin: bool,
    discarding: bool,
    failure: Option<Failure>,
    pub(crate) waker: Option<Waker>,
}

/// What a reader gets next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A piece, and how much to grant the peer (0: nothing now).
    Piece(Bytes, u32),
    /// After the last piece.
    Trailers(HeaderMap),
    End,
    Failed(Failure),
    Wait,
}

impl Inflow {
    pub(crate) fn new() -> Self {
        Self {
            expected: 0,
            queue: VecDeque::new(),
            trailers: None,
            window: WINDOW_COST,
            consumed: 0,
            fin: false,
            discarding: false,
            failure: None,
            waker: None,
        }
    }

    /// The sequence of the next frame.
    pub(crate) fn expected(&self) -> u32 {
        self.expected
    }

    pub(crate) fn fin(&self) -> bool {
        self.fin
    }

    /// Takes a frame's place in the sequence.
    pub(crate) fn advance(&mut self, sequence: u32) -> Result<(), Violation> {
        if sequence != self.expected {
            return Err(Violation::Gap);
        }
        self.expected = self.expected.checked_add(1).ok_or(Violation::Gap)?;
        Ok(())
    }

    /// A frame with a piece of the body.
    pub(crate) fn push(&mut self, sequence: u32, body: Bytes, fin: bool) -> Result<Option<Waker>, Violation> {
        self.advance(sequence)?;
        if self.fin {
            return Err(Violation::AfterFin);
        }
        if !body.is_empty() {
            self.window = self.window.checked_sub(cost_of(body.len())).ok_or(Violation::Overrun)?;
            if !self.discarding {
                self.queue.push_back(body);
            }
        }
        self.fin = fin;
        Ok(self.waker.take())
    }

    /// The body's end, with what follows it.
    pub(crate) fn push_trailers(&mut self, sequence: u32, trailers: HeaderMap) -> Result<Option<Waker>, Violation> {
        let waker = self.push(sequence, Bytes::new(), true)?;
        if !self.discarding {
            self.trailers = Some(trailers);
        }
        Ok(waker)
    }

    /// The next piece for the reader.
    pub(crate) fn next(&mut self) -> Next {
        if let Some(piece) = self.queue.pop_front() {
            self.consumed += cost_of(piece.len());
            let mut grant = 0;
            if self.consumed >= GRANT_STEP_COST && !self.fin && self.failure.is_none() {
                grant = std::mem::take(&mut self.consumed);
                self.window += grant;
            }
            return Next::Piece(piece, grant);
        }
        if let Some(trailers) = self.trailers.take() {
            return Next::Trailers(trailers);
        }
        match &self.failure {
            _ if self.fin && !self.discarding => Next::End,
            Some(failure) => Next::Failed(failure.clone()),
            None => Next::Wait,
        }
    }

    /// The reader is gone: nothing is kept any more.
    pub(crate) fn discard(&mut self) {
        self.discarding = true;
        self.queue = VecDeque::new();
        self.trailers = None;
    }

    /// Nothing more will come. What is queued can still be read.
    pub(crate) fn fail(&mut self, failure: Failure) -> Option<Waker> {
        self.failure.get_or_insert(failure);
        self.waker.take()
    }

    /// All that is still to be read, if it is here.
    pub(crate) fn whole(&mut self) -> Option<Bytes> {
        if !self.fin || self.discarding || self.queue.len() > 1 || self.trailers.is_some() {
            return None;
        }
        Some(self.queue.pop_front().unwrap_or_default())
    }

    /// Bytes held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.queue.iter().map(Bytes::len).sum()
    }
}

/// The body that goes out.
#[derive(Debug)]
pub(crate) struct Outflow {
    /// The next frame's place.
    next: u32,
    /// Places whose frames are on their way.
    published: u32,
    credit: u32,
    stopped: bool,
    pub(crate) waker: Option<Waker>,
}

impl Outflow {
    pub(crate) fn new(credit: u32) -> Self {
        Self { next: 0, published: 0, credit: credit.min(WINDOW_MAX_COST), stopped: false, waker: None }
    }

    /// What a heartbeat says.
    pub(crate) fn published(&self) -> u32 {
        self.published
    }

    /// The frame at this place is on its way.
    pub(crate) fn publish(&mut self, place: u32) {
        self.published = place.saturating_add(1);
    }

    pub(crate) fn take_place(&mut self) -> u32 {
        let place = self.next;
        self.next = self.next.saturating_add(1);
        place
    }

    /// The longest piece, up to `wanted`, that may go now; its cost is taken. None: wait. Pieces are not made tiny
    /// only because the window is nearly used up.
    pub(crate) fn reserve(&mut self, wanted: usize) -> Option<usize> {
        let full = cost_of(wanted);
        if self.credit >= full {
            self.credit -= full;
            return Some(wanted);
        }
        let overhead = cost_of(0);
        if self.credit < overhead + MIN_PIECE_BYTES {
            return None;
        }
        let part = self.credit - overhead;
        self.credit = 0;
        usize::try_from(part).ok()
    }

    /// Takes the cost of a whole piece, or nothing.
    pub(crate) fn reserve_whole(&mut self, bytes: usize) -> bool {
        match self.credit.checked_sub(cost_of(bytes)) {
            Some(left) => {
                self.credit = left;
                true
            }
            None => false,
        }
    }

    pub(crate) fn grant(&mut self, cost: u32) -> Option<Waker> {
        self.credit = self.credit.saturating_add(cost).min(WINDOW_MAX_COST);
        self.waker.take()
    }

    /// Nothing more may go.
    pub(crate) fn stop(&mut self) -> Option<Waker> {
        self.stopped = true;
        self.waker.take()
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }
}

/// The most credit that is believed.
const WINDOW_MAX_COST: u32 = 64 * 1024 * 1024;
/// Smaller pieces than this are worth waiting for more credit.
const MIN_PIECE_BYTES: u32 = 4 * 1024;
