//! The control socket: in the node's folder, for its owner alone. A line of JSON for each request, and one for its reply.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use lending::control::{REQUEST_BYTES_MAX, Reply, Request};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::codec::{Framed, LinesCodec};

use super::Asked;

/// Who is served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// A connection on which nothing is asked for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);
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
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut serving = tokio::task::JoinSet::new();
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        while serving.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let ask = ask.clone();
                serving.spawn(async move {
                    serve(stream, ask).await;
                    drop(permit);
                });
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

async fn serve(stream: UnixStream, ask: mpsc::Sender<Asked>) {
    let mut lines = Framed::new(stream, LinesCodec::new_with_max_length(REQUEST_BYTES_MAX));
    while let Ok(Some(Ok(line))) = tokio::time::timeout(IDLE_MAX, lines.next()).await {
        let reply = match serde_json::from_str::<Request>(&line) {
            Ok(request) => {
                let (sender, reply) = oneshot::channel();
                if ask.send((request, sender)).await.is_err() {
                    return;
                }
                let Ok(reply) = reply.await else { return };
                reply
            }
            Err(error) => Reply::Refused(format!("that is no request: {error}")),
        };
        let Ok(json) = serde_json::to_string(&reply) else { return };
        if lines.send(json).await.is_err() {
            return;
        }
    }
}
