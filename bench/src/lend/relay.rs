//! A relay on a machine's way to the platform: it carries connections to an address, each direction after a delay, and
//! counts their bytes. Threads and not tasks: a runtime's timers are too coarse.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

const BUFFER_BYTES: usize = 64 << 10;
/// As much as an exchange's first frame.
const PAYLOAD: [u8; 256] = [b'x'; 256];
/// How often it is looked whether a connection was cut.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// It lives as long as this process.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    delay_us: AtomicU64,
    /// Bytes from the machine, and to it.
    up: AtomicU64,
    down: AtomicU64,
    /// Connections that the far side has ended.
    closed: AtomicU64,
}

/// Bytes so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes {
    pub(super) up: u64,
    pub(super) down: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

impl Relay {
    /// To this address, without a delay.
    pub(super) fn start(to: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            to,
            delay_us: AtomicU64::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        });
        let of = Arc::clone(&shared);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                // Who cannot be carried sees the connection end.
                drop(carry(&near, &of));
            }
        });
        Ok(Self { address, shared })
    }

    /// From now on each direction takes so long.
    pub(super) fn delay(&self, one_way: Duration) {
        self.shared.delay_us.store(u64::try_from(one_way.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> Bytes {
        Bytes { up: self.shared.up.load(Ordering::Relaxed), down: self.shared.down.load(Ordering::Relaxed) }
    }

    /// Connections that the far side has ended so far.
    pub(super) fn closed(&self) -> u64 {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Waits until it has ended more than that.
    pub(super) async fn cut_after(&self, closed: u64, within: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.closed() <= closed {
            ensure!(began.elapsed() < within, "its connection was not cut within {within:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

fn carry(near: &TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let far = TcpStream::connect(shared.to)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    one_way(near.try_clone()?, far.try_clone()?, Direction::Up, shared);
    one_way(far, near.try_clone()?, Direction::Down, shared);
    Ok(())
}

/// One thread reads, another writes when it is time.
fn one_way(mut from: TcpStream, mut to: TcpStream, direction: Direction, shared: &Arc<Shared>) {
    let (sender, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let count = if direction == Direction::Up { &shared.up } else { &shared.down };
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            count.fetch_add(read as u64, Ordering::Relaxed);
            let delay = Duration::from_micros(shared.delay_us.load(Ordering::Relaxed));
            if sender.send((Instant::now() + delay, buffer[..read].to_vec())).is_err() {
                return;
            }
        }
        if direction == Direction::Down {
            shared.closed.fetch_add(1, Ordering::Release);
        }
    });
    thread::spawn(move || {
        for (at, bytes) in due {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        // It may be closed already.
        drop(to.shutdown(Shutdown::Write));
    });
}

/// Somebody who sends back what comes.
pub(super) fn echo() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut buffer = vec![0; BUFFER_BYTES];
                drop(stream.set_nodelay(true));
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

/// What there and back takes for so long, in microseconds, sorted. It blocks.
pub(super) fn round_trips(to: SocketAddr, measured: Duration) -> anyhow::Result<Vec<f64>> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let (began, mut took, mut back) = (Instant::now(), Vec::new(), PAYLOAD);
    while began.elapsed() < measured {
        let sent = Instant::now();
        stream.write_all(&PAYLOAD)?;
        stream.read_exact(&mut back)?;
        took.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn each_direction_takes_its_time_and_bytes_are_counted() {
        let relay = Relay::start(echo().unwrap()).unwrap();
        relay.delay(Duration::from_millis(5));
        let address = relay.address;
        let trips = tokio::task::spawn_blocking(move || round_trips(address, Duration::from_millis(200)).unwrap());
        let trips = trips.await.unwrap();
        assert!(trips.len() > 3 && trips[0] >= 10_000.0, "{trips:?}");
        let bytes = relay.bytes();
        assert_eq!((bytes.up, bytes.down), (bytes.down, (PAYLOAD.len() * trips.len()) as u64));
        relay.cut_after(0, Duration::from_secs(5)).await.unwrap();
    }
}
