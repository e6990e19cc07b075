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

impl Allowance {
    /// What the account may use at once.
    pub(super) fn of(&self, account: AccountId, now: Instant) -> Duration {
        let mut used = self.0.lock();
        // An entry is of whoever has compiled within the last seconds.
        used.retain(|_, used| !used.left_over(now).is_zero());
        BURST.saturating_sub(used.get(&account).map_or(Duration::ZERO, |used| used.left_over(now)))
    }

    /// So much was used. More than there was is not owed: it did not go before guests.
    pub(super) fn used(&self, account: AccountId, time: Duration, now: Instant) {
        let mut used = self.0.lock();
        let before = used.get(&account).map_or(Duration::ZERO, |used| used.left_over(now));
        used.insert(account, Used { time: before.saturating_add(time).min(BURST), at: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_little_goes_first_at_once_and_a_small_part_for_ever() {
        let (allowance, now, account) = (Allowance::default(), Instant::now(), AccountId::new());
        assert_eq!(allowance.of(account, now), BURST);
        allowance.used(account, Duration::from_millis(200), now);
        assert_eq!(allowance.of(account, now), Duration::from_millis(300));
        allowance.used(account, 100 * SECOND, now);
        assert_eq!(allowance.of(account, now), Duration::ZERO);
        assert_eq!(allowance.of(account, now + SECOND), Duration::from_millis(50));
        assert_eq!(allowance.of(account, now + 10 * SECOND), BURST);
    }

    #[test]
    fn each_account_has_its_own_and_nobody_is_remembered_for_long() {
        let (allowance, now) = (Allowance::default(), Instant::now());
        allowance.used(AccountId::new(), SECOND, now);
        assert_eq!(allowance.of(AccountId::new(), now), BURST);
        assert_eq!(allowance.0.lock().len(), 1);
        allowance.of(AccountId::new(), now + 10 * SECOND);
        assert!(allowance.0.lock().is_empty());
    }
}
