//! Failed log-ins, counted for each e-mail address: guessing must be slow.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const ADDRESSES_MAX: usize = 100_000;

/// The counts. Kept in memory: a restart costs an attacker more than it gives.
#[derive(Default)]
pub(crate) struct Logins(Mutex<HashMap<String, (u32, Instant)>>);

impl Logins {
    /// How long this address must wait, where it has failed too often.
    pub(crate) fn wait(&self, email: &str, failures_max: u32, window: Duration, now: Instant) -> Option<Duration> {
        let counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (failures, since) = counts.get(email)?;
        let left = window.checked_sub(now.duration_since(*since))?;
        (*failures >= failures_max).then_some(left)
    }

    /// One more failure.
    pub(crate) fn failed(&self, email: &str, window: Duration, now: Instant) {
        let mut counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if counts.len() >= ADDRESSES_MAX {
            counts.retain(|_, (_, since)| now.duration_since(*since) < window);
        }
        let entry = counts.entry(email.to_owned()).or_insert((0, now));
        if now.duration_since(entry.1) >= window {
            *entry = (0, now);
        }
        entry.0 += 1;
    }

    /// A success forgives.
    pub(crate) fn succeeded(&self, email: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(email);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_failures() {
        let (logins, start, window) = (Logins::default(), Instant::now(), Duration::from_secs(60));
        for _ in 0..3 {
            assert_eq!(logins.wait("a", 3, window, start), None);
            logins.failed("a", window, start);
        }
        assert_eq!(logins.wait("a", 3, window, start + window / 2), Some(window / 2));
        assert_eq!(logins.wait("b", 3, window, start), None);
        assert_eq!(logins.wait("a", 3, window, start + window * 2), None);
        logins.succeeded("a");
        assert_eq!(logins.wait("a", 3, window, start), None);
    }
}
