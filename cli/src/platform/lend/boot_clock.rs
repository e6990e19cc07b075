//! A clock that goes on while the machine sleeps, as a JWT does. (Tokio's stands still.)

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A machine that wakes up is late by this much at most.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long ago the machine was started.
pub(super) fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// It rings when its time has come, also where the machine slept meanwhile.
pub(super) struct Alarm {
    /// Since the machine was started.
    due: Duration,
}

impl Alarm {
    /// One that rings after so long.
    pub(super) fn after(lasts: Duration) -> Self {
        Self { due: since_boot().saturating_add(lasts) }
    }

    /// Resolves once it has rung, and from then on at once.
    pub(super) async fn rung(&self) {
        while let Some(left) = self.due.checked_sub(since_boot()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_rings_when_its_time_has_come_and_goes_on_ringing() {
        let lasts = Duration::from_millis(30);
        let began = since_boot();
        let alarm = Alarm::after(lasts);
        alarm.rung().await;
        assert!(since_boot() - began >= lasts);
        alarm.rung().await;
        Alarm::after(Duration::ZERO).rung().await;
    }
}
