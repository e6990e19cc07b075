//! What libraries have to say of a guest's doings belongs to the run's log: a guest causes it, as often as it likes. So
//! while a guest has its turn, or a request of its own is on its way, messages of libraries are remarks in its log,
//! of which a run has a bounded number, and not lines of the platform's.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata};

use crate::log::{LINE_BYTES_MAX, RunLogBook};

thread_local! {
    /// The log of the run that has this thread now.
    static CURRENT: RefCell<Option<RunLogBook>> = const { RefCell::new(None) };
}

/// Crates whose messages are the platform's own, whoever has the thread.
const OURS: [&str; 12] = [
    "executor",
    "wasm_host",
    "wasm_guest",
    "fabric",
    "gateway",
    "control_plane",
    "microvm",
    "images",
    "store",
    "learning",
    "scheduler",
    "crowdcloud",
];

/// Until it is dropped, this thread works for a run.
pub(crate) struct Working(Option<RunLogBook>);

impl Working {
    pub(crate) fn on(log: &RunLogBook) -> Self {
        Self(CURRENT.with(|current| current.borrow_mut().replace(log.clone())))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let before = self.0.take();
        let over = CURRENT.with(|current| std::mem::replace(&mut *current.borrow_mut(), before));
        // Dropped after the borrow: it may be the last of a log.
        drop(over);
    }
}

/// A future that works for a run.
pub(crate) struct For<F> {
    pub(crate) log: RunLogBook,
    pub(crate) work: Pin<Box<F>>,
}

impl<F: Future> Future for For<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _working = Working::on(&self.log);
        self.work.as_mut().poll(cx)
    }
}

/// Whether a message now would be a library's about a guest: it is for the guest's log alone.
#[must_use]
pub fn is_about_a_guest(metadata: &Metadata<'_>) -> bool {
    let of = metadata.target().split("::").next().unwrap_or_default();
    !OURS.contains(&of) && CURRENT.with(|current| current.try_borrow().is_ok_and(|current| current.is_some()))
}

/// Puts a library's message about a guest into the guest's log; others are left alone.
pub fn remark(event: &Event<'_>) {
    if !is_about_a_guest(event.metadata()) {
        return;
    }
    let log = CURRENT.with(|current| current.try_borrow().ok().and_then(|current| current.clone()));
    if let Some(log) = log.filter(RunLogBook::takes_remarks) {
        let mut text = Text(String::new());
        event.record(&mut text);
        log.remark(&protocol::node::printable(&text.0));
    }
}

/// A message and its fields as one line.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if self.0.len() > LINE_BYTES_MAX {
            return;
        }
        let separator = if self.0.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        match field.name() {
            "message" => write!(self.0, "{separator}{value:?}").ok(),
            name => write!(self.0, "{separator}{name}={value:?}").ok(),
        };
    }
}
