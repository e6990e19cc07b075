//! How fast this guest is: a loop of integer work, timed.

use std::hint::black_box;
use std::time::{Duration, Instant};

const TURNS_EACH: u32 = 10_000;
const LONG_ENOUGH: Duration = Duration::from_millis(10);

pub(super) fn turns_per_ms() -> u32 {
    let start = Instant::now();
    let mut turns: u64 = 0;
    let mut state: u64 = 1;
    while start.elapsed() < LONG_ENOUGH {
        for _ in 0..TURNS_EACH {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        state = black_box(state);
        turns += u64::from(TURNS_EACH);
    }
    let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    u32::try_from(turns / ms).unwrap_or(u32::MAX)
}
