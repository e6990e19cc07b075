//! Drives a guest: polls it, meters its CPU, hands its head on, stops it, and moves it to the guests' own threads
//! once it computes for longer than a tick, so that it holds up nobody else's requests.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;

use super::head::Head;
use super::record::Record;
use super::verdict::Verdict;
use crate::sys;

/// Where the head goes.
pub(crate) type HeadSender = oneshot::Sender<http::Response<WasiBody>>;

/// A guest that has not begun, and the place where its response's head will appear.
pub(crate) struct Started {
    pub(crate) guest: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(crate) head: Head,
}

/// A guest and what drives it.
pub(crate) struct Driver {
    guest: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(crate) head: Head,
    record: Arc<Record>,
}

impl Driver {
    pub(crate) fn new(started: Started, record: Arc<Record>) -> Self {
        Self { guest: started.guest, head: started.head, record }
    }

    /// One turn of the guest; its CPU time is the thread's, from before to after.
    pub(crate) fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let before = sys::thread_cpu();
        let turn = self.guest.as_mut().poll(cx);
        self.record.add_cpu(sys::thread_cpu().saturating_sub(before));
        turn
    }

    /// Goes on in a task of its own.
    pub(crate) fn spawn(self, head: Option<HeadSender>, guests: Option<tokio::runtime::Handle>) {
        tokio::spawn(async move {
            let moves = guests.is_some();
            if let Some((driver, head)) = drive(self, head, moves).await
                && let Some(guests) = guests
            {
                guests.spawn(drive(driver, head, false));
            }
        });
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Before the guest's store goes, whose body would seem to have ended well.
        if self.record.verdict().is_none() {
            self.record.conclude(Verdict::abandoned());
        }
    }
}

enum Step {
    Ended,
    Move,
}

/// Until the guest has ended or was stopped; or, where it `moves`, until it proves to be heavy.
async fn drive(mut driver: Driver, mut head: Option<HeadSender>, moves: bool) -> Option<(Driver, Option<HeadSender>)> {
    let record = Arc::clone(&driver.record);
    let mut deadline = pin!(tokio::time::sleep_until(record.deadline.into()));
    let mut stopped = pin!(record.stop.cancelled());
    let mut head_due: Option<Pin<Box<tokio::time::Sleep>>> = None;
    let step = std::future::poll_fn(|cx| {
        if stopped.as_mut().poll(cx).is_ready() || deadline.as_mut().poll(cx).is_ready() {
            record.interrupt();
            return Poll::Ready(Step::Ended);
        }
        if driver.turn(cx).is_ready() {
            return Poll::Ready(Step::Ended);
        }
        while head.is_some() {
            if let Some(response) = driver.head.take_early() {
                if let Some(head) = head.take() {
                    drop(head.send(response));
                }
                break;
            }
            let Some(due) = driver.head.due() else { break };
            let sleep = head_due.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            if sleep.as_mut().poll(cx).is_pending() {
                break;
            }
            head_due = None;
        }
        if moves && record.is_heavy() { Poll::Ready(Step::Move) } else { Poll::Pending }
    })
    .await;
    match step {
        Step::Move => Some((driver, head)),
        Step::Ended => {
            if let Some(head) = head.take()
                && let Some(response) = driver.head.take_ended()
            {
                drop(head.send(response));
            }
            None
        }
    }
}
