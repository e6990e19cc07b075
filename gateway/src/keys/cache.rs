//! The cache of keys and when its answers are trusted. Pure: time comes in as an argument.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use protocol::InstanceId;

use super::{Hash, Verdict};

/// Without a pulse, an answer is trusted for so long: revocations hold within 1 s.
const TRUST_WITHOUT_PULSE: Duration = Duration::from_millis(900);

/// How long answers are good.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust {
    pub(crate) good_life: Duration,
    pub(crate) bad_life: Duration,
    /// A longer silence of the control plane ends the trust.
    pub(crate) silence_max: Duration,
}

/// Since when no revocation can have been missed: the first and the last pulse of an unbroken row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Row(Option<(Instant, Instant)>);

impl Row {
    /// Whether a revocation of what was good at `checked` would have been heard by now.
    fn covers(&self, checked: Instant, now: Instant, silence_max: Duration) -> bool {
        self.0.is_some_and(|(first, last)| checked >= first && now.saturating_duration_since(last) < silence_max)
    }
}

/// The pulses of all control planes, and the row that they make.
#[derive(Debug)]
pub(crate) struct Pulses {
    silence_max: Duration,
    last_by_instance: Vec<(InstanceId, Instant)>,
    row: Row,
}

impl Pulses {
    pub(crate) fn new(silence_max: Duration) -> Self {
        Self { silence_max, last_by_instance: Vec::new(), row: Row::default() }
    }

    /// A pulse came; says the row. A new instance, or one that fell silent, begins a new row: it may have taken
    /// revocations with it that nobody has repeated.
    pub(crate) fn heard(&mut self, from: InstanceId, now: Instant) -> Row {
        let silent = |last: Instant| now.saturating_duration_since(last) >= self.silence_max;
        let before = self.last_by_instance.len();
        self.last_by_instance.retain(|(instance, last)| *instance == from || !silent(*last));
        let mut broken = self.last_by_instance.len() < before;
        match self.last_by_instance.iter_mut().find(|(instance, _)| *instance == from) {
            Some((_, last)) => {
                broken |= silent(*last);
                *last = now;
            }
            None => {
                broken = true;
                self.last_by_instance.push((from, now));
            }
        }
        self.row = Row(Some(match self.row.0 {
            Some((first, _)) if !broken => (first, now),
            _ => (now, now),
        }));
        self.row
    }
}

struct Entry {
    verdict: Verdict,
    /// When the question was asked.
    checked: Instant,
}

/// Answers about keys, the longest unused thrown out first. Anybody can make up bad keys: these have a room of their
/// own, so that they push out no good one.
pub(crate) struct KeyCache {
    good: LruCache<Hash, Entry>,
    bad: LruCache<Hash, Entry>,
}

impl KeyCache {
    pub(crate) fn new(room: usize, room_bad: usize) -> Self {
        let lru = |room| LruCache::new(NonZeroUsize::new(room).unwrap_or(NonZeroUsize::MIN));
        Self { good: lru(room), bad: lru(room_bad) }
    }

    /// What is known and trusted.
    pub(crate) fn get(&mut self, hash: &Hash, trust: &Trust, row: Row, now: Instant) -> Option<Verdict> {
        let entry = self.good.get(hash).or_else(|| self.bad.get(hash))?;
        let age = now.saturating_duration_since(entry.checked);
        let trusted = match &entry.verdict {
            None => age < trust.bad_life,
            Some(_) if row.covers(entry.checked, now, trust.silence_max) => age < trust.good_life,
            Some(_) => age < TRUST_WITHOUT_PULSE,
        };
        trusted.then(|| entry.verdict.clone())
    }

    /// An answer to a question that was asked then.
    pub(crate) fn put(&mut self, hash: Hash, verdict: Verdict, asked: Instant) {
        if self.bad.peek(&hash).is_some_and(|entry| entry.checked > asked) {
            return;
        }
        let (room, other) = match verdict {
            Some(_) => (&mut self.good, &mut self.bad),
            None => (&mut self.bad, &mut self.good),
        };
        other.pop(&hash);
        room.put(hash, Entry { verdict, checked: asked });
    }

    /// The key is no longer good.
    pub(crate) fn revoke(&mut self, hash: Hash, now: Instant) {
        self.good.pop(&hash);
        self.bad.put(hash, Entry { verdict: None, checked: now });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::route::{Grant, Principal, Scope};
    use protocol::{AccountId, KeyId};

    use super::*;

    const TRUST: Trust =
        Trust { good_life: Duration::from_secs(60), bad_life: Duration::from_secs(2), silence_max: SILENCE };
    const SILENCE: Duration = Duration::from_secs(5);
    const KEY: Hash = [1; 32];

    fn good() -> Verdict {
        Some(Arc::new(Grant {
            principal: Principal::Key { key: KeyId::new() },
            account: AccountId::new(),
            scopes: vec![Scope::Invoke],
            function: None,
            expires: None,
        }))
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// A cache that holds a key, checked at `checked`.
    fn holding(checked: Instant) -> KeyCache {
        let mut cache = KeyCache::new(4, 4);
        cache.put(KEY, good(), checked);
        cache
    }

    #[test]
    fn a_good_key_is_trusted_while_pulses_come() {
        let (start, from) = (Instant::now(), InstanceId::new());
        let mut pulses = Pulses::new(SILENCE);
        pulses.heard(from, start);
        let mut cache = holding(start + seconds(1));
        for second in 1..59 {
            let row = pulses.heard(from, start + seconds(second));
            assert!(cache.get(&KEY, &TRUST, row, start + seconds(second)).is_some(), "{second}");
        }
        let row = pulses.heard(from, start + seconds(61));
        assert!(cache.get(&KEY, &TRUST, row, start + seconds(61)).is_none(), "its life is over");
    }

    #[test]
    fn after_a_silence_keys_are_checked_again() {
        let (start, from) = (Instant::now(), InstanceId::new());
        let mut pulses = Pulses::new(SILENCE);
        let row = pulses.heard(from, start);
        let mut cache = holding(start);
        assert!(cache.get(&KEY, &TRUST, row, start + Duration::from_millis(4900)).is_some());
        assert!(cache.get(&KEY, &TRUST, row, start + seconds(5)).is_none(), "silent for 5 s");
        let row = pulses.heard(from, start + seconds(20));
        assert!(cache.get(&KEY, &TRUST, row, start + seconds(20)).is_none(), "a revocation may have been missed");
        cache.put(KEY, good(), start + seconds(20));
        assert!(cache.get(&KEY, &TRUST, row, start + seconds(21)).is_some());
    }

    #[test]
    fn a_control_plane_that_comes_or_goes_may_have_lost_a_revocation() {
        let (start, from, other) = (Instant::now(), InstanceId::new(), InstanceId::new());
        let mut pulses = Pulses::new(SILENCE);
        pulses.heard(from, start);
        let mut cache = holding(start);
        let row = pulses.heard(other, start + seconds(2));
        assert!(cache.get(&KEY, &TRUST, row, start + seconds(2)).is_none(), "a new one");
        cache.put(KEY, good(), start + seconds(3));
        let row = pulses.heard(other, start + seconds(4));
        assert!(cache.get(&KEY, &TRUST, row, start + seconds(4)).is_some());
        let row = pulses.heard(other, start + seconds(6));
        assert!(cache.get(&KEY, &TRUST, row, start + seconds(6)).is_none(), "the first one is gone");
    }

    #[test]
    fn without_pulses_an_answer_is_good_for_less_than_a_second() {
        let start = Instant::now();
        let mut cache = holding(start);
        assert!(cache.get(&KEY, &TRUST, Row::default(), start + Duration::from_millis(500)).is_some());
        assert!(cache.get(&KEY, &TRUST, Row::default(), start + seconds(1)).is_none());
    }

    #[test]
    fn a_revocation_wins_over_an_answer_that_was_asked_for_before() {
        let start = Instant::now();
        let row = Pulses::new(SILENCE).heard(InstanceId::new(), start);
        let mut cache = KeyCache::new(4, 4);
        cache.revoke(KEY, start + Duration::from_millis(10));
        cache.put(KEY, good(), start);
        assert_eq!(cache.get(&KEY, &TRUST, row, start + Duration::from_millis(20)), Some(None));
        assert!(cache.get(&KEY, &TRUST, row, start + seconds(3)).is_none(), "bad keys are asked for again");
    }

    #[test]
    fn a02_made_up_keys_take_bounded_room_and_push_out_no_good_one() {
        let start = Instant::now();
        let row = Pulses::new(SILENCE).heard(InstanceId::new(), start);
        let mut cache = holding(start);
        for number in 2..100 {
            cache.put([number; 32], None, start);
        }
        assert_eq!((cache.good.len(), cache.bad.len()), (1, 4));
        assert!(cache.get(&KEY, &TRUST, row, start).is_some_and(|verdict| verdict.is_some()));
        for number in 2..100 {
            cache.put([number; 32], good(), start);
        }
        assert_eq!((cache.good.len(), cache.bad.len()), (4, 0));
    }
}
