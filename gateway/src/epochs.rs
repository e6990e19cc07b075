//! Under which epochs this gateway puts bytes into the store. The control plane gives them, and commits what was put under one
//! while its lease lasts.
//!
//! ```text
//! first upload --ask--> newest, renewed with its lease --an hour later--> older, renewed while it is written under --> closed
//! ```
//! There is none before it is needed, and none is asked for twice at once.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::epoch::{AskEpoch, EpochLease};
use protocol::{Epoch, InstanceId, StoreId};
use store::{Claims, Store};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::core_client::{CoreClient, CoreError};

const PATH: &str = "/internal/store/epochs";
/// Each question is answered within so long.
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// Uploads wait for an epoch for so long, others' questions included.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A new one is asked for so often: what is below the oldest one can be swept.
const LASTS: Duration = Duration::from_secs(3600);
/// Renewals in the time of a lease; and how often that is looked at where there is none.
const RENEWALS: u32 = 4;
/// Disks that are not known to be the platform's are looked at so often.
const CLAIM_EACH: Duration = Duration::from_secs(1);
/// And all others.
const CLAIM_AGAIN: Duration = Duration::from_secs(60);
const LOOK_EACH: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// This gateway's epochs.
pub(crate) struct Epochs {
    core: CoreClient,
    holder: InstanceId,
    /// It is told which disks get nothing new, which are this platform's, which are absent, and how many copies there are.
    store: Store,
    store_id: Mutex<Option<StoreId>>,
    told: Notify,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those that are open, the newest last.
    held: Vec<Arc<Held>>,
    /// Nothing is written under these any more; the control plane has not heard of it yet.
    closing: Vec<Epoch>,
}

struct Held {
    epoch: Epoch,
    opened: Instant,
    lease: Mutex<Lease>,
}

/// Until when an epoch is surely open: by our own clock, and never later than by the control plane's.
#[derive(Debug, Clone, Copy)]
struct Lease {
    /// None: it is closed, and what is put under it is refused.
    ends: Option<Instant>,
    lasts: Duration,
}

impl Lease {
    fn new(given: &EpochLease, asked: Instant) -> Self {
        let lasts = given.lasts.duration();
        Self { ends: Some(asked + lasts), lasts }
    }
}

/// Something is being put under an epoch. It is to be held until the control plane has committed it.
#[must_use = "what is put is in no epoch's care without it"]
pub(crate) struct Writing(Arc<Held>);

impl Writing {
    /// The epoch, for the store.
    pub(crate) fn epoch(&self) -> Epoch {
        self.0.epoch
    }
}

impl Held {
    fn new(given: &EpochLease, asked: Instant) -> Arc<Self> {
        Arc::new(Self { epoch: given.epoch, opened: asked, lease: Mutex::new(Lease::new(given, asked)) })
    }

    /// What has half a lease left will be renewed in time.
    fn takes_more(&self, now: Instant) -> bool {
        let lease = *self.lease.lock();
        !self.is_old(now) && lease.ends.is_some_and(|ends| ends > now + lease.lasts / 2)
    }

    fn is_open(&self) -> bool {
        self.lease.lock().ends.is_some()
    }

    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) >= LASTS
    }
}

impl State {
    /// Those under which nobody writes or will, but the newest. Only under the lock does anybody begin to write.
    fn retire(&mut self) {
        let newest = self.held.last().map(|newest| newest.epoch);
        let Self { held, closing } = self;
        held.retain(|one| {
            let done = Some(one.epoch) != newest && Arc::strong_count(one) == 1;
            if done {
                closing.push(one.epoch);
            }
            !done
        });
    }
}

impl Epochs {
    pub(crate) fn new(core: CoreClient, holder: InstanceId, store: Store) -> Self {
        Self {
            core,
            holder,
            store,
            store_id: Mutex::default(),
            told: Notify::new(),
            state: tokio::sync::Mutex::default(),
        }
    }

    /// For whoever is about to put something.
    pub(crate) async fn writing(&self) -> Result<Writing, CoreError> {
        match tokio::time::timeout(WAIT_MAX, self.newest()).await {
            Ok(given) => given,
            Err(_) => Err(CoreError::Unavailable("no epoch for the store in time".to_owned())),
        }
    }

    async fn newest(&self) -> Result<Writing, CoreError> {
        let mut state = self.state.lock().await;
        if let Some(newest) = state.held.last().filter(|newest| newest.takes_more(Instant::now())) {
            return Ok(Writing(Arc::clone(newest)));
        }
        let asked = Instant::now();
        let held = Held::new(&self.ask(None, Vec::new()).await?, asked);
        state.held.push(Arc::clone(&held));
        Ok(Writing(held))
    }

    /// Renews them, and closes those that are done, for ever.
    pub(crate) async fn tend(&self) {
        let (mut tended, mut claimed) = (Instant::now(), Instant::now());
        loop {
            let newest = self.state.lock().await.held.last().map(|newest| newest.lease.lock().lasts);
            let pause = newest.map_or(LOOK_EACH.1, |lasts| (lasts / RENEWALS).clamp(LOOK_EACH.0, LASTS));
            drop(tokio::time::timeout(pause.min(CLAIM_EACH), self.told.notified()).await);
            self.store.probe_failing();
            // A disk that has just come, or is again as it should be.
            if self.store.unclaimed() > 0 || claimed.elapsed() >= CLAIM_AGAIN {
                claimed = Instant::now();
                self.claim().await;
            }
            if tended.elapsed() < pause {
                continue;
            }
            tended = Instant::now();
            if let Err(error) = self.tend_once().await {
                tracing::warn!(%error, "the store's epochs could not be renewed; retrying");
            }
        }
    }

    async fn tend_once(&self) -> Result<(), CoreError> {
        let (held, closing) = {
            let mut state = self.state.lock().await;
            state.retire();
            (state.held.clone(), state.closing.clone())
        };
        let Some((newest, older)) = held.split_last() else { return Ok(()) };
        // The next one comes first: what is written from now on is written under that.
        let renewed = Some(newest).filter(|newest| newest.is_open() && !newest.is_old(Instant::now()));
        self.renew(renewed, closing.clone()).await?;
        self.state.lock().await.closing.retain(|epoch| !closing.contains(epoch));
        let older = older.iter().chain(renewed.is_none().then_some(newest));
        for held in older.filter(|held| held.is_open()) {
            self.renew(Some(held), Vec::new()).await?;
        }
        Ok(())
    }

    /// Renews one, or gets the next; and says which are closed.
    async fn renew(&self, held: Option<&Arc<Held>>, close: Vec<Epoch>) -> Result<(), CoreError> {
        let asked = Instant::now();
        let given = self.ask(held.map(|held| held.epoch), close).await?;
        match held {
            Some(held) if held.epoch == given.epoch => {
                *held.lease.lock() = Lease::new(&given, asked);
            }
            lapsed => {
                if let Some(lapsed) = lapsed {
                    tracing::warn!(epoch = %lapsed.epoch, "what was being put into the store takes too long, and is refused");
                    lapsed.lease.lock().ends = None;
                }
                self.state.lock().await.held.push(Held::new(&given, asked));
            }
        }
        Ok(())
    }

    async fn ask(&self, renew: Option<Epoch>, close: Vec<Epoch>) -> Result<EpochLease, CoreError> {
        let asked = AskEpoch { holder: self.holder, renew, close };
        let given: EpochLease = self.core.post(PATH, &asked, ASK_WITHIN).await?;
        self.store.drain(&given.draining.iter().cloned().collect());
        self.store.set_known(given.absent.iter().map(|name| (name.clone(), None)).collect());
        if let Some(copies) = given.copies {
            self.store.set_copies(copies);
        }
        if given.store.is_some() {
            *self.store_id.lock() = given.store;
            self.told.notify_one();
        }
        Ok(given)
    }

    /// Looks which engines have the store's mark: nothing is put on others.
    async fn claim(&self) {
        let id = *self.store_id.lock();
        if let Some(id) = id {
            self.store.claim(id, &Claims::Marked).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Millis;

    use super::*;

    fn lease(epoch: u32) -> EpochLease {
        EpochLease {
            epoch: Epoch(epoch),
            lasts: Millis::seconds(60),
            draining: Vec::new(),
            store: None,
            copies: None,
            absent: Vec::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_epoch_is_closed_once_nothing_is_put_under_it() {
        let held = |epoch| Held::new(&lease(epoch), Instant::now());
        let (first, second) = (held(1), held(2));
        let writing = Writing(Arc::clone(&first));
        assert_eq!(writing.epoch(), Epoch(1));
        let mut state = State { held: vec![first], closing: Vec::new() };
        state.retire();
        assert_eq!(state.closing, [], "the newest stays, whether or not somebody uses it");
        state.held.push(second);
        state.retire();
        assert_eq!(state.closing, [], "an upload goes on");
        drop(writing);
        state.retire();
        state.retire();
        assert_eq!((state.held.len(), state.closing), (1, vec![Epoch(1)]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_soon_is_given_to_nobody() {
        let lasts = Millis::seconds(60);
        let held = Held::new(&lease(1), Instant::now());
        assert!(held.takes_more(Instant::now()));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(!held.takes_more(Instant::now()), "renewals have failed");
        held.lease.lock().ends = Some(Instant::now() + lasts.duration());
        assert!(held.takes_more(Instant::now()));
        held.lease.lock().ends = Some(Instant::now() + 2 * LASTS);
        tokio::time::advance(LASTS).await;
        assert!(!held.takes_more(Instant::now()), "the next one is asked for");
    }
}
