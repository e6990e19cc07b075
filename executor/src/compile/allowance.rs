//! How much of an account's compiling goes before guests: a little at once, and a small part of a core for ever. Who compiles
//! without end keeps nobody waiting; who deploys now and then does not wait for guests that compute.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::AccountId;

/// At once.
const BURST: Duration = Duration::from_millis(500);
/// One second of each so many comes back.
const REFILLED_EVERY: u32 = 20;

/// What accounts have used of it lately. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowance(Arc<Mutex<HashMap<AccountId, Used>>>);

#[derive(Debug, Clone, Copy)]
struct Used {
    time: Duration,
    at: Instant,
}

impl Used {
    fn left_over(self, now: Instant) -> Duration {
        self.time.saturating_sub(now.saturating_duration_since(self.at) / REFILLED_EVERY)
    }
}

/// What one piece of work may use of it, booked at its start: others that begin meanwhile find it used. At its end, however
/// that comes, what it has used counts instead.
#[derive(Debug)]
pub(super) struct Taken {
    allowance: Allowance,
    account: AccountId,
    booked: Duration,
    begun: Instant,
}

impl Taken {
    /// How much of it goes before guests.
    pub(super) fn prompt(&self) -> Duration {
        self.booked
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let now = Instant::now();
        self.allowance.settle(self.account, self.booked, now.saturating_duration_since(self.begun), now);
    }
}

impl Allowance {
    /// Takes what the account may use at once, but no more than this.
    pub(super) fn take(&self, account: AccountId, most: Duration, now: Instant) -> Taken {
        let booked = self.book(account, most, now);
        Taken { allowance: self.clone(), account, booked, begun: now }
    }

    fn book(&self, account: AccountId, most: Duration, now: Instant) -> Duration {
        let mut used = self.0.lock();
        // An entry is of whoever has compiled within the last seconds.
        used.retain(|_, used| !used.left_over(now).is_zero());
        let before = used.get(&account).map_or(Duration::ZERO, |used| used.left_over(now));
        let booked = BURST.saturating_sub(before).min(most);
        if !booked.is_zero() {
            used.insert(account, Used { time: before.saturating_add(booked), at: now });
        }
        booked
    }

    /// So much was used of what was booked. More than there was is not owed: it did not go before guests.
    fn settle(&self, account: AccountId, booked: Duration, time: Duration, now: Instant) {
        let mut used = self.0.lock();
        let before = used.get(&account).map_or(Duration::ZERO, |used| used.left_over(now));
        let unused = booked.saturating_sub(time);
        let more = time.saturating_sub(booked);
        let time = before.saturating_sub(unused).saturating_add(more).min(BURST);
        used.insert(account, Used { time, at: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    impl Allowance {
        /// Work that used so much, and no other beside it.
        fn used(&self, account: AccountId, time: Duration, now: Instant) {
            let booked = self.book(account, BURST, now);
            self.settle(account, booked, time, now);
        }

        fn left(&self, account: AccountId, now: Instant) -> Duration {
            let booked = self.book(account, BURST, now);
            self.settle(account, booked, Duration::ZERO, now);
            booked
        }
    }

    #[test]
    fn a_little_goes_first_at_once_and_a_small_part_for_ever() {
        let (allowance, now, account) = (Allowance::default(), Instant::now(), AccountId::new());
        assert_eq!(allowance.left(account, now), BURST);
        allowance.used(account, 200 * MS, now);
        assert_eq!(allowance.left(account, now), 300 * MS);
        allowance.used(account, 100 * SECOND, now);
        assert_eq!(allowance.left(account, now), Duration::ZERO);
        assert_eq!(allowance.left(account, now + SECOND), 50 * MS);
        assert_eq!(allowance.left(account, now + 10 * SECOND), BURST);
    }

    #[test]
    fn what_runs_at_once_shares_it_and_what_was_not_used_comes_back() {
        let (allowance, now, account) = (Allowance::default(), Instant::now(), AccountId::new());
        let booked: Vec<Duration> = (0..4).map(|_| allowance.book(account, 200 * MS, now)).collect();
        assert_eq!(booked, [200 * MS, 200 * MS, 100 * MS, Duration::ZERO]);
        assert_eq!(allowance.book(AccountId::new(), 200 * MS, now), 200 * MS, "another account has its own");
        for (booked, time) in booked.into_iter().zip([50, 200, 100, 0]) {
            allowance.settle(account, booked, time * MS, now);
        }
        assert_eq!(allowance.left(account, now), 150 * MS);
    }

    #[test]
    fn work_that_is_given_up_counts_as_far_as_it_came() {
        let (allowance, account) = (Allowance::default(), AccountId::new());
        let taken = allowance.take(account, BURST, Instant::now());
        assert_eq!((taken.prompt(), allowance.book(account, BURST, taken.begun)), (BURST, Duration::ZERO));
        drop(taken);
        assert!(!allowance.left(account, Instant::now()).is_zero());
    }

    #[test]
    fn each_account_has_its_own_and_nobody_is_remembered_for_long() {
        let (allowance, now) = (Allowance::default(), Instant::now());
        allowance.used(AccountId::new(), SECOND, now);
        let other = AccountId::new();
        assert_eq!(allowance.left(other, now), BURST);
        allowance.book(AccountId::new(), Duration::ZERO, now);
        assert_eq!(allowance.0.lock().len(), 1);
        allowance.book(AccountId::new(), Duration::ZERO, now + 10 * SECOND);
        assert!(allowance.0.lock().is_empty());
    }
}
