//! So many units a second, and what of a second was not used. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// What may be saved up.
const BURST: Duration = Duration::from_secs(1);

/// When all that was taken is paid for.
#[derive(Debug)]
pub(super) struct Rate {
    per_s: u64,
    paid: Instant,
}

impl Rate {
    /// With a burst saved up.
    pub(super) fn new(per_s: u64, now: Instant) -> Self {
        Self { per_s: per_s.max(1), paid: now.checked_sub(BURST).unwrap_or(now) }
    }

    /// Takes so many units; says how long whoever takes them has to wait.
    pub(super) fn take(&mut self, units: u64, now: Instant) -> Duration {
        let least = now.checked_sub(BURST).unwrap_or(now);
        let cost = Duration::from_nanos(units.saturating_mul(1_000_000_000) / self.per_s);
        self.paid = self.paid.max(least) + cost;
        self.paid.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_saved_up_and_no_more() {
        let start = Instant::now() + Duration::from_secs(3600);
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut rate = Rate::new(1000, start);
        assert_eq!(rate.take(1000, at(0)), Duration::ZERO);
        assert_eq!(rate.take(500, at(0)), Duration::from_millis(500));
        assert_eq!(rate.take(100, at(500)), Duration::from_millis(100));
        assert_eq!(rate.take(1000, at(3_600_000)), Duration::ZERO);
        assert_eq!(rate.take(1, at(3_600_000)), Duration::from_millis(1));
    }
}
