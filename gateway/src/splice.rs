//! A node's connection, carried to the WebSocket listener of NATS and back as it is. What comes from the node is counted:
//! it goes on no faster than its rates, so that the node waits, and is cut where it is no WebSocket.
//!
//! ```text
//! node --frames, counted--> NATS        open --cut, idle, malformed, either side closes--> closed
//!      <------bytes--------
//! ```

mod frames;
mod rate;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::frames::Frames;
use self::rate::Rate;

/// What is on its way, in each direction.
const BUFFER_BYTES: usize = 16 * 1024;

/// What a node may send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) bytes_per_s: u64,
    pub(crate) frames_per_s: u64,
    /// A node that sends nothing for so long has gone; a side that does not take what comes for so long, too.
    pub(crate) idle: Duration,
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By whoever has the token.
    Cut,
    /// One side has closed it, or was lost.
    Closed,
    /// Nothing moves.
    Idle,
    /// The node sends what is no frame of a client.
    Malformed,
}

/// Carries until one side has enough, or until `cut`.
pub(crate) async fn splice<N, C>(node: N, nats: C, limits: Limits, cut: &CancellationToken) -> Ended
where
    N: AsyncRead + AsyncWrite,
    C: AsyncRead + AsyncWrite,
{
    let (from_node, to_node) = tokio::io::split(node);
    let (from_nats, to_nats) = tokio::io::split(nats);
    tokio::select! {
        biased;
        () = cut.cancelled() => Ended::Cut,
        ended = up(from_node, to_nats, limits) => ended,
        ended = down(from_nats, to_node, limits) => ended,
    }
}

async fn up(mut node: impl AsyncRead + Unpin, mut nats: impl AsyncWrite + Unpin, limits: Limits) -> Ended {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut frames = Frames::default();
    let now = Instant::now();
    let (mut bytes, mut counted) = (Rate::new(limits.bytes_per_s, now), Rate::new(limits.frames_per_s, now));
    loop {
        let read = match timeout(limits.idle, node.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return Ended::Closed,
            Ok(Ok(read)) => read,
            Err(_) => return Ended::Idle,
        };
        let Ok(count) = frames.take(&buffer[..read]) else { return Ended::Malformed };
        let now = Instant::now();
        let wait = bytes.take(read as u64, now).max(counted.take(count, now));
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if let Some(ended) = write(&mut nats, &buffer[..read], limits.idle).await {
            return ended;
        }
    }
}

async fn down(mut nats: impl AsyncRead + Unpin, mut node: impl AsyncWrite + Unpin, limits: Limits) -> Ended {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = match nats.read(&mut buffer).await {
            Ok(0) | Err(_) => return Ended::Closed,
            Ok(read) => read,
        };
        if let Some(ended) = write(&mut node, &buffer[..read], limits.idle).await {
            return ended;
        }
    }
}

/// Why it ends, where it does.
async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8], within: Duration) -> Option<Ended> {
    let written = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    match timeout(within, written).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some(Ended::Closed),
        Err(_) => Some(Ended::Idle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes_per_s: 100_000, frames_per_s: 1_000, idle: Duration::from_secs(10) };

    /// A client's frame of so many bytes.
    fn frame(length: u16) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        let mut frame = vec![0x82, 0x80 | 126, high, low, 1, 2, 3, 4];
        frame.resize(frame.len() + usize::from(length), 7);
        frame
    }

    /// A splice, and its two far ends.
    fn open(
        cut: CancellationToken,
    ) -> (tokio::io::DuplexStream, tokio::io::DuplexStream, tokio::task::JoinHandle<Ended>) {
        let ((node, far_node), (nats, far_nats)) = (tokio::io::duplex(1 << 20), tokio::io::duplex(1 << 20));
        (far_node, far_nats, tokio::spawn(async move { splice(node, nats, LIMITS, &cut).await }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_waits_and_nothing_of_it_is_lost() {
        for (length, count, least_s) in [(10_000, 50, 4), (1, 5_000, 4)] {
            let (mut node, mut nats, ended) = open(CancellationToken::new());
            let flood: Vec<u8> = frame(length).repeat(count);
            let sent = flood.clone();
            let begun = Instant::now();
            let sending = tokio::spawn(async move { node.write_all(&sent).await.map(|()| node) });
            let mut come = vec![0; flood.len()];
            nats.read_exact(&mut come).await.unwrap();
            assert!(begun.elapsed() >= Duration::from_secs(least_s), "{:?}", begun.elapsed());
            assert!(come == flood);
            nats.write_all(b"and back").await.unwrap();
            let mut node = sending.await.unwrap().unwrap();
            let mut back = [0; 8];
            node.read_exact(&mut back).await.unwrap();
            drop(node);
            assert_eq!((&back, ended.await.unwrap()), (b"and back", Ended::Closed));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_it_is_cut_when_nothing_comes_and_when_it_is_no_websocket() {
        let cut = CancellationToken::new();
        let (_node, _nats, ended) = open(cut.clone());
        cut.cancel();
        assert_eq!(ended.await.unwrap(), Ended::Cut);

        let begun = Instant::now();
        let (_node, _nats, ended) = open(CancellationToken::new());
        assert_eq!((ended.await.unwrap(), begun.elapsed() >= LIMITS.idle), (Ended::Idle, true));

        let (mut node, _nats, ended) = open(CancellationToken::new());
        node.write_all(b"PUB subject 0\r\n\r\n").await.unwrap();
        assert_eq!(ended.await.unwrap(), Ended::Malformed);
    }
}
