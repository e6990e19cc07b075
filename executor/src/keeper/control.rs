//! The control socket: in the node's folder, for its owner alone. A line of JSON for each request, and one for its reply;
//! whoever watches is told again and again.
//!
//! ```text
//! accepted: a connection --says nothing in time----> closed
//!                        --asks----> a place while it is worked on --> its reply, and a connection again
//!                        --watches-> a watch, no connection any more, until either goes
//! ```

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use lending::control::{REQUEST_BYTES_MAX, Reply, Request};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::codec::{Framed, LinesCodec};

use super::Asked;

/// How much is served at once, and how long whoever asks may take.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Connections, but for watches; more wait to be accepted.
    connections_max: usize,
    /// A connection on which nothing is asked for so long is closed.
    asks_within: Duration,
    /// Requests that are worked on; more wait.
    requests_max: usize,
    /// A reply that is not taken within this is lost, with its connection.
    takes_within: Duration,
    /// Who watches; more are refused.
    watches_max: usize,
    /// Between two statuses of a watch.
    watch_every: Duration,
}

const BOUNDS: Bounds = Bounds {
    connections_max: 64,
    asks_within: Duration::from_secs(3),
    requests_max: 16,
    takes_within: Duration::from_secs(3),
    watches_max: 8,
    watch_every: Duration::from_secs(1),
};
/// After a connection that could not be accepted.
const RETRY: Duration = Duration::from_millis(200);

/// Serves the socket until it is dropped: the one that is open already, or one at this path.
pub(super) async fn listen(open: Option<net::UnixListener>, path: PathBuf, ask: mpsc::Sender<Asked>) {
    let listener = match open.map_or_else(|| bind(&path), Ok).and_then(adopt) {
        Ok(listener) => listener,
        Err(error) => {
            let path = path.display();
            return tracing::warn!(%error, %path, "no control socket: this node is controlled by signals alone");
        }
    };
    accept(listener, Office::new(ask, BOUNDS)).await;
}

async fn accept(listener: UnixListener, office: Office) {
    let room = Arc::new(Semaphore::new(office.bounds.connections_max));
    let office = Arc::new(office);
    let mut serving = tokio::task::JoinSet::new();
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        while serving.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let office = Arc::clone(&office);
                serving.spawn(async move { office.serve(stream, permit).await });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to the control socket failed");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// A control socket at this path, for its owner alone. It appears with its permissions, in place of one that an earlier
/// start has left.
///
/// # Errors
/// When it cannot be made.
pub fn bind(path: &Path) -> io::Result<net::UnixListener> {
    let partial = path.with_extension("new");
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = net::UnixListener::bind(&partial)?;
    std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&partial, path)?;
    Ok(listener)
}

fn adopt(listener: net::UnixListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

type Lines = Framed<UnixStream, LinesCodec>;

/// What connections are served with.
struct Office {
    ask: mpsc::Sender<Asked>,
    bounds: Bounds,
    requests: Semaphore,
    watches: Semaphore,
}

impl Office {
    fn new(ask: mpsc::Sender<Asked>, bounds: Bounds) -> Self {
        let (requests, watches) = (Semaphore::new(bounds.requests_max), Semaphore::new(bounds.watches_max));
        Self { ask, bounds, requests, watches }
    }

    async fn serve(&self, stream: UnixStream, permit: OwnedSemaphorePermit) {
        let mut lines = Framed::new(stream, LinesCodec::new_with_max_length(REQUEST_BYTES_MAX));
        while let Ok(Some(Ok(line))) = tokio::time::timeout(self.bounds.asks_within, lines.next()).await {
            let request = serde_json::from_str::<Request>(&line);
            if let Ok(Request::Watch) = request
                && let Ok(_watch) = self.watches.try_acquire()
            {
                drop(permit);
                return self.watch(lines).await;
            }
            let Ok(_place) = self.requests.acquire().await else { return };
            let reply = match request {
                Ok(Request::Watch) => {
                    Some(Reply::Refused(format!("{} watch it already, the most that may", self.bounds.watches_max)))
                }
                Ok(request) => self.reply(request).await,
                Err(error) => Some(Reply::Refused(format!("that is no request: {error}"))),
            };
            let Some(reply) = reply else { return };
            if !self.send(&mut lines, &reply).await {
                return;
            }
        }
    }

    /// Tells how things are, until whoever watches goes, or says anything.
    async fn watch(&self, mut lines: Lines) {
        loop {
            let Some(reply) = self.reply(Request::Status).await else { return };
            if !self.send(&mut lines, &reply).await {
                return;
            }
            tokio::select! {
                _ = lines.next() => return,
                () = tokio::time::sleep(self.bounds.watch_every) => {}
            }
        }
    }

    /// What the keeper says; none where it has ended.
    async fn reply(&self, request: Request) -> Option<Reply> {
        let (sender, reply) = oneshot::channel();
        self.ask.send((request, sender)).await.ok()?;
        reply.await.ok()
    }

    /// Whether it was taken.
    async fn send(&self, lines: &mut Lines, reply: &Reply) -> bool {
        let Ok(json) = serde_json::to_string(reply) else { return false };
        matches!(tokio::time::timeout(self.bounds.takes_within, lines.send(json)).await, Ok(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(200);
    const LATE: Duration = Duration::from_secs(30);

    const FEW: Bounds = Bounds {
        connections_max: 2,
        asks_within: SOON,
        requests_max: 1,
        takes_within: SOON,
        watches_max: 1,
        watch_every: Duration::from_millis(5),
    };

    /// A socket at which a keeper replies that it refuses, after so long.
    fn ground(bounds: Bounds, after: Duration) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lend.sock");
        let listener = adopt(bind(&path).unwrap()).unwrap();
        let (ask, mut asked) = mpsc::channel::<Asked>(16);
        tokio::spawn(async move {
            while let Some((request, reply)) = asked.recv().await {
                tokio::time::sleep(after).await;
                reply.send(Reply::Refused(format!("{request:?}"))).ok();
            }
        });
        tokio::spawn(accept(listener, Office::new(ask, bounds)));
        (folder, path)
    }

    async fn connect(path: &Path) -> Lines {
        Framed::new(UnixStream::connect(path).await.unwrap(), LinesCodec::new())
    }

    async fn say(lines: &mut Lines, text: &str) {
        lines.send(text.to_owned()).await.unwrap();
    }

    /// The next line; none where the connection was closed.
    async fn heard(lines: &mut Lines) -> Option<String> {
        tokio::time::timeout(LATE, lines.next()).await.unwrap().map(Result::unwrap)
    }

    #[tokio::test]
    async fn connections_on_which_nothing_is_asked_give_way_soon() {
        let (_folder, path) = ground(FEW, Duration::ZERO);
        let (mut first, mut second) = (connect(&path).await, connect(&path).await);
        let mut third = connect(&path).await;
        say(&mut third, r#"{"do":"status"}"#).await;
        assert_eq!(heard(&mut third).await.unwrap(), r#"{"refused":"Status"}"#);
        assert_eq!((heard(&mut first).await, heard(&mut second).await), (None, None));
        assert_eq!(heard(&mut third).await, None, "nor does it stay for ever");
    }

    #[tokio::test]
    async fn a_request_that_takes_long_is_waited_for() {
        let (_folder, path) = ground(FEW, SOON * 3);
        let mut one = connect(&path).await;
        for _ in 0..2 {
            say(&mut one, r#"{"do":"drain"}"#).await;
            assert_eq!(heard(&mut one).await.unwrap(), r#"{"refused":"Drain"}"#);
        }
        say(&mut one, "what?").await;
        assert!(heard(&mut one).await.unwrap().contains("that is no request"));
    }

    #[tokio::test]
    async fn watches_hold_no_connection_and_have_a_bound_of_their_own() {
        let (_folder, path) = ground(Bounds { connections_max: 1, ..FEW }, Duration::ZERO);
        let mut watch = connect(&path).await;
        say(&mut watch, r#"{"do":"watch"}"#).await;
        assert_eq!(heard(&mut watch).await.unwrap(), r#"{"refused":"Status"}"#);
        let mut other = connect(&path).await;
        say(&mut other, r#"{"do":"watch"}"#).await;
        assert!(heard(&mut other).await.unwrap().contains("1 watch it already"));
        say(&mut other, r#"{"do":"status"}"#).await;
        assert_eq!(heard(&mut other).await.unwrap(), r#"{"refused":"Status"}"#);
        drop(other);
        let begun = std::time::Instant::now();
        while begun.elapsed() < SOON * 2 {
            assert_eq!(heard(&mut watch).await.unwrap(), r#"{"refused":"Status"}"#, "beyond the time to ask");
        }
        // Whoever goes makes room.
        drop(watch);
        let begun = std::time::Instant::now();
        loop {
            let mut next = connect(&path).await;
            say(&mut next, r#"{"do":"watch"}"#).await;
            if heard(&mut next).await.unwrap().contains("Status") {
                break;
            }
            assert!(begun.elapsed() < LATE);
        }
    }
}
