//! The load generator: connections kept alive, each sending its next request when the answer has come.
//!
//! It has a thread of its own, the same for whatever is measured, and finishes what it has sent, so that every
//! call's receipt can be counted afterwards.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::figures::quantile;
use crate::http::{Connection, Target};

/// Latencies are taken after so long.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);

/// What one measurement found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// Successes a second, within the measured time.
    pub(crate) throughput_per_second: f64,
    /// The middle latency.
    pub(crate) p50_us: f64,
    /// One in a hundred is slower.
    pub(crate) p99_us: f64,
    /// All successes, warming up included.
    pub(crate) successes: u64,
    /// Everything else.
    pub(crate) failures: u64,
    /// What the first failure was.
    pub(crate) first_failure: Option<String>,
}

/// What one connection found.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    latencies_us: Vec<f64>,
    successes: u64,
    failures: u64,
    first_failure: Option<String>,
}

impl Lane {
    /// One answer, or why there was none.
    pub(crate) fn record(&mut self, result: anyhow::Result<()>, sent: Instant, window: &Window) {
        match result {
            Ok(()) => {
                self.successes += 1;
                let now = Instant::now();
                if sent >= window.begins && now <= window.ends {
                    self.latencies_us.push((now - sent).as_secs_f64() * 1e6);
                }
            }
            Err(error) => {
                self.failures += 1;
                self.first_failure.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
}

/// When latencies are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    begins: Instant,
    ends: Instant,
}

impl Window {
    pub(crate) fn from_now(measured: Duration) -> Self {
        let begins = Instant::now() + WARM_UP;
        Self { begins, ends: begins + measured }
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.ends
    }

    fn seconds(&self) -> f64 {
        (self.ends - self.begins).as_secs_f64()
    }

    /// All connections together.
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn sum(&self, lanes: Vec<Lane>) -> Sample {
        let mut all = Lane::default();
        for lane in lanes {
            all.latencies_us.extend(lane.latencies_us);
            all.successes += lane.successes;
            all.failures += lane.failures;
            all.first_failure = all.first_failure.or(lane.first_failure);
        }
        all.latencies_us.sort_by(f64::total_cmp);
        let quantile = |percent| quantile(&all.latencies_us, percent);
        Sample {
            throughput_per_second: all.latencies_us.len() as f64 / self.seconds(),
            p50_us: quantile(50),
            p99_us: quantile(99),
            successes: all.successes,
            failures: all.failures,
            first_failure: all.first_failure,
        }
    }
}

/// Loads the target from a thread of its own. `good` judges each answer.
pub(crate) async fn http(
    target: Target,
    connections: usize,
    measured: Duration,
    good: fn(&hyper::Response<bytes::Bytes>) -> anyhow::Result<()>,
) -> anyhow::Result<Sample> {
    let thread = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let window = Window::from_now(measured);
            let lanes = (0..connections).map(|_| lane(target.clone(), window, good));
            Ok(window.sum(futures::future::try_join_all(lanes).await?))
        })
    });
    thread.await.context("the load generator broke")?
}

async fn lane(
    target: Target,
    window: Window,
    good: fn(&hyper::Response<bytes::Bytes>) -> anyhow::Result<()>,
) -> anyhow::Result<Lane> {
    let mut connection = Connection::open(target.address).await.context("nobody listens")?;
    let mut lane = Lane::default();
    while !window.is_over() {
        let sent = Instant::now();
        let answer = connection.send(&target).await;
        let lost = answer.is_err();
        lane.record(answer.and_then(|answer| good(&answer)), sent, &window);
        if lost {
            tokio::time::sleep(Duration::from_millis(10)).await;
            connection = Connection::open(target.address).await.context("the server is gone")?;
        }
    }
    Ok(lane)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers everything with 200; every tenth connection dies in the middle of an answer.
    async fn server() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(tokio::spawn(async move {
            for number in 0_u32.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                drop(tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                        let cut = number.is_multiple_of(10);
                        let answer: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        let sent = if cut { &answer[..answer.len() - 1] } else { answer };
                        if stream.write_all(sent).await.is_err() || cut {
                            break;
                        }
                    }
                }));
            }
        }));
        address
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn successes_and_failures_are_told_apart() {
        let target = Target::new(server().await, "/");
        let good = |answer: &hyper::Response<bytes::Bytes>| {
            anyhow::ensure!(answer.body() == "ok");
            Ok(())
        };
        let sample = http(target.clone(), 4, Duration::from_millis(200), good).await.unwrap();
        assert_eq!(sample.failures, 1, "{:?}", sample.first_failure);
        assert!(sample.successes > 100 && sample.throughput_per_second > 100.0);

        let bad = |_: &hyper::Response<bytes::Bytes>| anyhow::bail!("not what was wanted");
        let sample = http(target, 1, Duration::from_millis(50), bad).await.unwrap();
        assert_eq!((sample.successes, sample.first_failure.as_deref()), (0, Some("not what was wanted")));
    }

    #[test]
    fn only_the_measured_time_counts() {
        let window = Window::from_now(Duration::from_secs(1));
        let mut lane = Lane::default();
        lane.record(Ok(()), Instant::now(), &window);
        let sample = window.sum(vec![lane, Lane { latencies_us: vec![3.0, 1.0, 2.0], ..Lane::default() }]);
        assert_eq!((sample.successes, sample.throughput_per_second), (1, 3.0));
        assert_eq!((sample.p50_us, sample.p99_us), (2.0, 3.0));
    }
}
