//! Work that nobody waits for goes at a pace: so many bytes a second, that calls notice nothing of it.

use std::time::Duration;

use protocol::ByteSize;
use tokio::time::Instant;

/// A pace, and until when what was done has used it up.
pub(super) struct Pace {
    rate: u64,
    free_at: Instant,
}

impl Pace {
    pub(super) fn new(rate: ByteSize) -> Self {
        Self { rate: rate.0.max(1), free_at: Instant::now() }
    }

    /// So much has been done: waits until more may be.
    pub(super) async fn spend(&mut self, bytes: ByteSize) {
        let takes = Duration::from_micros(bytes.0.saturating_mul(1_000_000) / self.rate);
        self.free_at = self.free_at.max(Instant::now()) + takes;
        tokio::time::sleep_until(self.free_at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time() {
        let (begun, mut pace) = (Instant::now(), Pace::new(ByteSize(1_000)));
        for bytes in [500, 0, 2_500] {
            pace.spend(ByteSize(bytes)).await;
        }
        let first = begun.elapsed();
        assert!(first >= Duration::from_secs(3) && first < Duration::from_millis(3_100), "{first:?}");
        // What was not used is not made up for.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        pace.spend(ByteSize(1_000)).await;
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }
}
