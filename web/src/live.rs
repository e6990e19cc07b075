//! The account's changes as they happen: one stream of events for the whole tab, however many parts of a page listen.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use protocol::job::Job;
use sycamore::futures::spawn_local_scoped;

use crate::api::{Result, Trouble};
use crate::calls;
use crate::events::Events;
use crate::load::{POLL_AFTER_TROUBLE_MS, Resource, seen, sleep};

/// After a change it is waited so long for others, before anything is asked for anew.
const SETTLE_MS: i32 = 400;

/// Changes of the account's jobs since this was opened. Dropping the last of a tab ends the stream.
pub(crate) struct Changes {
    feed: Rc<Feed>,
    inbox: Rc<Inbox>,
}

/// Listens to the changes of `account`'s jobs; when it returns, the stream is open: a list that is asked for after
/// that misses nothing.
pub(crate) async fn changes(account: &str) -> Result<Changes> {
    let (feed, made) = Feed::of(account);
    let inbox = Rc::new(Inbox::default());
    feed.inboxes.borrow_mut().push(Rc::downgrade(&inbox));
    if made {
        wasm_bindgen_futures::spawn_local(pump(feed.clone()));
    }
    let changes = Changes { feed, inbox };
    poll_fn(|context| match changes.feed.open.get() {
        true => Poll::Ready(Ok(())),
        false if changes.inbox.ended.get() => Poll::Ready(Err(Trouble::unreachable())),
        false => {
            changes.inbox.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        }
    })
    .await?;
    Ok(changes)
}

impl Changes {
    /// The jobs that changed since; none where the stream ended: then the list is to be read anew.
    pub(crate) async fn next(&mut self) -> Option<Vec<Job>> {
        poll_fn(|context| {
            let jobs = self.inbox.jobs.take();
            if !jobs.is_empty() {
                return Poll::Ready(Some(jobs));
            }
            if self.inbox.ended.get() {
                return Poll::Ready(None);
            }
            self.inbox.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        // The stream looks later whether anybody is left: the next page may listen by then.
        self.feed.wake();
    }
}

/// Asks for `resource` anew after changes of the account's jobs.
pub(crate) fn reload_on_jobs<T: Clone + PartialEq + 'static>(account: String, resource: Resource<T>) {
    spawn_local_scoped(async move {
        loop {
            if let Ok(mut changes) = changes(&account).await {
                while changes.next().await.is_some() {
                    sleep(SETTLE_MS).await;
                    resource.reload();
                }
            }
            sleep(POLL_AFTER_TROUBLE_MS).await;
            seen().await;
            resource.reload();
        }
    });
}

/// What came and was not taken yet.
#[derive(Default)]
struct Inbox {
    jobs: RefCell<Vec<Job>>,
    ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Inbox {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The one stream.
struct Feed {
    account: String,
    open: Cell<bool>,
    inboxes: RefCell<Vec<Weak<Inbox>>>,
    waker: RefCell<Option<Waker>>,
}

thread_local! {
    static FEED: RefCell<Option<Rc<Feed>>> = const { RefCell::new(None) };
}

impl Feed {
    /// The account's, and whether it had to be made.
    fn of(account: &str) -> (Rc<Self>, bool) {
        FEED.with_borrow_mut(|present| match present {
            Some(feed) if feed.account == account => (feed.clone(), false),
            _ => {
                let feed = Rc::new(Self {
                    account: account.to_owned(),
                    open: Cell::new(false),
                    inboxes: RefCell::default(),
                    waker: RefCell::default(),
                });
                *present = Some(feed.clone());
                (feed, true)
            }
        })
    }

    fn living(&self) -> Vec<Rc<Inbox>> {
        let mut inboxes = self.inboxes.borrow_mut();
        inboxes.retain(|inbox| inbox.strong_count() > 0);
        inboxes.iter().filter_map(Weak::upgrade).collect()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// No more comes: whoever asks again gets a new one.
    fn end(self: &Rc<Self>) {
        FEED.with_borrow_mut(|present| {
            if present.as_ref().is_some_and(|feed| Rc::ptr_eq(feed, self)) {
                *present = None;
            }
        });
        self.open.set(false);
        for inbox in self.living() {
            inbox.ended.set(true);
            inbox.wake();
        }
    }
}

/// Carries the stream's events to the inboxes, until it ends or nobody listens.
async fn pump(feed: Rc<Feed>) {
    if let Ok(mut events) = calls::jobs::changes(&feed.account).await {
        feed.open.set(true);
        feed.living().iter().for_each(|inbox| inbox.wake());
        while let Some(jobs) = unless_idle(&feed, &mut events).await {
            for inbox in feed.living() {
                inbox.jobs.borrow_mut().extend(jobs.iter().cloned());
                inbox.wake();
            }
        }
    }
    feed.end();
}

/// What comes next, while somebody listens.
async fn unless_idle(feed: &Feed, events: &mut Events<Job>) -> Option<Vec<Job>> {
    let mut next = pin!(events.next());
    poll_fn(|context| {
        if feed.living().is_empty() {
            return Poll::Ready(None);
        }
        feed.waker.replace(Some(context.waker().clone()));
        next.as_mut().poll(context)
    })
    .await
}
