//! Counts the primes below the number in the query, `?below=2000000`, with as many threads as it has CPUs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Numbers that a thread takes at a time: the last ones end together.
const SLICE: u64 = 10_000;

fn main() {
    let query = std::env::var("QUERY_STRING").unwrap_or_default();
    let below = query.strip_prefix("below=").and_then(|text| text.parse().ok()).unwrap_or(2_000_000);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    let (next, found) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(SLICE, Ordering::Relaxed);
                    if from >= below {
                        return;
                    }
                    let primes = (from..below.min(from + SLICE)).filter(|number| is_prime(*number)).count();
                    found.fetch_add(primes as u64, Ordering::Relaxed);
                }
            });
        }
    });
    let took = started.elapsed().as_millis();
    println!("{} primes below {below}, counted by {threads} threads in {took} ms", found.into_inner());
}

fn is_prime(number: u64) -> bool {
    number >= 2 && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}
