//! Drives a guest: polls it, meters its CPU, hands its head on, stops it, and moves it to the guests' own threads
//! once it computes for longer than a tick, so that it holds up nobody else's requests.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;

use crate::foreign::Working;
use crate::head::Head;
use crate::pace::{Pace, TURN_MAX};
use crate::record::Record;
use crate::sys::thread_cpu;
use crate::verdict::Verdict;

/// A turn on the guests' own threads, waited for; it lasts until what comes is dropped.
pub type Turn = Pin<Box<dyn Future<Output = Box<dyn Send>> + Send>>;

/// Where a guest that computes goes on.
#[derive(Clone)]
pub struct Apart {
    /// The guests' own threads.
    pub threads: tokio::runtime::Handle,
    /// The next turn there, for guests of this one's tenant.
    pub turns: Arc<dyn Fn() -> Turn + Send + Sync>,
}

/// Where the head goes.
type HeadSender = oneshot::Sender<http::Response<WasiBody>>;

/// A guest that has not begun, and the place where its response's head will appear.
pub struct Started {
    /// The guest.
    pub guest: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The place.
    pub head: Head,
    /// What is known of the guest's program; nothing where its host cannot be held up by it.
    pub pace: Option<Arc<Pace>>,
}

impl Started {
    /// A guest of which nothing is known.
    pub fn new(guest: impl Future<Output = ()> + Send + 'static, head: Head) -> Self {
        Self { guest: Box::pin(guest), head, pace: None }
    }

    pub(crate) fn of(mut self, pace: &Arc<Pace>) -> Self {
        self.pace = Some(Arc::clone(pace));
        self
    }
}

/// Runs what has been made ready, of whichever lane, until its head is there; none where it was stopped before.
pub async fn drive(started: Started, apart: Option<&Apart>, record: &Arc<Record>) -> Option<http::Response<WasiBody>> {
    let mut driver = Driver::new(started, Arc::clone(record));
    if let Some(apart) = apart.filter(|_| driver.starts_apart()) {
        let (sender, receiver) = oneshot::channel();
        driver.spawn_apart(Some(sender), apart);
        return wait(receiver, record).await;
    }
    let first = std::future::poll_fn(|cx| Poll::Ready(driver.turn(cx))).await;
    if first.is_ready() {
        return driver.head.take_ended();
    }
    let apart = apart.cloned();
    if let Some(head) = driver.head.take_early() {
        driver.spawn(None, apart);
        return Some(head);
    }
    let (sender, receiver) = oneshot::channel();
    driver.spawn(Some(sender), apart);
    wait(receiver, record).await
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

/// A guest and what drives it.
struct Driver {
    guest: Pin<Box<dyn Future<Output = ()> + Send>>,
    head: Head,
    pace: Option<Arc<Pace>>,
    /// None of its turns was too long so far.
    quick: bool,
    record: Arc<Record>,
}

impl Driver {
    fn new(started: Started, record: Arc<Record>) -> Self {
        Self { guest: started.guest, head: started.head, pace: started.pace, quick: true, record }
    }

    fn starts_apart(&self) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.starts_apart())
    }

    /// One turn of the guest; its CPU time is the thread's, from before to after.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _working = Working::on(&self.record.log);
        let before = thread_cpu();
        let turn = self.guest.as_mut().poll(cx);
        let took = thread_cpu().saturating_sub(before);
        self.record.add_cpu(took);
        if took > TURN_MAX {
            self.record.tick();
            if std::mem::take(&mut self.quick)
                && let Some(pace) = &self.pace
            {
                pace.held_its_thread();
            }
        }
        turn
    }

    /// Goes on in a task of its own.
    fn spawn(self, head: Option<HeadSender>, apart: Option<Apart>) {
        tokio::spawn(async move {
            let threads = if apart.is_some() { Threads::UntilHeavy } else { Threads::Shared };
            if let Some((driver, head)) = work(self, head, threads).await
                && let Some(apart) = apart
            {
                driver.spawn_apart(head, &apart);
            }
        });
    }

    /// Goes on on the guests' own threads.
    fn spawn_apart(self, head: Option<HeadSender>, apart: &Apart) {
        apart.threads.spawn(work(self, head, Threads::Own(Arc::clone(&apart.turns))));
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(pace) = self.pace.as_ref().filter(|_| self.quick) {
            pace.was_quick();
        }
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

/// On whose threads a guest works.
enum Threads {
    /// Everybody's, to its end.
    Shared,
    /// Everybody's, until it proves to be heavy.
    UntilHeavy,
    /// The guests' own, where tenants take turns.
    Own(Arc<dyn Fn() -> Turn + Send + Sync>),
}

/// Until the guest has ended or was stopped, or moves.
async fn work(
    mut driver: Driver,
    mut head: Option<HeadSender>,
    threads: Threads,
) -> Option<(Driver, Option<HeadSender>)> {
    let record = Arc::clone(&driver.record);
    let mut deadline = pin!(tokio::time::sleep_until(record.deadline.into()));
    let mut stopped = pin!(record.stop.cancelled());
    let mut head_due: Option<Pin<Box<tokio::time::Sleep>>> = None;
    let mut next_turn: Option<Turn> = None;
    let step = std::future::poll_fn(|cx| {
        if stopped.as_mut().poll(cx).is_ready() || deadline.as_mut().poll(cx).is_ready() {
            record.interrupt();
            return Poll::Ready(Step::Ended);
        }
        let held = match &threads {
            Threads::Own(turns) => {
                let next = match &mut next_turn {
                    Some(next) => next,
                    none => none.insert(turns()),
                };
                let held = std::task::ready!(next.as_mut().poll(cx));
                next_turn = None;
                Some(held)
            }
            Threads::Shared | Threads::UntilHeavy => None,
        };
        let turn = driver.turn(cx);
        drop(held);
        if turn.is_ready() {
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
        if matches!(threads, Threads::UntilHeavy) && record.is_heavy() {
            Poll::Ready(Step::Move)
        } else {
            Poll::Pending
        }
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
