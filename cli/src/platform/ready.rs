//! How long the parts of the platform may take to become ready. Bringing a large database up to date may take longer: a start
//! that was given up halfway would begin it anew, and never come to its end.

use std::time::Duration;

/// How long all parts may take, migrations aside.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Ends after so long, not counting the time in which the database was being brought up to date.
pub(super) async fn time_is_over(within: Duration, is_migrating: impl Fn() -> bool) {
    let mut left = within;
    while !left.is_zero() {
        let look = LOOK_EVERY.min(left);
        tokio::time::sleep(look).await;
        if !is_migrating() {
            left -= look;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_migration_extends_the_time() {
        let looks = Cell::new(0);
        let is_migrating = || {
            looks.set(looks.get() + 1);
            (2..=4).contains(&looks.get())
        };
        time_is_over(Duration::from_millis(10), || false).await;
        time_is_over(LOOK_EVERY + Duration::from_millis(10), is_migrating).await;
        assert_eq!(looks.get(), 5, "three of them do not count");
    }
}
