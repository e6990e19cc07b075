//! Who was refused for a share a moment ago: while the share is full still, the next request is refused from memory,
//! before the database is asked who sends it. What is remembered permits nothing; a credential that has ended may be
//! refused so once more.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use super::Tenant;

/// Then it is looked up again.
const LIFE: Duration = Duration::from_millis(100);
/// Of more the oldest are forgotten.
const MOST: usize = 1024;

/// A credential, and the account that the request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Asker([u8; 32]);

impl Asker {
    /// By the credential's SHA-256.
    pub(crate) fn of(sha256: &str, account: Option<&str>) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(sha256.as_bytes());
        if let Some(account) = account {
            hash.update(b"\n").update(account.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

/// Those who were refused.
pub(super) struct Refused(Mutex<LruCache<Asker, (Tenant, Instant)>>);

impl Default for Refused {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(NonZeroUsize::new(MOST).unwrap_or(NonZeroUsize::MIN))))
    }
}

impl Refused {
    /// Whose share the request was refused for.
    pub(super) fn note(&self, asker: Asker, tenant: Tenant, now: Instant) {
        self.0.lock().put(asker, (tenant, now));
    }

    /// Whose share it needs, where that is known still.
    pub(super) fn tenant(&self, asker: &Asker, now: Instant) -> Option<Tenant> {
        let mut all = self.0.lock();
        let (tenant, at) = *all.peek(asker)?;
        if now.saturating_duration_since(at) < LIFE {
            return Some(tenant);
        }
        all.pop(asker);
        None
    }
}

#[cfg(test)]
mod tests {
    use protocol::AccountId;

    use super::*;

    #[test]
    fn a06_one_credential_in_one_account_is_known_for_a_moment() {
        let (refused, now) = (Refused::default(), Instant::now());
        let (tenant, asker) = (Tenant::Account(AccountId::new()), Asker::of("a", Some("ada")));
        refused.note(asker, tenant, now);
        assert_eq!(refused.tenant(&asker, now + Duration::from_millis(99)), Some(tenant));
        for other in [Asker::of("a", None), Asker::of("a", Some("bob")), Asker::of("b", Some("ada"))] {
            assert_eq!(refused.tenant(&other, now), None);
        }
        assert_eq!(refused.tenant(&asker, now + LIFE), None);
        for number in 0..2000 {
            refused.note(Asker::of(&number.to_string(), None), tenant, now);
        }
        assert_eq!(refused.0.lock().len(), MOST);
    }

    #[test]
    fn the_bound_is_as_documented() {
        let rows = fabric::shares::documented(include_str!("../../../docs/bounds.md"), "control-plane");
        let row = rows.iter().find(|row| row.contains("`finite/refused.rs`")).unwrap();
        assert!(row.contains(&format!("1,024, for {} ms", LIFE.as_millis())), "{row}");
        assert_eq!(MOST, 1024);
    }
}
