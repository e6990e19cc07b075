//! What a node signs, so that what it has signed once opens nothing again. A challenge is remembered only once it was
//! used: until then its own code vouches for it.
//!
//! ```text
//! 0 milliseconds since the gateway's start  8 random bytes  16 code: keyed BLAKE3 of what is before, cut  32
//! ```

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use protocol::node::Nonce;

/// A challenge is good for so long.
const LIFE: Duration = Duration::from_secs(30);
/// Challenges of that time that nodes have used. No node makes many: each costs it a signature and a turn.
const USED_MAX: usize = 65_536;
const VOUCHED_BYTES: usize = 16;

pub(crate) struct Challenges {
    key: [u8; 32],
    started: Instant,
    used: Mutex<LruCache<Nonce, ()>>,
}

impl Challenges {
    pub(super) fn new() -> Self {
        let used = LruCache::new(NonZeroUsize::new(USED_MAX).unwrap_or(NonZeroUsize::MIN));
        Self { key: rand::random(), started: Instant::now(), used: Mutex::new(used) }
    }

    pub(crate) fn make(&self, now: Instant) -> Nonce {
        let (at, random): ([u8; 8], [u8; 8]) = (self.age_ms(now).to_be_bytes(), rand::random());
        let mut vouched = [0; VOUCHED_BYTES];
        vouched[..8].copy_from_slice(&at);
        vouched[8..].copy_from_slice(&random);
        let mut challenge = [0; 32];
        challenge[..VOUCHED_BYTES].copy_from_slice(&vouched);
        challenge[VOUCHED_BYTES..].copy_from_slice(&self.code(&vouched));
        Nonce(challenge)
    }

    /// Whether it was made here, a moment ago.
    pub(crate) fn is_good(&self, challenge: &Nonce, now: Instant) -> bool {
        let (vouched, code) = challenge.0.split_at(VOUCHED_BYTES);
        let (Some(vouched), Some(at)) = (vouched.first_chunk(), vouched.first_chunk::<8>()) else { return false };
        let age_ms = self.age_ms(now).saturating_sub(u64::from_be_bytes(*at));
        self.code(vouched) == code && Duration::from_millis(age_ms) <= LIFE
    }

    /// The first use.
    pub(crate) fn spend(&self, challenge: Nonce) -> bool {
        self.used.lock().put(challenge, ()).is_none()
    }

    fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    fn code(&self, vouched: &[u8; VOUCHED_BYTES]) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.key, vouched);
        let mut code = [0; 16];
        code.copy_from_slice(&hash.as_bytes()[..16]);
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_good_once_and_for_a_moment() {
        let challenges = Challenges::new();
        let now = Instant::now();
        let challenge = challenges.make(now);
        assert!(challenges.is_good(&challenge, now + LIFE) && challenges.make(now) != challenge);
        assert!(!challenges.is_good(&challenge, now + LIFE + Duration::from_secs(1)));
        assert!(!Challenges::new().is_good(&challenge, now), "another gateway's");
        for at in 0..32 {
            let mut changed = challenge;
            changed.0[at] ^= 1;
            assert!(!challenges.is_good(&changed, now), "{at}");
        }
        assert!(challenges.spend(challenge) && !challenges.spend(challenge));
    }
}
