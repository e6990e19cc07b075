//! How fast this guest is: a loop of integer work, timed.

use std::hint::black_box;
use std::time::{Duration, Instant};

const TURNS_EACH: u32 = 10_000;
/// A freshly booted guest may be held up, and its clock may leap when it changes its source: the best of some pieces
/// counts.
const PIECES: u32 = 4;
const PIECE: Duration = Duration::from_millis(3);

pub(super) fn turns_per_ms() -> u32 {
    let best = (0..PIECES).map(|_| piece()).max();
    best.unwrap_or_default()
}

fn piece() -> u32 {
    let start = Instant::now();
    let mut turns: u64 = 0;
    let mut state: u64 = 1;
    while start.elapsed() < PIECE {
        for _ in 0..TURNS_EACH {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        state = black_box(state);
        turns += u64::from(TURNS_EACH);
    }
    let us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    u32::try_from(turns.saturating_mul(1000) / us).unwrap_or(u32::MAX)
}
