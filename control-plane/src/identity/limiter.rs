//! How often somebody may try: one mechanism for log-ins, changes of a password, and sign-ups. Each try is counted
//! before the work is done, so that tries at the same moment pass no more often than those in a row; a try that did
//! well may be given back.
//!
//! Strangers choose the keys: only hashes are kept, so many at most; the one that was used least lately goes first.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use lru::LruCache;
use parking_lot::Mutex;
use protocol::UserId;

/// Whom a try is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 16]);

impl Key {
    /// Of an address, a client, a device, however long.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut key = [0; 16];
        blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut key);
        Self(key)
    }

    /// Of a user who is known.
    pub(crate) fn of_user(user: UserId) -> Self {
        Self::of(user.to_string().as_bytes())
    }
}

/// So many tries at once, and so many in each period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// At once, and in a period.
    pub(crate) tries: u32,
    /// The period.
    pub(crate) period: Duration,
}

/// When each key's bucket is full again, in nanoseconds since the start.
#[derive(Clone)]
struct Buckets(Arc<Mutex<LruCache<Key, Nanos>>>);

impl StateStore for Buckets {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut buckets = self.0.lock();
        let (decision, state) = decide(buckets.get(key).copied())?;
        buckets.put(*key, state);
        Ok(decision)
    }
}

/// Counts tries of many keys.
pub(crate) struct Limiter<C: Clock = MonotonicClock> {
    limiter: RateLimiter<Key, Buckets, C, NoOpMiddleware<C::Instant>>,
    buckets: Buckets,
    one: Nanos,
}

impl<C: Clock> Limiter<C> {
    /// For so many keys at most.
    pub(crate) fn new(rate: Rate, keys_max: usize, clock: C) -> Self {
        let tries = NonZeroU32::new(rate.tries).unwrap_or(NonZeroU32::MIN);
        let one = (rate.period / tries.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(one).unwrap_or(Quota::per_hour(tries)).allow_burst(tries);
        let keys_max = NonZeroUsize::new(keys_max).unwrap_or(NonZeroUsize::MIN);
        let buckets = Buckets(Arc::new(Mutex::new(LruCache::new(keys_max))));
        Self { limiter: RateLimiter::new(quota, buckets.clone(), clock), buckets, one: one.into() }
    }

    /// Counts a try; or says how long until there is one.
    pub(crate) fn take(&self, key: Key) -> Result<(), Duration> {
        self.limiter.check_key(&key).map_err(|refused| refused.wait_time_from(self.limiter.clock().now()))
    }

    /// The try did well, or was none.
    pub(crate) fn give_back(&self, key: Key) {
        let mut buckets = self.buckets.0.lock();
        if let Some(full_at) = buckets.peek_mut(&key) {
            *full_at = full_at.saturating_sub(self.one);
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const RATE: Rate = Rate { tries: 3, period: Duration::from_secs(30) };

    fn passed<C: Clock>(limiter: &Limiter<C>, key: Key, tries: usize) -> usize {
        (0..tries).filter(|_| limiter.take(key).is_ok()).count()
    }

    #[test]
    fn a07_so_many_at_once_and_then_as_they_come_back() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::new(RATE, 10, clock.clone());
        let (ada, eve) = (Key::of(b"ada"), Key::of(b"eve"));
        assert_eq!(passed(&limiter, ada, 10), 3);
        let wait = limiter.take(ada).unwrap_err();
        assert_eq!(wait, Duration::from_secs(10), "the true time");
        assert_eq!(passed(&limiter, eve, 10), 3, "each has a bucket");
        clock.advance(wait.saturating_sub(Duration::from_millis(1)));
        assert!(limiter.take(ada).is_err(), "not a moment earlier");
        clock.advance(Duration::from_millis(1));
        assert_eq!(passed(&limiter, ada, 10), 1);
        clock.advance(Duration::from_secs(1000));
        assert_eq!(passed(&limiter, ada, 10), 3);
    }

    #[test]
    fn a07_what_did_well_does_not_count() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::new(RATE, 10, clock.clone());
        let ada = Key::of(b"ada");
        for _ in 0..20 {
            limiter.take(ada).unwrap();
            limiter.give_back(ada);
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(passed(&limiter, ada, 10), 3, "and no more than there are are given back");
    }

    #[test]
    fn a07_tries_at_the_same_moment_pass_no_more_often() {
        let limiter = Arc::new(Limiter::new(RATE, 10, MonotonicClock));
        let tries = (0..8).map(|_| {
            let limiter = Arc::clone(&limiter);
            std::thread::spawn(move || passed(&limiter, Key::of(b"ada"), 100))
        });
        let tries: Vec<_> = tries.collect();
        assert_eq!(tries.into_iter().map(|tries| tries.join().unwrap()).sum::<usize>(), 3);
    }

    #[test]
    fn a02_what_strangers_send_is_bounded() {
        let limiter = Limiter::new(RATE, 100, FakeRelativeClock::default());
        let victim = Key::of(b"victim");
        assert_eq!(passed(&limiter, victim, 10), 3);
        for number in 0..10_000_u32 {
            let _ = limiter.take(Key::of(&number.to_be_bytes()));
            // Whoever is tried goes last.
            assert!(limiter.take(victim).is_err());
        }
        assert_eq!(limiter.buckets.0.lock().len(), 100);
        assert_eq!(size_of::<Key>(), 16, "whatever the length of an address");
    }
}
