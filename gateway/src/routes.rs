//! Functions in memory: fed by the watch of the `cc-routes` bucket, asked on every run.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::{Mutex, RwLock};
use protocol::route::Route;
use protocol::{AccountId, Code, Name, Problem};
use tokio::sync::watch;

use crate::concurrency::Concurrency;
use crate::config::Config;
use crate::core_client::{CoreClient, CoreError};
use crate::keys::unavailable;
use crate::meters::Meters;
use crate::mirror::Sink;
use crate::single_flight::SingleFlight;

const SHARDS: usize = 64;

/// A function that is known, and its count of runs.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) route: Arc<Route>,
    pub(crate) concurrency: Arc<Concurrency>,
    /// Versions of a later release, which this gateway cannot serve.
    pub(crate) unknown: Arc<BTreeSet<u32>>,
}

/// All functions that are known. Readers of different functions do not meet.
pub(crate) struct Routes {
    core: CoreClient,
    shards: [RwLock<HashMap<String, Known>>; SHARDS],
    hasher: RandomState,
    accounts: RwLock<HashMap<AccountId, Name>>,
    /// Routes of a later release, which this gateway cannot serve at all.
    not_understood: RwLock<HashSet<String>>,
    unknown: Mutex<LruCache<String, Instant>>,
    unknown_life: Duration,
    lookup_within: Duration,
    flights: SingleFlight<String, Result<bool, CoreError>>,
    /// All routes up to this revision are applied.
    applied: watch::Sender<u64>,
    /// The newest revision that the control plane says it has published.
    announced: AtomicU64,
    snapshot: Mutex<Snapshot>,
    meters: Arc<Meters>,
}

/// A reading of the whole bucket.
#[derive(Default)]
struct Snapshot {
    /// What was announced when it began: all of it will be in there.
    floor: u64,
    newest: u64,
    seen: Option<HashSet<String>>,
}

impl Routes {
    pub(crate) fn new(config: &Config, core: CoreClient, meters: Arc<Meters>) -> Self {
        let unknown_max = NonZeroUsize::new(config.unknown_max).unwrap_or(NonZeroUsize::MIN);
        Self {
            core,
            shards: std::array::from_fn(|_| RwLock::default()),
            hasher: RandomState::new(),
            accounts: RwLock::default(),
            not_understood: RwLock::default(),
            unknown: Mutex::new(LruCache::new(unknown_max)),
            unknown_life: config.unknown_life.duration(),
            lookup_within: config.lookup_within.duration(),
            flights: SingleFlight::new(config.lookups_max),
            applied: watch::channel(0).0,
            announced: AtomicU64::new(0),
            snapshot: Mutex::default(),
            meters,
        }
    }

    /// The function of these names; from the control plane, where it is not in memory.
    pub(crate) async fn find(self: &Arc<Self>, account: &Name, function: &Name) -> Result<Known, Problem> {
        let key = Route::key(account, function);
        if let Some(known) = self.get(&key) {
            self.meters.route_hits.increment(1);
            return living(known);
        }
        self.meters.route_misses.increment(1);
        if self.not_understood.read().contains(&key) {
            return Err(Problem::new(Code::NotUnderstood, "this gateway is too old for what the function asks for"));
        }
        if self.unknown.lock().get(&key).is_some_and(|until| Instant::now() < *until) {
            return Err(Code::FunctionNotFound.into());
        }
        let routes = Arc::clone(self);
        let path = format!("/internal/routes/{account}/{function}");
        let flight_key = key.clone();
        let question = move || async move {
            match routes.core.get_route(&path, routes.lookup_within).await {
                Ok(read) => {
                    routes.apply(flight_key, read);
                    Ok(true)
                }
                Err(CoreError::Refused(problem)) if problem.status == 404 => {
                    routes.unknown.lock().put(flight_key, Instant::now() + routes.unknown_life);
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        };
        let answer = self.flights.run(key.clone(), question).await;
        // The watch may have brought it meanwhile.
        if let Some(known) = self.get(&key) {
            return living(known);
        }
        match answer {
            Ok(Ok(_)) => Err(Code::FunctionNotFound.into()),
            Ok(Err(error)) => Err(unavailable(&error)),
            Err(no_answer) => Err(no_answer.problem()),
        }
    }

    /// What is known of a function at the name that it had before it was renamed.
    pub(crate) fn renamed(&self, account: &Name, function: &Name) -> Option<Arc<Route>> {
        let known = self.get(&Route::key(account, function))?;
        Some(known.route).filter(|route| route.deleted && route.renamed.is_some())
    }

    /// The name of an account that has functions.
    pub(crate) fn account_name(&self, account: AccountId) -> Option<Name> {
        self.accounts.read().get(&account).cloned()
    }

    /// Follows the revision up to which all is applied.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// The control plane says that it has published up to this.
    pub(crate) fn announce(&self, revision: u64) {
        self.announced.fetch_max(revision, Ordering::Relaxed);
    }

    /// Whether something that was announced is not here.
    pub(crate) fn behind(&self) -> bool {
        *self.applied.borrow() < self.announced.load(Ordering::Relaxed)
    }

    fn get(&self, key: &str) -> Option<Known> {
        self.shard(key).read().get(key).cloned()
    }

    /// Takes a route, unless a newer one is here.
    fn apply(&self, key: String, (route, unknown): (Route, BTreeSet<u32>)) {
        let (account, name) = (route.account, route.account_name.clone());
        let mut shard = self.shard(&key).write();
        match shard.get_mut(&key) {
            Some(known) if known.route.revision > route.revision => {}
            Some(known) if known.route.function == route.function => {
                (known.route, known.unknown) = (Arc::new(route), Arc::new(unknown));
            }
            _ => {
                let (route, unknown) = (Arc::new(route), Arc::new(unknown));
                shard.insert(key, Known { route, concurrency: Arc::default(), unknown });
            }
        }
        drop(shard);
        if !self.accounts.read().contains_key(&account) {
            self.accounts.write().insert(account, name);
        }
    }

    fn shard(&self, key: &str) -> &RwLock<HashMap<String, Known>> {
        let place = self.hasher.hash_one(key) % SHARDS as u64;
        &self.shards[usize::try_from(place).unwrap_or_default()]
    }

    fn advance(&self, revision: u64) {
        self.applied.send_if_modified(|applied| {
            let moved = revision > *applied;
            *applied = revision.max(*applied);
            moved
        });
    }
}

fn living(known: Known) -> Result<Known, Problem> {
    if known.route.deleted { Err(Code::FunctionNotFound.into()) } else { Ok(known) }
}

impl Sink for Routes {
    fn begin(&self) {
        let floor = self.announced.load(Ordering::Relaxed);
        *self.snapshot.lock() = Snapshot { floor, newest: 0, seen: Some(HashSet::new()) };
    }

    fn put(&self, key: &str, value: &[u8]) {
        let revision = match Route::read(value) {
            Ok(read) => {
                let revision = read.0.revision;
                if !self.not_understood.read().is_empty() {
                    self.not_understood.write().remove(key);
                }
                self.apply(key.to_owned(), read);
                revision
            }
            Err(error) => {
                tracing::error!(key, %error, "a route is not understood");
                // What was known of it before is no longer true.
                let Some(revision) = Route::revision_of(value) else { return };
                self.not_understood.write().insert(key.to_owned());
                self.shard(key).write().remove(key);
                revision
            }
        };
        let mut snapshot = self.snapshot.lock();
        match &mut snapshot.seen {
            Some(seen) => {
                seen.insert(key.to_owned());
                snapshot.newest = snapshot.newest.max(revision);
            }
            // Revisions come in their order.
            None => self.advance(revision),
        }
    }

    fn remove(&self, key: &str) {
        self.not_understood.write().remove(key);
        self.shard(key).write().remove(key);
    }

    fn complete(&self) {
        let snapshot = std::mem::take(&mut *self.snapshot.lock());
        let Some(seen) = snapshot.seen else { return };
        for shard in &self.shards {
            // What is newer than the snapshot came straight from the control plane.
            shard.write().retain(|key, known| seen.contains(key) || known.route.revision > snapshot.newest);
        }
        // Accounts whose last function is gone are forgotten with it.
        let mut accounts = self.accounts.write();
        accounts.clear();
        for shard in &self.shards {
            let shard = shard.read();
            accounts.extend(shard.values().map(|known| (known.route.account, known.route.account_name.clone())));
        }
        drop(accounts);
        self.not_understood.write().retain(|key| seen.contains(key));
        self.advance(snapshot.newest.max(snapshot.floor));
    }
}
